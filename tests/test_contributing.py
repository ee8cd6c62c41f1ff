"""The worked example of CONTRIBUTING: a new method in one file, followed step by step in a copy of the repository."""

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
    shutil.copy2(ROOT / "tests" / "conftest.py", tmp_path / "tests")
    (tmp_path / "focil" / "methods" / "balanced.py").write_text(method)
    old = (tmp_path / "focil" / "methods" / "table.py").read_text()
    (tmp_path / "focil" / "methods" / "table.py").write_text(old.replace('ONLINE = "focil"', f'{table}\nONLINE = "focil"'))
    (tmp_path / "params" / "balanced-digits.yaml").write_text(params.replace("cpu_epochs: 10", "cpu_epochs: 2"))  # that it runs is asked here, not how well
    (tmp_path / "tests" / "test_balanced.py").write_text(test)

    for command in (["focil", "run", "params/balanced-digits.yaml", "--threads", "1"], ["pytest", "-q", "-p", "no:cacheprovider", "tests/test_balanced.py"]):
        done = subprocess.run([sys.executable, "-m", *command], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads((tmp_path / "outputs" / "balanced-digits" / "result.json").read_text())
    assert {run.split("-")[0] for run in result["runs"]} == {"replay", "balanced"}
    assert "balanced replay" in (tmp_path / "outputs" / "balanced-digits" / "memory.html").read_text()


def test_the_files_it_names_are_there():
    named = set(re.findall(r"`((?:focil|tests|params|outputs)/[\w/.-]*)`", TEXT)) - {"focil/methods/balanced.py", "params/balanced-digits.yaml"}
    assert named and all((ROOT / name).exists() for name in named)
