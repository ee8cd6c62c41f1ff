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
EXAMPLES = (
    ("balanced", "memo", {"replay"}, "balanced replay"),
    ("separated", "online", {"er"}, "separated softmax"),
)


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    """A copy of the repository in which both examples were followed and run, by one command."""
    root = tmp_path_factory.mktemp("followed")
    for folder in ("focil", "notebooks", "params"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (root / "tests").mkdir()
    for path in (ROOT / "tests").glob("*.py"):
        if not path.name.startswith("test_"):
            shutil.copy2(path, root / "tests")
    code = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    params = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    for number, (name, room, _, _) in enumerate(EXAMPLES):
        method, table, test = code[3 * number : 3 * number + 3]
        (root / "focil" / room / f"{name}.py").write_text(method)
        path = root / "focil" / room / "table.py"
        after = 'ONLINE = "focil"' if room == "memo" else "TITLES = "
        path.write_text(path.read_text().replace(after, f"{table}\n{after}", 1))
        quick = params[number].replace("epochs: 10", "epochs: 2")  # that it runs is asked here, not how well
        (root / "params" / f"{name}-digits.yaml").write_text(quick)
        (root / "tests" / f"test_{name}.py").write_text(test)
    succeed(root, "focil", "run", *(f"params/{name}-digits.yaml" for name, *_ in EXAMPLES), "--threads", "1")
    return root


def succeed(root, *command):
    """Run a module's command in the copy."""
    options = {"cwd": root, "env": os.environ | {"PYTHONPATH": str(root)}, "check": False}
    done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("name", "others", "title"), [(name, *rest) for name, _, *rest in EXAMPLES])
def test_a_worked_example_adds_a_method_that_runs(name, others, title, followed):
    (result,) = (followed / "outputs" / f"{name}-digits").glob("result.json")
    assert {run.split("-")[0] for run in json.loads(result.read_text())["runs"]} == {name} | others
    (page,) = result.parent.glob("*.html")
    assert title in page.read_text()


def test_the_tests_of_the_worked_examples_pass(followed):
    succeed(followed, "pytest", "-q", "-p", "no:cacheprovider", "tests")


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
