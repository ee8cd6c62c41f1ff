"""Notebooks as pages of HTML that load nothing from anywhere, and as Markdown for the site."""

import html
import re
from collections.abc import Sequence
from copy import deepcopy
from functools import cache
from pathlib import Path

import nbformat
from bs4 import BeautifulSoup
from nbconvert.filters.ansi import strip_ansi
from nbconvert.preprocessors import CoalesceStreamsPreprocessor

from focil.reports.prose import Prose, colours, highlighted, plain

RUNNING = ("script", "iframe", "frame", "object", "embed", "applet", "base", "meta", "link", "style", "form")
SCHEMES = ("", "http", "https", "mailto")  # of a link
WRITTEN = ("text", "text/plain", "text/html", "text/markdown")  # of an output, in words
WIDGET = "application/vnd.jupyter.widget-view+json"
NO_WIDGET = (
    '<p class="note">Here are controls that need a running notebook: open it with <code>make lab</code>.</p>'
)
# Whatever a page contains, a browser runs no script in it and asks no server for anything.
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' file: data:; base-uri 'none'; form-action "
    "'none'"
)
FRAME = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="focil">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>
{style}</style>
</head>
<body>
<a class="skip" href="#main">Skip to the content</a>
<div class="page">
<main id="main">
{body}
</main>
</div>
</body>
</html>
"""


def frame(title: str, body: str) -> str:
    """A whole page. body: HTML of its main part."""
    return FRAME.format(policy=POLICY, title=html.escape(title), style=_style(), body=_with_contents(body))


def page(notebook: nbformat.NotebookNode) -> str:
    """A notebook as one whole page that stands alone; its relative links stay as they are."""
    return frame(title(notebook), str(harmless(cells(without_folders(notebook)))))


def cells(notebook: nbformat.NotebookNode) -> str:
    """The cells of a notebook as HTML: prose, code, and what it printed and drew, with alternative texts."""
    prose, parts = Prose(), []
    for part in notebook.cells:
        if part.cell_type == "markdown":
            parts.append(prose.html(part.source, part.get("attachments")))
        elif part.cell_type == "code" and part.source.strip():
            parts += [block(part.source, "python"), outputs(part, prose)]
    return "\n".join(parts)


def without_folders(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A copy that does not say in which folder of this machine it was executed, nor whose home that is."""
    given = notebook.metadata.get("papermill", {}).get("parameters", {})
    folder, found, _ = given.get("out", "").rpartition(f"/{given.get('config', {}).get('name')}")
    places = {folder: "outputs"} if found else {}

    def hide(text: str) -> str:
        for place, name in (places | {str(Path.home()): "~"}).items():
            text = re.sub(rf"{re.escape(place)}(?=/)", name, text)
        return text

    copy = deepcopy(notebook)
    for part in copy.cells:
        part.source = hide(part.source)
        for output in part.get("outputs", ()):
            for holder in (output, output.get("data", {})):
                holder |= {key: hide(holder[key]) for key in WRITTEN if key in holder}
    return copy


def markdown(notebook: nbformat.NotebookNode) -> str:
    """The cells of a notebook as MyST Markdown; what they printed and drew is HTML that runs nothing."""
    parts = []
    for part in without_folders(notebook).cells:
        if part.cell_type == "markdown":
            parts.append(part.source)
        elif part.cell_type == "code" and part.source.strip():
            shown = str(harmless(outputs(part, Prose())))
            parts += [fenced(part.source, "python"), *([fenced(shown, "{raw} html")] if shown else [])]
    return "\n\n".join(parts)


def fenced(text: str, kind: str) -> str:
    """A block of Markdown that `text` cannot end. kind: a language, or a directive of MyST."""
    fence = "`" * 12
    return f"{fence}{kind}\n{text}\n{fence}"


