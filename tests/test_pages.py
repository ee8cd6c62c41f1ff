"""Notebooks as pages: nothing is loaded or run, formulas are MathML, pictures keep their alternative
texts, folds stay folded."""

import re
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from focil.reports import pages
from focil.reports.prose import Prose, colours, formula

NOTEBOOKS = sorted((Path(__file__).resolve().parent.parent / "notebooks").glob("*.ipynb"))
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="


def soup(content: str) -> BeautifulSoup:
    return BeautifulSoup(content, "html.parser")


def shown(*outputs) -> BeautifulSoup:
    """The page of a notebook with one cell that had these outputs."""
    cells = [new_markdown_cell("# One"), new_code_cell("x", outputs=list(outputs))]
    return soup(pages.page(new_notebook(cells=cells)))


@pytest.fixture(scope="module", params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    """A notebook of the repository and its page."""
    content = nbformat.read(request.param, as_version=4)
    return content, soup(pages.page(content))


def test_every_formula_is_mathml(notebook):
    content, page = notebook[0], soup(str(notebook[1]))
    text = "\n\n".join(cell.source for cell in content.cells if cell.cell_type == "markdown")
    prose = re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.DOTALL)
    written = re.findall(r"\$\$.+?\$\$|\$[^$]+\$", prose, re.DOTALL)
    assert len(page.find_all("math")) >= len(written)  # a long one is cut into several
    for code in page.find_all(["pre", "code", "style"]):
        code.decompose()
    assert "$" not in page.get_text() and "\\" not in page.get_text()


def test_every_picture_keeps_its_alternative_text(notebook):
    content, page = notebook
    outputs = [output for cell in content.cells for output in cell.get("outputs", [])]
    drawn = [output for output in outputs if "image/png" in output.get("data", {})]
    alts = [output.metadata["image/png"]["alt"] for output in drawn]
    assert [picture["alt"] for picture in page.find_all("img")] == alts


def test_solutions_stay_folded_with_their_code_and_formulas(notebook):
    content, page = notebook
    folds = [cell.source.count("<details>") for cell in content.cells if cell.cell_type == "markdown"]
    assert len(page.find_all("details")) == sum(folds)
    for fold in page.find_all("details"):
        assert fold.summary.get_text() == "Solution" and not fold.has_attr("open")
        assert "```" not in fold.get_text() and fold.find(["p", "pre"])


def test_a_page_loads_nothing_and_says_what_it_is(notebook):
    content, page = notebook
    assert page.html["lang"] == "en"
    assert page.title.get_text() == pages.title(content) == page.h1.get_text().replace("\xa0", " ")
    assert not page.find_all(["script", "iframe", "object"])
    assert [link["href"] for link in page.find_all("link")] == ["data:,"]
    assert all(picture["src"].startswith("data:image/") for picture in page.find_all("img"))
    assert "url(" not in page.style.get_text() and "@import" not in page.style.get_text()
    policy = page.find("meta", attrs={"http-equiv": "Content-Security-Policy"})
    assert "default-src 'none'" in policy["content"]
    names = [tag["id"] for tag in page.find_all(id=True)]
    assert len(names) == len(set(names))
    assert {link["href"][1:] for link in page.find_all("a", href=re.compile("^#"))} <= set(names)


def test_nothing_that_could_run_comes_through():
    harmful = (
        '<p onclick="x()">a</p><script>x()</script><iframe src="b"></iframe><a href=" java\nscript:x()">c</a>'
        '<img src="https://example.org/d.png" alt="d"><meta http-equiv="refresh">'
    )
    for page in (
        shown(new_output("display_data", {"text/html": harmful})),
        soup(pages.page(new_notebook(cells=[new_markdown_cell(harmful)]))),
    ):
        assert not page.find_all(["script", "iframe", "img"])
        assert not page.find_all("meta", attrs={"http-equiv": "refresh"})
        assert "onclick" not in str(page) and "script:" not in str(page)
        # From elsewhere: a link, not a request.
        assert page.find("a", href="https://example.org/d.png").get_text() == "d"


def test_what_was_printed_is_text():
    first, second = (new_output("stream", name="stdout", text=text) for text in ("<b>1", " & 2</b>\n"))
    page = shown(first, second, new_output("error", traceback=["\x1b[31mno\x1b[0m"]))
    blocks = page.find(class_="output").find_all("pre")
    assert [block.get_text() for block in blocks] == ["<b>1 & 2</b>\n", "no"]
    assert not page.find("b")


def test_widgets_say_where_they_live():
    view = {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}}
    page = shown(new_output("display_data", view | {"text/plain": "VBox(children=(1, 2))"}))
    assert "make lab" in page.find(class_="note").get_text() and "VBox" not in page.get_text()


def test_a_picture_without_words_says_so():
    page = shown(new_output("display_data", {"image/png": PNG}))
    assert page.img["alt"] == "A picture without a description"


