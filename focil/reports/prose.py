"""Markdown and code to HTML: formulas as MathML, tables with headers, headings that can be linked to."""

import html
import re
from collections import Counter

from bs4 import BeautifulSoup
from latex2mathml.converter import convert
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

STYLE = "xcode"  # the one light style of Pygments whose every colour has a contrast above 4.5:1 on our grey
LONG = 30  # characters of LaTeX that may be wider than a phone
SPACES = r"\\q?quad(?![a-z])"
RELATIONS = r"(?=[=<>]|\\(?:approx|leq?|geq?)(?![a-z]))"
BRACKETS = ((r"\{", r"\}"), (r"\\left(?![a-z])", r"\\right(?![a-z])"), (r"\\begin", r"\\end"))
LIMITS = ("max", "min", "lim")  # what latex2mathml leaves below on the right, even in a displayed formula
ARGUMENT = re.compile(
    r"\\arg\s*\\(max|min)(?![a-z])"
)  # one name, which latex2mathml knows, of two of which it knows one
NUMBER = re.compile(r"[+-]?[\d.,]+( \+- [\d.,]+)?( \w+)?")  # 98.2, +46.3 +- 11.1, 2 MB


class Prose(IPythonRenderer):
    """Renders the Markdown of one page, cell after cell.

    The names of its headings are unique over all of them.
    """

    def __init__(self):
        super().__init__(escape=False)  # <details> is written as HTML
        self._slugs: Counter[str] = Counter()
        self._markdown = MarkdownWithMath(renderer=self)

    def html(self, source: str, attachments: dict | None = None) -> str:
        """The Markdown `source` as HTML. attachments: pictures of a notebook's cell, by name."""
        self.attachments = attachments or {}
        return self._markdown.render(source)

    def heading(self, text: str, level: int, **attrs: object) -> str:
        return f'<h{level} id="{self.slug(text)}">{text}</h{level}>\n'

    def slug(self, text: str) -> str:
        """The name of a heading, as GitHub gives it: "R1: labels" -> "r1-labels"; a second one gets "-1"."""
        slug = re.sub(r"[^\w\- ]", "", plain(text).strip().lower()).replace(" ", "-") or "section"
        self._slugs[slug] += 1
        return slug if self._slugs[slug] == 1 else f"{slug}-{self._slugs[slug] - 1}"

    def block_code(self, code: str, info: str | None = None) -> str:
        return highlighted(code, (info or "text").split()[0])

    def table(self, text: str) -> str:
        return f'<div class="wide"><table>{text}</table></div>\n'

    def table_cell(self, text: str, align: str | None = None, head: bool = False) -> str:
        side = f' style="text-align: {align}"' if align else ""
        if head and text.strip():
            return f'<th scope="col"{side}>{text}</th>'
        return cell(text, side)  # a header that says nothing is none

    def inline_math(self, body: str) -> str:
        return formula(body)

    def block_math(self, body: str) -> str:
        return formula(body, "block")

    def latex_environment(self, name: str, body: str) -> str:
        return formula(f"\\begin{{{name}}}{body}\\end{{{name}}}", "block")


def cell(text: str, attributes: str = "") -> str:
    """A cell of a table, as HTML; a number stays on one line."""
    if NUMBER.fullmatch(plain(text).strip()):
        return f'<td class="number"{attributes}>{text.replace("+-", "&plusmn;")}</td>'
    return f"<td{attributes}>{text}</td>"


def formula(latex: str, display: str = "inline") -> str:
    """LaTeX as MathML, which browsers set without any script. What cannot be converted is shown as it was
    written.

    A narrow page may break it, because browsers do not: a displayed one between its parts, a long one inside
    a line before its relations.
    """
    latex = latex.strip()
    pieces = (
        _pieces(latex, SPACES)
        if display == "block"
        else _pieces(latex, RELATIONS)
        if len(latex) > LONG
        else [latex]
    )
    converted = [_mathml(piece, display) for piece in pieces]
    if None in converted:
        return f"<code>{html.escape(latex)}</code>"
    wide = [display == "block" or len(piece) > LONG for piece in pieces]
    boxed = [
        f'<span class="formula">{mathml}</span>' if box else mathml
        for mathml, box in zip(converted, wide, strict=True)
    ]
    return f'<span class="formulas">{"".join(boxed)}</span>' if display == "block" else "<wbr>".join(boxed)


def _pieces(latex: str, between: str) -> list[str]:
    """LaTeX cut where `between` matches outside of all brackets."""
    pieces, last = [], 0
    for match in re.finditer(between, latex):
        before = latex[: match.start()]
        if all(
            len(re.findall(opening, before)) == len(re.findall(closing, before))
            for opening, closing in BRACKETS
        ):
            pieces.append(latex[last : match.start()])
            last = match.end()
    return [piece for piece in (*pieces, latex[last:]) if piece.strip()]


def _mathml(latex: str, display: str) -> str | None:
    try:
        soup = BeautifulSoup(convert(ARGUMENT.sub(r"\\arg\1", latex), display=display), "html.parser")
    except (
        Exception
    ):  # a page of a long run must not fail on one formula; the parser's errors share no base class
        return None
    for tag in soup.find_all("mi", string=re.compile("^[a-z]{2,}$")):  # log, exp: set as tight as a variable
        tag.name, tag["lspace"], tag["rspace"] = "mo", "0.17em", "0.17em"
    for tag in soup.find_all(
        "mo", string="\u2016"
    ):  # a norm's bars: browsers would stretch the left one only
        tag.attrs.setdefault("stretchy", "false")
    for tag in soup.find_all("msub"):
        if display == "block" and tag.find(string=True).endswith(LIMITS):
            tag.name = "munder"
    return None if "\\" in soup.get_text() else str(soup)  # a command that it does not know


def highlighted(code: str, language: str) -> str:
    """Code in colours. language: of Pygments; an unknown one gives plain text."""
    try:
        lexer = get_lexer_by_name(language, stripnl=False)
    except ClassNotFound:
        lexer = get_lexer_by_name("text")
    return highlight(code, lexer, HtmlFormatter(style=STYLE))


def plain(text: str) -> str:
    """HTML without its tags."""
    return html.unescape(re.sub(r"<[^>]*>", "", text))


def colours() -> str:
    """The rules of `highlighted` for a style sheet."""
    return HtmlFormatter(style=STYLE).get_style_defs(".highlight")
