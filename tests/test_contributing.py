"""The worked example of CONTRIBUTING.

A new method in one file, followed step by step in a copy of the repository.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_the_worked_example_adds_a_method_that_runs_and_passes_its_test(tmp_path):
    method, table, test = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    (params,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    for folder in ("focil", "notebooks", "params"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "tests").mkdir()
    for path in (ROOT / "tests").glob("*.py"):
        if not path.name.startswith("test_"):
            shutil.copy2(path, tmp_path / "tests")
    (tmp_path / "focil" / "memo" / "balanced.py").write_text(method)
    path = tmp_path / "focil" / "memo" / "table.py"
    path.write_text(path.read_text().replace('ONLINE = "focil"', f'{table}\nONLINE = "focil"'))
    quick = params.replace("cpu_epochs: 10", "cpu_epochs: 2")  # that it runs is asked here, not how well
    (tmp_path / "params" / "balanced-digits.yaml").write_text(quick)
    (tmp_path / "tests" / "test_balanced.py").write_text(test)

    for command in (
        ["focil", "run", "params/balanced-digits.yaml", "--threads", "1"],
        ["pytest", "-q", "-p", "no:cacheprovider", "tests/test_balanced.py"],
    ):
        options = {"cwd": tmp_path, "env": os.environ | {"PYTHONPATH": str(tmp_path)}, "check": False}
        done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, **options)
        assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads((tmp_path / "outputs" / "balanced-digits" / "result.json").read_text())
    assert {run.split("-")[0] for run in result["runs"]} == {"replay", "balanced"}
    assert "balanced replay" in (tmp_path / "outputs" / "balanced-digits" / "memory.html").read_text()


def test_the_files_it_names_are_there():
    written = {"focil/memo/balanced.py", "params/balanced-digits.yaml"}  # by whoever follows the example
    named = set(re.findall(r"`((?:focil|tests|params|outputs)/[\w/.-]*)`", TEXT))
    assert named > written and all((ROOT / name).exists() for name in named - written)


def test_the_commands_it_names_exist():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:`|^    )make\s+([a-z]+)", TEXT, re.MULTILINE))
    assert {"test", "lint"} <= named <= targets


def test_its_code_has_the_form_that_it_asks_for(tmp_path):
    for number, block in enumerate(re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)):
        (tmp_path / f"block{number}.py").write_text(block)
    ruff = [sys.executable, "-m", "ruff"]
    options = ["--config", str(ROOT / "pyproject.toml"), "--no-cache", str(tmp_path)]
    for command in (["check", "--ignore", "F821"], ["format", "--check"]):
        done = subprocess.run([*ruff, *command, *options], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
