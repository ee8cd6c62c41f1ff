"""The site: every link leads somewhere, nothing is loaded from elsewhere, and it reads on a phone as on a
wide screen."""

import html
import json
import os
import re
import shutil
from pathlib import Path
from urllib.parse import unquote

import pytest
from bs4 import BeautifulSoup, SoupStrainer
from nbformat.v4 import new_markdown_cell, new_notebook, writes

from focil.__main__ import main
from focil.reports.site import build as building
from focil.reports.site.atlas import Atlas, SiteError
from focil.reports.site.build import build

ROOT = Path(__file__).resolve().parent.parent
ODD = "a<b>&'50%#"  # a name that would be HTML, an escape and a place in a page
READ = SoupStrainer(["html", "a", "img", "link", "script", "iframe", "h1"])


def executed(outputs: Path, name: str, seed: int = 0) -> Path:
    """A folder as of an executed benchmark, from a teaching notebook, which has pictures and links."""
    folder = outputs / name / f"seed-{seed}"
    folder.mkdir(parents=True)
    shutil.copy2(ROOT / "notebooks" / "02-sparse-experts.ipynb", folder / "benchmark.ipynb")
    (folder / "result.json").write_text(json.dumps({"seed": seed, "benchmark": {"name": name}}))
    return folder


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site of this repository with three executed runs."""
    outputs = tmp_path_factory.mktemp("outputs")
    for name, seed in ((ODD, 0), ("digits-5", 0), ("digits-5", 1)):
        executed(outputs, name, seed)
    (outputs / "digits-5" / "seed-2").mkdir()
    (outputs / "digits-5" / "seed-2" / "benchmark.part.ipynb").write_text("{}")  # interrupted
    study = executed(outputs, "memo-digits").parent
    (study / "seed-0" / "benchmark.ipynb").rename(study / "memory.ipynb")
    (study / "seed-0" / "result.json").unlink()
    (study / "result.json").write_text(json.dumps({"seeds": [0, 1]}))
    built = build(ROOT, outputs, outputs / "site")
    assert built.runs == 4 and built.pages == len(list(outputs.glob("site/**/*.html")))
    return built.front.parent


@pytest.fixture(scope="module")
def read(site):
    """Path in the site -> what matters of the page's tags, and all names in it."""
    found = {}
    for path in site.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        page, names = BeautifulSoup(text, "html.parser", parse_only=READ), re.findall(r' id="([^"]+)"', text)
        found[path.relative_to(site).as_posix()] = page, set(names)
    return found


@pytest.fixture
def small(tmp_path):
    """A repository as small as a site can be."""
    (tmp_path / "README.md").write_text("# Small\n\nIt is.\n\n## Results\n\nNone.\n")
    for folder in ("notebooks", "focil", "params"):
        (tmp_path / folder).mkdir()
    (tmp_path / "focil" / "core.py").write_text(
        '"""The <core>."""\n\n\ndef turn() -> None:\n    """Turn & stop."""\n'
    )
    write(tmp_path, "# One\n\nAll about [the core](../focil/core.py) & more.\n\n## Part")
    return tmp_path


def write(root: Path, source: str, name: str = "01-one") -> None:
    (root / "notebooks" / f"{name}.ipynb").write_text(writes(new_notebook(cells=[new_markdown_cell(source)])))


def links(page: BeautifulSoup) -> set[str]:
    return {link["href"] for link in page.find_all("a", href=True)}


def test_every_link_leads_to_a_page_and_a_place_in_it(site, read):
    for path, (page, _) in read.items():
        for link in links(page):
            if not re.match("https?:", link):
                address, _, name = link.partition("#")
                near = os.path.normpath(os.path.join(os.path.dirname(path), unquote(address)))
                target = near if address else path
                assert (site / target).is_file(), (path, link)
                assert not name or unquote(name) in read[target][1], (path, link)


def test_every_page_stands_on_its_own(site, read):
    for path, (page, _) in read.items():
        assert page.find("html")["lang"] == "en" and len(page.find_all("h1")) == 1, path
        assert not page.find_all(["script", "iframe"]), path
        assert all(link["href"] == "data:," for link in page.find_all("link")), path
        for picture in page.find_all("img"):
            assert len(picture["alt"]) > 40, (path, picture["alt"])
            file = (site / os.path.dirname(path) / picture["src"]).resolve()
            assert picture["src"].startswith("data:") or file.is_file(), path


