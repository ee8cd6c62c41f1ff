"""The README as a newcomer uses it: its Python runs as written, and the files it names are there."""

import re
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


DEFAULT = re.search(r"^SUITE_default := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split()


@pytest.mark.parametrize("blocks", [BLOCKS[:1], BLOCKS[1:]], ids=["five lines", "one's own"])
def test_its_python_runs_where_the_default_suite_is_finished(blocks, ran, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = {tmp_path / "outputs" / name / f"seed-{seed}" for name in DEFAULT for seed in range(5)}
    for folder in before:
        shutil.copytree(ran / "mine" / "seed-0", folder)
    names = {"__name__": "readme"}
    for block in blocks:  # the last one goes on with the data of the one before
        exec(compile(block, "README.md", "exec"), names)
    made = {path.parent for path in tmp_path.glob("outputs/*/seed-*/result.json")} - before
    assert len(made) == 1 and all((folder / "result.json").exists() for folder in before)


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
