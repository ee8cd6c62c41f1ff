"""The site: every link leads somewhere, nothing is loaded from elsewhere, and it reads on a phone as on a
wide screen."""

import json
import os
import re
import shutil
import tomllib
from pathlib import Path
from urllib.parse import unquote

import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output, writes

from focil.__main__ import main
from focil.reports.site import build as building
from focil.reports.site.build import SiteError, build
from focil.reports.site.written import LINK, Site

# What Sphinx will one day drop and myst-parser still uses; the versions are locked together.
pytestmark = pytest.mark.filterwarnings("ignore::sphinx.deprecation.RemovedInSphinx11Warning")
ROOT = Path(__file__).resolve().parent.parent
PUBLISHED = "outputs/reference"
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="
LONG = "numbers = [" + ", ".join(f"number_{i}" for i in range(9)) + "]"  # 100 characters
WIDGET = {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}, "text/plain": "VBox()"}
LESSON = """# 1. Masks

Sparse, as in [the code](../focil/masks.py) and `focil/base/files.py`; then [the next](02-two.ipynb#why).

$$ \\frac{a}{b} = \\log c $$

<details>
<summary>Solution</summary>

It is $x_1$.

</details>
"""


def lesson() -> str:
    """A notebook with one of each: links, formulas, a fold, a long line, a picture, a widget, harm."""
    drawn = new_output("display_data", {"image/png": PNG}, metadata={"image/png": {"alt": "A point" * 9}})
    harm = new_output(
        "display_data", {"text/html": '<script>x</script><img src="https://example.org/y.png">'}
    )
    cells = [
        new_markdown_cell(LESSON),
        new_code_cell(LONG, outputs=[drawn, new_output("display_data", WIDGET)]),
    ]
    return writes(new_notebook(cells=[*cells, new_code_cell("print()", outputs=[harm])]))


def simple(text: str) -> str:
    return writes(new_notebook(cells=[new_markdown_cell(text)]))


@pytest.fixture
def small(tmp_path):
    """A repository as small as a site can be."""
    (tmp_path / "README.md").write_text("# Small\n\nIt is.\n\n## More\n\nNone.\n")
    for folder in ("notebooks", "params", "focil"):
        (tmp_path / folder).mkdir()
    (tmp_path / "notebooks" / "01-one.ipynb").write_text(simple("# One\n\nAll.\n\n## Part"))
    return tmp_path