def test_everything_has_a_page(read):
    whole = [*ROOT.glob("focil/**/*.py"), *ROOT.glob("params/*.yaml")]
    expected = {f"{path.relative_to(ROOT).as_posix()}.html" for path in whole}
    expected |= {f"notebooks/{path.stem}.html" for path in (ROOT / "notebooks").glob("*.ipynb")}
    published = [path.name for path in (ROOT / "outputs" / "reference").iterdir() if path.is_dir()]
    expected |= {f"outputs/reference/{name}/index.html" for name in published}
    expected |= {"index.html", "README.html", "LICENSE.html", "focil/index.html", "params/index.html"}
    expected |= {f"outputs/{ODD}/seed-0/benchmark.html", "outputs/memo-digits/memory.html"}
    assert expected <= set(read)


def test_runs_params_notebooks_and_modules_link_to_each_other(read):
    run = links(read["outputs/digits-5/seed-1/benchmark.html"][0])
    linked = ("params/digits-5.yaml", "notebooks/benchmark", "focil/masks.py")
    assert run >= {f"../../../{page}.html" for page in linked}
    assert "../../reference/digits-5/index.html" in run
    params = links(read["params/digits-5.yaml.html"][0])
    assert params >= {"../notebooks/benchmark.html", "../outputs/reference/digits-5/index.html"}
    assert params >= {f"../outputs/digits-5/seed-{seed}/benchmark.html" for seed in (0, 1)}
    assert "../notebooks/02-sparse-experts.html" in links(read["focil/masks.py.html"][0])
    assert "../params/memo-digits.yaml.html" in links(read["notebooks/memory.html"][0])
    second = links(read["notebooks/02-sparse-experts.html"][0])
    assert second >= {"01-stream-and-forgetting.html", "03-finetune-and-freeze.html"}
    reference = links(read["outputs/reference/cifar100-20/index.html"][0])
    assert reference >= {"../../../params/cifar100-20.yaml.html", "../../../notebooks/benchmark.html"}
    assert "seed-0/result.json" in reference


def test_names_are_escaped(site):
    front = (site / "index.html").read_text()
    assert html.escape(ODD) in front and ODD not in front
    assert "a%3Cb%3E%26%2750%25%23/seed-0/benchmark.html" in front


def test_the_front_page_says_what_the_published_results_say(site):
    front = BeautifulSoup((site / "index.html").read_text(), "html.parser")
    rows = [
        [cell.get_text() for cell in row.find_all(["th", "td"])] for row in front.table.select("tbody tr")
    ]
    by_size = {row[-1]: row for row in rows}
    told = r"^\| `cifar100-20` \| 3 \| both \| (.*?) \| (.*?) \| \*\*(.*?)\*\* \| (.*?) \|$"
    said = re.findall(told, (ROOT / "docs" / "results.md").read_text(), re.MULTILINE)[0]
    assert by_size[said[-1]][-4:] == [value.replace("+-", "±") for value in said]
    headings = [heading.get_text() for heading in front.find_all("h2")]
    assert headings[:3] == ["Two commands", "Results", "Teaching notebooks"]


def test_a_reference_page_has_every_picture_with_its_words(read):
    for folder in (ROOT / "outputs" / "reference").iterdir():
        if folder.is_dir():
            page, _ = read[f"outputs/reference/{folder.name}/index.html"]
            assert len(page.find_all("img")) == len(list(folder.rglob("*.png")))


def test_lines_of_a_module_are_numbered_as_in_the_file(site):
    page = BeautifulSoup((site / "focil" / "masks.py.html").read_text(), "html.parser")
    lines = (ROOT / "focil" / "masks.py").read_text().splitlines()
    assert [page.find(id=f"L-{i + 1}").get_text().rstrip("\n") for i in range(len(lines))] == lines


def test_it_reads_in_a_browser_narrow_and_wide_without_network(site, browser):
    view, asked, said = browser.new_page(viewport={"width": 1400, "height": 900}), set(), []
    view.on("request", lambda request: asked.add(request.url.partition(":")[0]))
    view.on("console", lambda message: said.append((view.url, message.text)))
    view.on("pageerror", lambda error: said.append((view.url, str(error))))
    width = "() => [document.documentElement.scrollWidth, innerWidth]"
    drawn = "[...document.images].every(image => image.complete && image.naturalWidth > 0 && image.alt)"
    for path in sorted(site.rglob("*.html")):
        view.goto(path.as_uri())
        assert view.evaluate(drawn), path
        for pixels in (1400, 400):
            view.set_viewport_size({"width": pixels, "height": 900})
            assert view.evaluate(width) == [pixels, pixels], path
    assert asked <= {"file", "data"} and not said
    view.close()