def outputs(cell: nbformat.NotebookNode, prose: Prose) -> str:
    """What a cell of code printed and drew, as HTML; "" if it did neither."""
    found, _ = CoalesceStreamsPreprocessor().preprocess_cell(deepcopy(cell), {}, 0)  # it arrives in pieces
    shown = "".join(_output(output, prose) for output in found.outputs)
    return f'<div class="output" role="group" aria-label="Output">{shown}</div>' if shown else ""


def title(notebook: nbformat.NotebookNode) -> str:
    """The first heading of a notebook, or "Notebook"."""
    lines = (
        line for part in notebook.cells if part.cell_type == "markdown" for line in part.source.splitlines()
    )
    return next((plain(Prose().html(line)).strip() for line in lines if line.startswith("# ")), "Notebook")


def listing(names: Sequence[str]) -> str:
    """A list of HTML items."""
    items = "\n".join(f"<li>{name}</li>" for name in names)
    return f"<ul>\n{items}\n</ul>\n"


def picture(source: str, alt: str) -> str:
    """A picture from a file or a data URI."""
    return (
        f'<figure><img src="{html.escape(source)}" '
        f'alt="{html.escape(alt or "A picture without a description")}"></figure>\n'
    )


def block(code: str, language: str) -> str:
    """A block of code in colours."""
    return f'<div class="code">{highlighted(code, language)}</div>\n'


def harmless(content: str) -> BeautifulSoup:
    """HTML without what could run, load or restyle anything.

    A picture from elsewhere becomes a link to it.
    """
    soup = BeautifulSoup(content, "html.parser")
    for tag in soup.find_all(RUNNING):
        tag.decompose()
    for tag in soup.find_all(True):
        for name in [name for name in tag.attrs if name.startswith("on")]:
            del tag[name]
    for tag in soup.find_all(href=True):
        if scheme(tag["href"]) not in SCHEMES:
            del tag["href"]
    for tag in soup.find_all(src=True):
        if scheme(tag["src"]) not in ("", "data"):
            link = soup.new_tag("a", href=tag["src"])
            link.string = tag.get("alt") or tag["src"]
            tag.replace_with(link)
    return soup


def scheme(link: str) -> str:
    """The scheme of a link, "" if it is relative; spaces and control characters hide none."""
    head, colon, _ = "".join(sign for sign in link if sign > " ").partition(":")
    return "" if not colon or set(head) & set("/?#.") else head.lower()


def _output(output: nbformat.NotebookNode, prose: Prose) -> str:
    if output.output_type == "stream":
        return _printed(output.text)
    if output.output_type == "error":
        return _printed("\n".join(output.traceback))
    data = output.data
    if WIDGET in data:
        return NO_WIDGET
    for kind in ("image/png", "image/jpeg"):
        if kind in data:
            alt = output.metadata.get(kind, {}).get("alt") or output.metadata.get("alt", "")
            return picture(f"data:{kind};base64,{data[kind].strip()}", alt)
    if "text/html" in data:
        return f'<div class="wide">{data["text/html"]}</div>'
    return (
        prose.html(data["text/markdown"]) if "text/markdown" in data else _printed(data.get("text/plain", ""))
    )


def _printed(text: str) -> str:
    return f"<pre>{html.escape(strip_ansi(text))}</pre>\n" if text.strip() else ""


def _with_contents(body: str) -> str:
    """Below the title, links to the sections of a page, if there are enough of them to choose from."""
    sections = re.findall(r'<h2 id="([^"]+)">(.*?)</h2>', body)
    items = [f'<a href="#{name}">{html.escape(plain(text), quote=False)}</a>' for name, text in sections]
    contents = (
        '<nav class="contents" aria-labelledby="contents"><div><p id="contents">On this '
        f"page</p>\n{listing(items)}</div></nav>\n"
    )
    head, title, rest = body.partition("</h1>\n")
    return head + title + contents + rest if title and len(items) > 2 else body


@cache
def _style() -> str:
    return colours() + "\n" + Path(__file__).with_name("page.css").read_text(encoding="utf-8")
