"""What the explorer's pages are made of, as HTML.

Whatever comes from data or from a file (class names, names of benchmarks) is escaped where it enters a page.
"""

import base64
import html
from collections.abc import Iterable, Sequence
from pathlib import Path

from focil.figures import style

STYLE = """<style>
.focil-table { border-collapse: collapse; margin: 0.5em 0 1em; line-height: 1.5; }
.focil-table caption { text-align: left; font-weight: bold; padding: 0.3em 0; }
.focil-table th, .focil-table td { padding: 0.15em 0.8em; text-align: right; border-bottom: 1px solid #ccc; }
.focil-table th:first-child { text-align: left; }
.focil-page details { margin: 0.5em 0; }
.focil-page summary { cursor: pointer; font-weight: bold; line-height: 2; }
.focil-page p { margin: 0 0 0.5em; }
.focil-page [role=alert] { border-left: 4px solid #d55e00; padding-left: 0.6em; }
.focil-page > .widget-html-content { line-height: 1.5; min-width: 0; }
.focil-help > .widget-html-content { line-height: 1.35; font-size: 0.9em; color: #444; }
.jp-Notebook:has(.focil-explorer) .jp-RenderedImage { display: none; }
</style>"""  # the last line: where the widgets live, the notebook's fixed picture is not needed
Cell = str | int


def status(text: str) -> str:
    """What is shown, in a sentence, for the page and its screen readers."""
    return f'<p role="status">{html.escape(text)}</p>'


def error(words: str) -> str:
    """Why something cannot be shown, for the page and its screen readers."""
    return f'<p role="alert">{html.escape(words)}</p>'


def note(words: str) -> str:
    """A line that explains what stands above it."""
    return f"<p>{html.escape(words)}</p>"


def heading(words: str) -> str:
    """The name of what follows."""
    return f"<h2>{html.escape(words)}</h2>"


def preformatted(lines: str) -> str:
    """Lines whose columns are made of spaces."""
    return f"<pre>{html.escape(lines)}</pre>"


def folded(title: str, content: str) -> str:
    """Content that opens with a click on its title."""
    return f"<details><summary>{html.escape(title)}</summary>{content}</details>"


def table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """A table whose first column names the rows; it scrolls by itself where it is wider than the page."""
    head = "".join(f'<th scope="col">{html.escape(column)}</th>' for column in columns)
    body = "".join(
        f'<tr><th scope="row">{html.escape(str(first))}</th>' + "".join(map(_cell, rest)) + "</tr>"
        for first, *rest in rows
    )
    return (
        '<div style="overflow-x: auto" tabindex="0" role="region" '
        f'aria-label="{html.escape(caption)}"><table class="focil-table">'
        f"<caption>{html.escape(caption)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def picture(drawn: style.Picture) -> str:
    """A picture with its alternative text."""
    return _img(style.png(drawn), drawn.alt)


def stored(path: Path) -> str:
    """A picture that was saved, with its alternative text."""
    return _img(path.read_bytes(), style.alt_of(path))


def _cell(cell: Cell) -> str:
    return f"<td>{html.escape(str(cell))}</td>"


def _img(png: bytes, alt: str) -> str:
    data = base64.b64encode(png).decode()
    return (
        f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{data}" style="max-width: 100%; height: '
        'auto; display: block">'
    )
