"""README and docs as a newcomer uses them: their Python runs as written, what they name is there."""

import re
import shutil
from pathlib import Path
from urllib.parse import unquote

import mistune
import pytest

import focil
from focil.base import words
from focil.evaluation import protocols
from focil.evaluation.metrics import mean_interval
from focil.runs.results import read_results

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
LINES = TEXT.splitlines()
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/*.md")))
}
PYTHON = {page: re.findall(r"```python\n(.*?)```", PAGES[page], re.DOTALL) for page in PAGES}
OWN = PYTHON["docs/python.md"]
DEFAULT = re.search(r"^SUITE_default := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split()


@pytest.mark.parametrize(
    "blocks", [PYTHON["README.md"], OWN[:1], OWN[1:]], ids=["ten lines", "a few lines", "one's own"]
)
def test_its_python_runs_where_the_default_suite_is_finished(blocks, ran, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "params", tmp_path / "params")
    before = {tmp_path / "outputs" / name / f"seed-{seed}" for name in DEFAULT for seed in range(5)}
    for folder in before:
        shutil.copytree(ran / "mine" / "seed-0", folder)
    names = {"__name__": "readme"}
    for block in blocks:  # the last one goes on with the data of the one before
        exec(compile(block, "README.md", "exec"), names)
    made = {path.parent for path in tmp_path.glob("outputs/*/seed-*/result.json")} - before
    assert len(made) == 1 and all((folder / "result.json").exists() for folder in before)


def test_all_examples_are_there():
    assert len(OWN) == 3 and len(OWN[0].strip().splitlines()) <= 5
    (ten,) = PYTHON["README.md"]
    assert len(ten.strip().splitlines()) <= 10


def test_the_params_of_the_python_page_are_valid(tmp_path):
    (params,) = re.findall(r"```yaml\n(.*?)```", PAGES["docs/python.md"], re.DOTALL)
    (tmp_path / "mine.yaml").write_text(params)
    assert focil.read_params(tmp_path / "mine.yaml").tasks == 2


def test_the_readme_is_short_and_begins_with_a_picture_and_soon_python():
    assert len(LINES) <= 130 and max(map(len, LINES)) <= 120
    places = [
        next(i for i, line in enumerate(LINES) if line.startswith(mark)) for mark in ("![", "```python")
    ]
    assert places[0] < 10 and places[1] < 70
    assert len(re.findall(r"^!\[", TEXT, re.MULTILINE)) == 2  # what it reaches, and the explorer


def test_its_first_picture_is_on_the_first_screen(browser, tmp_path):
    body = mistune.create_markdown(plugins=["table"])(TEXT)
    page = tmp_path / "README.html"
    page.write_text(
        f'<base href="{ROOT.as_uri()}/"><style>img {{max-width: 100%}}</style>'
        f'<body style="max-width: 900px; margin: 32px auto; font: 16px/1.5 sans">{body}'
    )
    view = browser.new_page(viewport={"width": 1400, "height": 900})
    view.goto(page.as_uri())
    assert all(view.evaluate("[...document.images].map(image => image.complete && image.naturalWidth > 0)"))
    box = view.locator("img").first.bounding_box()
    assert box["y"] + box["height"] <= 900
    view.close()


@pytest.mark.parametrize("page", PAGES)
def test_what_it_links_is_there(page):
    prose = re.sub(r"```.*?```", "", PAGES[page], flags=re.DOTALL)
    links = re.findall(r"\]\((?!https?:)([^)]+)\)", prose)
    for link in links:
        path, _, name = link.partition("#")
        target = (ROOT / page).parent / unquote(path)
        assert target.exists(), link
        assert not name or name in _headings(target.read_text(encoding="utf-8")), link
    assert links or page == "CONTRIBUTING.md"


def _headings(markdown: str) -> set[str]:
    """Names of the headings, as GitHub gives them."""
    titles = re.findall(r"^#+ (.*)$", markdown, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_page_is_linked_from_the_readme():
    assert {page for page in PAGES if page.startswith("docs/")} <= set(re.findall(r"\]\(([^)#]+)\)", TEXT))


def test_pictures_have_words():
    for page, text in PAGES.items():
        for words_of_it in re.findall(r"!\[(.*?)\]\(", text, re.DOTALL):
            assert len(words_of_it) > 40, (page, words_of_it)


def test_the_commands_they_name_exist():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page, text in PAGES.items():
        assert set(re.findall(r"(?:`|^    )make ([a-z]+)", text, re.MULTILINE)) <= targets, page


def test_the_files_that_docs_name_are_there():
    written = {"params/mine.yaml"}  # by whoever follows the page
    for page in PAGES:
        if page != "CONTRIBUTING.md":  # has a test of its own
            named = set(re.findall(r"`((?:focil|tests|params|notebooks|docs)/[\w/.-]*)`", PAGES[page]))
            assert all((ROOT / name).exists() for name in named - written), page


def test_the_runs_they_name_have_params():
    for page, text in PAGES.items():
        named = re.findall(
            r"(?:`|^    )(?:focil run|make reproduce RUN=)\s*([a-z0-9-]+)\b(?!/)", text, re.MULTILINE
        )
        named = [name for name in named if name != "params"]
        assert all((ROOT / "params" / f"{name}.yaml").exists() for name in named), (page, named)


def test_the_readme_says_what_the_reference_says():
    row = r"^\| (?:\*\*)?[^|]*\(`([a-z0-9-]+)`\)(?:\*\*)? \| (.*?) \| (.*?) \| (.*?) \|$"
    said = {name: [cell.strip("*") for cell in cells] for name, *cells in re.findall(row, TEXT, re.MULTILINE)}
    results = [
        read_results(ROOT / "outputs" / "reference" / name) for name in ("digits-5", "mnist-5", "cifar100-20")
    ]
    for protocol in ("oracle", "batch-10", "sample"):
        assert said.pop(protocol) == [_final(found, protocol) for found in results]
    assert not said and f"**{_final(results[0], 'sample')}**" in TEXT
    digits, mnist, cifar100 = (len(found) for found in results)
    assert digits == mnist and [f"{digits}", f"{cifar100}"] == re.findall(r"\(n = (\d+)", TEXT)
    alone = [_final(found, protocols.join("sample", "experts")).split(" ")[0] for found in results]
    assert "alone reach {}, {} and {} %".format(*alone) in TEXT.replace("\n", " ")


def _final(results: list[dict], name: str) -> str:
    values = [result["accuracy"][name]["final_average"] for result in results]
    return words.in_percent(*mean_interval(values), sign="±")


def test_every_deviation_is_explained():
    text = PAGES["docs/method.md"]
    assert re.findall(r"^\| R(\d+) \|[^|]+\|[^|]+\|$", text, re.MULTILINE) == [str(i) for i in range(1, 14)]