def test_without_runs_it_says_what_is_missing(small, capsys, monkeypatch):
    built = build(small, small / "outputs", small / "outputs-site")
    note = BeautifulSoup(built.front.read_text(), "html.parser").find(class_="note")
    assert built.runs == 0 and "make reproduce" in note.get_text()
    monkeypatch.setattr(building, "build", lambda root, outputs, target: built)
    assert main(["site", "--out", str(small / "outputs")]) == 0
    printed = capsys.readouterr().out
    assert (
        f"open {built.front}" in printed and "no executed run" in printed and "focil run digits-5" in printed
    )


def test_a_module_says_what_it_is_and_who_uses_it(small):
    site = build(small, small / "outputs", small / "site").front.parent
    page = BeautifulSoup((site / "focil" / "core.py.html").read_text(), "html.parser")
    assert page.find("main").p.get_text() == "The <core>." and page.find("a", href="../notebooks/01-one.html")
    assert page.find("a", href="#L-4").find_parent("li").get_text() == "turn Turn & stop."


GONE = [
    "../focil/gone.py",
    "02-none.ipynb",
    "/etc/passwd",
    "../../elsewhere.md",
    "01-one.ipynb#nowhere",
    "#nowhere",
    "../focil/core.py#L-99",
]


@pytest.mark.parametrize("link", GONE)
def test_a_link_to_nothing_is_an_error_that_names_it(small, link):
    write(small, f"# One\n\n[here]({link})\n\n## Part")
    named = re.escape(link.split("/")[-1].split("#")[-1])
    with pytest.raises(SiteError, match=rf"notebooks/01-one\.ipynb links to .*{named}"):
        build(small, small / "outputs", small / "site")
    assert not (small / "site").exists()


@pytest.mark.parametrize(
    "link",
    ["../focil/core.py#L-4", "#part", "01-one.ipynb#part", "../README.md#results", "https://example.org/x"],
)
def test_a_link_to_something_is_kept(small, link):
    write(small, f"# One\n\n[here]({link})\n\n## Part")
    built = build(small, small / "outputs", small / "site")
    assert link.partition("#")[2] in (built.front.parent / "notebooks" / "01-one.html").read_text()


def test_a_build_that_fails_leaves_the_old_site(small, monkeypatch):
    front = build(small, small / "outputs", small / "site").front
    before = front.read_text()
    write(small, "# One\n\n[gone](gone.md)")
    with pytest.raises(SiteError):
        build(small, small / "outputs", small / "site")
    write(small, "# One")
    monkeypatch.setattr(Atlas, "check", lambda self, names: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        build(small, small / "outputs", small / "site")
    assert front.read_text() == before
    assert not [path.name for path in small.iterdir() if path.name.startswith(".")]


def test_a_second_build_replaces_the_first(small):
    build(small, small / "outputs", small / "site")
    (small / "focil" / "core.py").rename(small / "focil" / "heart.py")
    write(small, "# One")
    site = build(small, small / "outputs", small / "site").front.parent
    assert (site / "focil" / "heart.py.html").exists() and not (site / "focil" / "core.py.html").exists()


def test_what_is_no_site_is_not_replaced(small):
    executed(small / "outputs", "site")  # a benchmark of that name
    with pytest.raises(SiteError, match="is no site"):
        build(small, small / "outputs", small / "outputs" / "site")
    assert (small / "outputs" / "site" / "seed-0" / "result.json").exists()


def test_a_damaged_result_is_an_error_that_names_it(small):
    folder = executed(small / "outputs", "mine")
    shutil.copy2(folder / "benchmark.ipynb", small / "notebooks" / "benchmark.ipynb")
    (folder / "result.json").write_text("{")
    with pytest.raises(SiteError, match=r"mine.*result\.json"):
        build(small, small / "outputs", small / "site")


def test_published_results_without_their_section_are_an_error(small):
    folder = small / "outputs" / "reference" / "mine"
    folder.mkdir(parents=True)
    (folder / "result.json").write_text("{}")
    (small / "outputs" / "reference" / "README.md").write_text("# Reference results\n")
    with pytest.raises(SiteError, match="no section mine"):
        build(small, small / "outputs", small / "site")