def copied(folder: Path, names: str) -> None:
    """Copy pieces of this repository to their places in another."""
    for name in names.split():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
        copy(ROOT / name, folder / name)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site of a repository with one of each kind."""
    root = tmp_path_factory.mktemp("repository")
    copied(root, "focil/__init__.py focil/masks.py focil/base/__init__.py focil/base/files.py")
    copied(root, "params/digits-5.yaml outputs/reference/digits-5 outputs/reference/tiny-imagenet-20-classes")
    (root / "README.md").write_text("# Small\n\nSee [docs](docs/new.md).\n\n## More\n")
    (root / "docs").mkdir()
    for name, title in (
        ("reliability", "When a run dies"),
        ("new", "A new page"),
        ("results", "All results"),
    ):
        (root / "docs" / f"{name}.md").write_text(f"# {title}\n\nThe [code](../focil/masks.py).\n")
    (root / "CONTRIBUTING.md").write_text("# Contributing\n\nFound: 98.4 +- 0.6, `a +- b`.\n")
    (root / "notebooks").mkdir()
    (root / "notebooks" / "01-masks.ipynb").write_text(lesson())
    (root / "notebooks" / "02-two.ipynb").write_text(simple("# 2. Two\n\n## Why\n\n[back](01-masks.ipynb)"))
    template = simple("# One benchmark\n\nOf [the masks](../focil/masks.py).")
    (root / "notebooks" / "benchmark.ipynb").write_text(template)
    run = root / "outputs" / "digits-5" / "seed-1"
    run.mkdir(parents=True)
    (run / "benchmark.ipynb").write_text(template)
    (run / "result.json").write_text("{}")
    (run / "benchmark.part.ipynb").write_text("{}")  # once more, and interrupted
    (run.parent / "seed-2").mkdir()
    (run.parent / "seed-2" / "benchmark.ipynb").write_text("{}")  # not finished
    built = build(root, root / "outputs", root / "outputs" / "site")
    assert built.runs == 1 and built.pages == len(pages_of(built.front.parent))
    return built.front.parent


def pages_of(site: Path) -> list[Path]:
    """All pages, but for what the theme keeps beside its scripts."""
    return [path for path in sorted(site.rglob("*.html")) if "_static" not in path.parts]


def read(path: Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def links(page: BeautifulSoup) -> set[str]:
    return {link["href"] for link in page.select("article a[href]")}


def test_every_link_leads_to_a_page_and_a_place_in_it(site):
    pages = {path: read(path) for path in pages_of(site)}
    for path, page in pages.items():
        for link in (link["href"] for link in page.find_all("a", href=True)):
            if not re.match("https?:", link):
                address, _, name = link.partition("#")
                target = Path(os.path.normpath(path.parent / unquote(address))) if address else path
                assert target.is_file(), (path, link)
                if name and target in pages:
                    assert pages[target].find(id=unquote(name)), (path, link)


def test_it_reads_in_a_browser_narrow_and_wide_without_network(site, browser):
    """On every page: no foreign request, no error, no missing text, nothing wider than the window, no line
    of code cut off."""
    view, asked, said = browser.new_page(viewport={"width": 1400, "height": 900}), set(), []
    view.on("request", lambda request: asked.add(request.url.partition(":")[0]))
    view.on("console", lambda message: message.type in ("error", "warning") and said.append(message.text))
    view.on("pageerror", lambda error: said.append(str(error)))
    drawn = "[...document.images].every(image => image.complete && image.naturalWidth > 0 && image.alt)"
    cut = "[...document.querySelectorAll('pre')].filter(pre => pre.scrollWidth > pre.clientWidth).length"
    for path in pages_of(site):
        view.goto(path.as_uri())
        for pixels in (1400, 400):
            view.set_viewport_size({"width": pixels, "height": 900})
            assert view.evaluate("document.documentElement.scrollWidth") == pixels, path
            assert view.evaluate(drawn) and view.evaluate(cut) == 0, path
    assert not said and asked <= {"file", "data"}
    refused = "document.addEventListener('securitypolicyviolation', event => done(event.effectiveDirective))"
    asks = "new Image().src = 'https://example.org/x.png'"
    assert view.evaluate(f"new Promise(done => {{ {refused}; {asks} }})") == "img-src"  # by the browser
    view.close()


def test_a_line_of_100_characters_is_one_line_on_a_wide_screen(site, browser):
    view = browser.new_page(viewport={"width": 1400, "height": 900})
    view.goto((site / "notebooks" / "01-masks.html").as_uri())
    one, two = (view.evaluate(f"document.querySelectorAll('pre')[{i}].clientHeight") for i in range(2))
    assert one <= two, (one, two)
    view.close()


@pytest.mark.parametrize("page", ["index.html", "results.html", f"{PUBLISHED}/digits-5/index.html"])
def test_the_headline_is_seen_on_a_phone(site, browser, page):
    view = browser.new_page(viewport={"width": 400, "height": 900})
    view.goto((site / page).as_uri())
    heads = "[...document.querySelectorAll('th')].filter(head => head.textContent.trim() == 'sample')"
    right = f"Math.max(...{heads}.map(head => head.getBoundingClientRect().right))"
    assert 0 < view.evaluate(right) <= 400
    view.close()


def test_search_works_from_the_disk(site, browser):
    view = browser.new_page()
    view.goto((site / "search.html").as_uri() + "?q=ledger")
    view.locator("#search-results li a").first.wait_for()
    assert any("focil.masks" in text for text in view.locator("#search-results li a").all_text_contents())
    view.close()


def test_light_and_dark(site, browser):
    colours = set()
    for scheme in ("light", "dark"):
        view = browser.new_page(color_scheme=scheme)
        view.goto((site / "index.html").as_uri())
        colours.add(view.evaluate("getComputedStyle(document.body).backgroundColor"))
        assert view.locator(".theme-switch-container").count()
        view.close()
    assert len(colours) == 2


def test_one_navigation_in_the_order_of_reading(site):
    front = read(site / "index.html")
    top = [link.get_text().strip() for link in front.select(".bd-header .nav-link.nav-internal")]
    assert list(dict.fromkeys(top)) == ["Lessons", "Docs", "Results", "API"]
    docs = [link.get_text() for link in read(site / "docs.html").select("article .toctree-wrapper a")]
    assert docs == ["README", "All results", "When a run dies", "A new page", "Contributing"]
    second = read(site / "notebooks" / "02-two.html")
    assert second.select_one(".left-prev")["href"] == "01-masks.html" and second.select_one(".right-next")
    assert "1. Masks" in read(site / "lessons.html").get_text()


def test_a_lesson_keeps_its_words_formulas_and_folds(site):
    page = read(site / "notebooks" / "01-masks.html").article
    assert [picture["alt"] for picture in page.find_all("img")] == ["A point" * 9]
    assert len(page.find_all("math")) == 2 and page.find("mfrac") and not page.find("script")
    assert page.details.summary.get_text() == "Solution" and page.details.find("math")
    assert "make lab" in page.find(class_="note").get_text()


def test_runs_params_notebooks_and_modules_link_to_each_other(site):
    run = links(read(site / "outputs" / "digits-5" / "seed-1" / "benchmark.html"))
    linked = ("params/digits-5", "notebooks/benchmark", "api/focil.masks", "outputs/reference/digits-5/index")
    assert run >= {os.path.relpath(f"{page}.html", "outputs/digits-5/seed-1") for page in linked}
    params = links(read(site / "params" / "digits-5.html"))
    assert params >= {"../notebooks/benchmark.html", "../outputs/digits-5/seed-1/benchmark.html"}
    assert "../params/digits-5.html" in links(read(site / "notebooks" / "benchmark.html"))
    assert "../notebooks/01-masks.html" in links(read(site / "api" / "focil.masks.html"))
    lesson = links(read(site / "notebooks" / "01-masks.html"))
    assert lesson >= {"../api/focil.masks.html", "../api/focil.base.files.html", "02-two.html#why"}


def test_the_reference_of_the_code_says_what_the_docstrings_say(site):
    page = read(site / "api" / "focil.masks.html").article
    assert page.find(id="focil.masks.Ledger") and "Which connections an expert has" in page.get_text()
    assert page.find("a", string="[source]") or "[source]" in page.get_text()
    room = read(site / "api" / "focil.base.html").article.table
    assert "focil.base.files" in room.get_text() and "`" not in room.get_text()


def test_the_front_page_says_what_the_published_results_say(site):
    rows = [
        [cell.get_text().strip() for cell in row.find_all("td")]
        for row in read(site / "index.html").select("tbody tr")
    ]
    told = re.search(
        r"^## digits-5\n.*?^\| both \| (.*?) \|",
        (ROOT / "outputs/reference/README.md").read_text(),
        re.M | re.S,
    )
    both = next(row for row in rows if row[1] == "both")
    assert both[2] == told[1].replace(" +- ", "\xa0±\xa0") and both[-1] == "5"


def test_an_interval_is_not_broken_and_code_is_left_as_it_is(site):
    assert "98.4\xa0±\xa00.6, a +- b." in read(site / "CONTRIBUTING.html").article.get_text()


def test_a_reference_page_has_every_picture_with_its_words(site):
    page = read(site / "outputs" / "reference" / "digits-5" / "index.html").article
    pictures = page.find_all("img")
    assert len(pictures) == len(list((ROOT / "outputs/reference/digits-5").rglob("*.png")))
    assert all(len(picture["alt"]) > 40 for picture in pictures)


def test_every_link_of_this_repository_leads_to_a_page(tmp_path):
    building._copy(ROOT, tmp_path / "none", tmp_path / "sources")
    pages = dict(Site(tmp_path / "sources").pages())
    for page, text in pages.items():
        prose = re.sub(r"^(`{3,}).*?^\1`*$|`[^`\n]*`|^ {4}.*$", "", text, flags=re.DOTALL | re.MULTILINE)
        for link in LINK.finditer(prose):
            target = (link[2] or "/").removeprefix("/")
            is_there = target.removesuffix(".md") in pages or (tmp_path / "sources" / target).exists()
            assert (link[2] or "/").startswith("/") and is_there, (page, link[0])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    names = " ".join(project["tool"]["importlinter"]["contracts"][0]["layers"]).replace("|", " ").split()
    assert {f"api/focil.{name}" for name in names if name != "__main__"} <= set(pages)


def test_without_runs_it_says_what_is_missing(small, capsys, monkeypatch):
    built = build(small, small / "outputs", small / "outputs-site")
    assert (
        built.runs == 0 and "make reproduce" in read(built.front.parent / "results.html").article.get_text()
    )
    monkeypatch.setattr(building, "build", lambda root, outputs, target: built)
    assert main(["site", "--out", str(small / "outputs")]) == 0
    printed = capsys.readouterr().out
    assert f"open {built.front}" in printed and "focil run digits-5" in printed


def test_a_link_to_nothing_is_an_error_that_names_it_and_leaves_the_old_site(small):
    front = build(small, small / "outputs", small / "site").front
    before = front.read_text()
    gone = "../focil/gone.py", "02-none.ipynb", "../../elsewhere.md", "01-one.ipynb#nowhere", "#nowhere"
    text = "# One\n\n" + "\n\n".join(f"[here]({link})" for link in gone)
    (small / "notebooks" / "01-one.ipynb").write_text(simple(text))
    with pytest.raises(SiteError) as error:
        build(small, small / "outputs", small / "site")
    told = [line for line in str(error.value).splitlines() if line.startswith("notebooks/01-one.md:")]
    assert len(told) == len(gone), error.value
    assert front.read_text() == before
    assert not [path.name for path in small.iterdir() if path.name.startswith(".")]


def test_what_is_no_site_is_not_replaced(small):
    folder = small / "outputs" / "site" / "seed-0"  # a benchmark of that name
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps({}))
    with pytest.raises(SiteError, match="is no site"):
        build(small, small / "outputs", small / "outputs" / "site")
    assert (folder / "result.json").exists()


def test_it_is_built_without_the_repository_too(small, monkeypatch):
    """As where focil is installed: lessons and code, no documents; links to those are plain text."""
    (small / "focil" / "core.py").write_text('"""Core."""\n')
    (small / "notebooks" / "01-one.ipynb").write_text(simple("# One\n\n[read](../README.md)"))
    monkeypatch.setattr(building, "PACKAGE", small / "focil")
    monkeypatch.setattr(building, "shipped", lambda name: small / name)
    page = read(build(None, small / "outputs", small / "site").front.parent / "notebooks" / "01-one.html")
    assert "read" in page.article.get_text() and not page.article.find("a", string="read")
