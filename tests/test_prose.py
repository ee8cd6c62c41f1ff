"""Plain English: short sentences in README, docs and notebooks, counted block by block."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import mistune
import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
PAGES += sorted([*ROOT.glob("docs/*.md"), *ROOT.glob("outputs/reference/*.md")])
PAGES += sorted(ROOT.glob("notebooks/*.ipynb"))
LONG, SHARE = 30, 0.05  # words that a sentence may have, and the share of sentences that may have more
LEFT_OUT = {"block_code", "block_html", "heading", "image", "inline_html", "table"}
PARSED = mistune.create_markdown(renderer="ast", plugins=["table"])
# A full stop ends a sentence if a capital, a digit or a code follows; one of an abbreviation does not.
END = re.compile(r"(?<!\bal)(?<!\be\.g)(?<!\bi\.e)[.!?][)\"”*_]*\s+(?=[\"“(*_`†]*[A-Z0-9`])")


def sentences(markdown: str) -> list[str]:
    """The sentences of its paragraphs and list items; tables, code, headings and pictures are left out."""
    found = [sentence for block in _blocks(PARSED(markdown)) for sentence in END.split(block)]
    return [sentence for sentence in found if words(sentence)]


def words(sentence: str) -> int:
    """How many words it has; a code counts as what it would be read aloud as."""
    return len([word for word in re.split(r"[\s/]+", sentence) if re.search(r"[a-zA-Z0-9]", word)])


def _blocks(nodes: list[dict]) -> Iterator[str]:
    for node in nodes:
        if node["type"] in ("paragraph", "block_text"):
            yield _text(node)
        elif node["type"] not in LEFT_OUT:
            yield from _blocks(node.get("children", []))


def _text(node: dict) -> str:
    if node["type"] in LEFT_OUT:
        return ""
    if node["type"] in ("softbreak", "linebreak"):
        return " "
    mark = "`" if node["type"] == "codespan" else ""
    return mark + node.get("raw", "") + mark + "".join(map(_text, node.get("children", [])))


def _markdown(page: Path) -> str:
    if page.suffix == ".md":
        return page.read_text(encoding="utf-8")
    cells = json.loads(page.read_text(encoding="utf-8"))["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_few_sentences_are_long(page):
    found = sentences(_markdown(page))
    long = [sentence for sentence in found if words(sentence) > LONG]
    assert found and len(long) < SHARE * len(found), "\n".join(long)


def test_sentences_are_told_apart_and_counted():
    text = (
        "# Not *this* one.\n\nOne two. Three (see [four](x.md)).\n`five` six, et al. 2019. 7 is one\n\n"
        "    no code. No.\n\n- eight\n- nine. Ten!\n\n| no | table. |\n|---|---|\n| N. | o. |\n\n"
        "![no. No.](x.png)"
    )
    assert [words(sentence) for sentence in sentences(text)] == [2, 3, 5, 3, 1, 1, 1]
    assert words("a / b, `focil run x.yaml` - 98.4 +- 0.6 %") == 7


def test_lines_of_code_fit_a_page():
    """At a width of 900 pixels a longer one is cut off; the format of CONTRIBUTING's is ruff's."""
    for page in (ROOT / "README.md", *ROOT.glob("docs/*.md")):
        blocks = [node["raw"] for node in PARSED(_markdown(page)) if node["type"] == "block_code"]
        assert max(map(len, "\n".join(blocks).splitlines()), default=0) <= 95, page.name


def test_each_page_begins_with_what_it_answers():
    for page in ROOT.glob("docs/*.md"):
        first = next(block for block in page.read_text(encoding="utf-8").split("\n\n") if block[0] != "#")
        assert first.startswith("This page answers: ") and first.endswith("?"), page.name
