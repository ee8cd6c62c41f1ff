"""The order of the rooms: the lower one never knows the upper, and the check notices when it does."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from jaxtyping import TypeCheckError

import focil
from focil import confidence
from focil.router import answers

ROOT = Path(__file__).resolve().parent.parent


def lint_imports(folder: Path) -> subprocess.CompletedProcess:
    """The contract of pyproject.toml, asked of the package in a folder."""
    command = [
        sys.executable,
        "-c",
        "from importlinter.cli import lint_imports_command; lint_imports_command()",
    ]
    environment = os.environ | {"PYTHONPATH": str(folder)}
    return subprocess.run(
        [*command, "--no-cache"], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture
def copy(tmp_path):
    shutil.copytree(ROOT / "focil", tmp_path / "focil", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy2(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_no_room_imports_from_one_above_it(copy):
    done = lint_imports(copy)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 kept, 0 broken" in done.stdout


@pytest.mark.parametrize(
    ("lower", "upper"),
    [
        ("masks.py", "from focil.runs.results import RESULT"),
        ("memo/replay.py", "import focil.figures.style"),
        ("base/files.py", "from focil import search"),
    ],
)
def test_an_upward_import_is_noticed(copy, lower, upper):
    path = copy / "focil" / lower
    path.write_text(f"{path.read_text()}\n{upper}\n")
    done = lint_imports(copy)
    assert done.returncode == 1 and "BROKEN" in done.stdout, done.stdout + done.stderr


def test_a_room_outside_the_order_is_noticed(copy):
    (copy / "focil" / "attic.py").write_text('"""A module that nobody gave a place."""\n')
    assert lint_imports(copy).returncode == 1


def test_the_first_level_is_the_first_paper_and_the_rooms_around_it():
    entries = [path for path in (ROOT / "focil").iterdir() if path.name != "__pycache__"]
    files = {path.name for path in entries if path.is_file()}
    assert len(entries) <= 21
    assert files == {
        "__init__.py",
        "__main__.py",
        "backbones.py",
        "confidence.py",
        "expert.py",
        "masks.py",
        "method.py",
        "search.py",
        "trainer.py",
    }
    core = files - {"__init__.py", "__main__.py"}
    assert sum(len((ROOT / "focil" / name).read_text().splitlines()) for name in core) < 1400


def test_shapes_in_signatures_are_checked_while_the_tests_run():
    evidence = confidence.evidence(np.zeros((2, 3, 4)), "entropy")
    assert evidence.task.shape == (2, 3)
    with pytest.raises(TypeCheckError, match="logits"):
        confidence.evidence(np.zeros((2, 3)), "entropy")  # no axis of classes
    with pytest.raises(TypeCheckError, match="offsets"):
        answers.router(np.zeros((2, 3, 4)), np.zeros((3, 5)))  # other classes than the scores have


def test_every_public_name_is_there_and_says_what_it_is():
    for name in focil.__all__:
        assert len(getattr(focil, name).__doc__) > 60, name
    assert set(focil.__all__) <= set(dir(focil))
    with pytest.raises(AttributeError, match="no attribute 'gone'"):
        focil.gone  # noqa: B018