def test_a_page_does_not_say_where_it_was_executed():
    source = 'out = "/home/ada/work/outputs/mine/seed-0"'
    printed = new_output("stream", name="stdout", text=f"{Path.home()}/data and /home/ada/work/outputs/x\n")
    notebook = new_notebook(cells=[new_code_cell(source, outputs=[printed])])
    given = {"out": "/home/ada/work/outputs/mine/seed-0", "config": {"name": "mine"}}
    notebook.metadata["papermill"] = {"parameters": given}
    for text in (soup(pages.page(notebook)).get_text(), pages.markdown(notebook)):
        assert 'out = "outputs/mine/seed-0"' in text and "~/data and outputs/x" in text
        assert "ada" not in text and str(Path.home()) + "/" not in text
    assert notebook.cells[0].source == source  # the notebook itself stays as it was


def test_titles_are_escaped():
    page = soup(pages.page(new_notebook(cells=[new_markdown_cell("# a < b & `c`")])))
    assert page.title.get_text() == "a < b & c"


def test_tables_have_headers_and_numbers_stay_whole():
    table = soup(Prose().html("| | who | % |\n|---|---|---:|\n| R1 | `x` | +46.3 +- 11.1 |"))
    # The empty one is no header.
    assert [header["scope"] for header in table.find_all("th")] == ["col", "col"]
    assert [(cell.get_text(), cell.get("class")) for cell in table.tbody.find_all("td")] == [
        ("R1", None),
        ("x", None),
        ("+46.3 ± 11.1", ["number"]),
    ]
    assert table.div["class"] == ["wide"]


def test_headings_have_the_names_that_links_use():
    prose = Prose()
    page = soup(prose.html("## What we do: *R1*, `x`\n\n## Data") + prose.html("## Data"))
    assert [heading["id"] for heading in page.find_all("h2")] == ["what-we-do-r1-x", "data", "data-1"]


@pytest.mark.parametrize("latex", [r"\nosuchcommand x", r"\frac{1", r"\left( x"])
def test_what_is_no_formula_is_shown_as_written(latex):
    code = soup(formula(latex, "block"))
    assert code.get_text() == latex or code.find("math")  # and no error ends the page of a long run


def test_formulas_break_only_outside_of_brackets():
    assert len(soup(formula(r"a = \left( b \quad c \right), \qquad d = e", "block")).find_all("math")) == 2
    assert len(soup(formula(r"a_{i = 1} = 1234567890 \approx \frac{b = c}{123456}")).find_all("math")) == 3
    assert len(soup(formula("a = b")).find_all("math")) == 1


def test_what_the_converter_leaves_crooked_is_set_right():
    found = soup(formula(r"\arg\max_x \log \lVert x \rVert^2", "block"))
    assert found.munder.mo.get_text() == "arg\u2009max"
    assert [(sign.get_text(), sign.get("stretchy")) for sign in found.find_all("mo")[1:]] == [
        ("log", None),
        ("\u2016", "false"),
        ("\u2016", "false"),
    ]


def test_every_colour_can_be_read():
    def light(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return sum(w * part for w, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    sheet = (Path(pages.__file__).parent / "page.css").read_text()
    variables = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", sheet))
    inks = set(re.findall(r"[{;] *color: (#[0-9A-Fa-f]{6})", colours()))
    inks |= {variables[name] for name in ("ink", "muted", "link")}
    assert len(inks) > 8
    assert all((light(variables["grey"]) + 0.05) / (light(ink) + 0.05) >= 4.5 for ink in inks)


def test_a_page_in_a_browser_asks_for_nothing(browser, tmp_path):
    path = tmp_path / "page.html"
    second = next(path for path in NOTEBOOKS if path.stem.startswith("02"))
    path.write_text(pages.page(nbformat.read(second, as_version=4)))
    view, asked, said = browser.new_page(viewport={"width": 400, "height": 900}), [], []
    view.on("request", lambda request: asked.append(request.url.partition(":")[0]))
    view.on("console", lambda message: said.append(message.text))
    view.goto(path.as_uri())
    assert set(asked) <= {"file", "data"} and not said
    assert view.evaluate("document.documentElement.scrollWidth") <= 400
    cut = "[...document.querySelectorAll('pre')].filter(pre => pre.scrollWidth > pre.clientWidth).length"
    assert view.evaluate(cut) == 0  # long lines wrap
    view.keyboard.press("Tab")
    assert view.evaluate("document.activeElement.className") == "skip"
    assert view.evaluate("document.activeElement.getBoundingClientRect().left") >= 0
    height = "document.querySelector('math[display=block] mfrac').getBoundingClientRect().height"
    assert view.evaluate(height) > 25  # a fraction is set as one, not as a line of letters
    view.close()
