"""The worked examples of CONTRIBUTING.

A new method in one file, followed step by step in a copy of the repository.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("number", "name", "room", "others", "title"),
    [
        (0, "balanced", "memo", {"replay"}, "balanced replay"),
        (1, "separated", "online", {"er"}, "separated softmax"),
    ],
)
def test_a_worked_example_adds_a_method_that_runs_and_passes_its_test(
    number, name, room, others, title, tmp_path
):
    method, table, test = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)[3 * number : 3 * number + 3]
    params = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)[number]
    for folder in ("focil", "notebooks", "params"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "tests").mkdir()
    for path in (ROOT / "tests").glob("*.py"):
        if not path.name.startswith("test_"):
            shutil.copy2(path, tmp_path / "tests")
    (tmp_path / "focil" / room / f"{name}.py").write_text(method)
    path = tmp_path / "focil" / room / "table.py"
    after = 'ONLINE = "focil"' if room == "memo" else "TITLES = "
    path.write_text(path.read_text().replace(after, f"{table}\n{after}", 1))
    quick = params.replace("epochs: 10", "epochs: 2")  # that it runs is asked here, not how well
    (tmp_path / "params" / f"{name}-digits.yaml").write_text(quick)
    (tmp_path / "tests" / f"test_{name}.py").write_text(test)

    for command in (
        ["focil", "run", f"params/{name}-digits.yaml", "--threads", "1"],
        ["pytest", "-q", "-p", "no:cacheprovider", f"tests/test_{name}.py"],
    ):
        options = {"cwd": tmp_path, "env": os.environ | {"PYTHONPATH": str(tmp_path)}, "check": False}
        done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, **options)
        assert done.returncode == 0, done.stdout + done.stderr
    (result,) = (tmp_path / "outputs" / f"{name}-digits").glob("result.json")
    assert {run.split("-")[0] for run in json.loads(result.read_text())["runs"]} == {name} | others
    (page,) = result.parent.glob("*.html")
    assert title in page.read_text()


def test_the_files_it_names_are_there():
    written = {  # by whoever follows the examples
        "focil/memo/balanced.py",
        "params/balanced-digits.yaml",
        "focil/online/separated.py",
        "params/separated-digits.yaml",
    }
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
