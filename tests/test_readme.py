"""The README as a newcomer uses it: its Python runs as written, and the files it names are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("blocks", [BLOCKS[:1], BLOCKS[1:]], ids=["five lines", "one's own"])
def test_its_python_runs(blocks, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "readme"}
    for block in blocks:  # the last one goes on with the data of the one before
        exec(compile(block, "README.md", "exec"), names)
    assert list(tmp_path.glob("outputs/*/seed-0/result.json"))


def test_all_examples_are_there():
    assert len(BLOCKS) == 3 and len(BLOCKS[0].strip().splitlines()) <= 5


def test_the_files_it_links_are_there():
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", TEXT)
    assert links and all((ROOT / link).exists() for link in links)


def test_the_commands_it_names_exist():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:`|^    )make ([a-z]+)", TEXT, re.MULTILINE)) <= targets


def test_it_explains_every_deviation():
    assert re.findall(r"^\| R(\d+) \|[^|]+\|[^|]+\|$", TEXT, re.MULTILINE) == [str(i) for i in range(1, 14)]
