"""How Sphinx makes the site: settings as any Sphinx user knows them, and what is our own of it."""

import re

from docutils import nodes
from pydantic import BaseModel
from sphinx.application import Sphinx

from focil.reports.prose import formula

project = html_title = "focil"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.viewcode"]
html_theme, html_static_path, html_css_files = "pydata_sphinx_theme", ["site.css"], ["site.css"]
html_context = {"default_mode": "auto"}
html_show_sourcelink = html_copy_source = html_use_index = html_domain_indices = False
html_show_search_summary = False  # it would fetch pages, which a browser refuses where there is no server
html_math_renderer = "mathml"
autosummary_generate = False
html_theme_options = {"logo": {"text": "focil"}, "footer_start": [], "footer_end": [], "show_toc_level": 2}
html_theme_options |= {"secondary_sidebar_items": ["page-toc"], "navbar_align": "left"}
myst_enable_extensions, myst_heading_anchors = ["dollarmath", "amsmath", "attrs_block"], 6
default_role = "py:obj"  # `name` in a docstring leads to what it names
autodoc_default_options = {"members": True, "member-order": "bysource", "undoc-members": True}
autodoc_default_options |= {"ignore-module-all": True}  # a name is described where it is defined
autodoc_inherit_docstrings, autodoc_typehints_format = False, "short"
maximum_signature_line_length = 88
toc_object_entries_show_parents = "hide"
# A browser asks no other host for anything, whatever a page contains.
POLICY = "default-src 'self' 'unsafe-inline' file: data:"


def setup(app: Sphinx) -> None:
    """What is our own: formulas as MathML, docstrings as they are meant, whole intervals, no other host."""
    app.add_html_math_renderer("mathml", (_formula, None), (_formula, None))
    app.connect("autodoc-process-docstring", _docstring)
    app.connect("doctree-read", _intervals)
    app.connect("html-page-context", _policy)


def _formula(translator, node: nodes.math | nodes.math_block) -> None:
    translator.body.append(formula(node.astext(), "inline" if isinstance(node, nodes.math) else "block"))
    raise nodes.SkipNode


def _docstring(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Validated options say what each of them means; signs that docutils reads are meant as they stand."""
    if what == "class" and issubclass(obj, BaseModel):
        for field, info in obj.model_fields.items():
            lines += ["", f"- ``{field}``: {info.description or ''}, default ``{info.default!r}``"]
    for place, line in enumerate(lines):
        if not line.lstrip().startswith(">>>"):
            lines[place] = re.sub(r"(`+[^`]*`+)|([*|_])", lambda found: found[1] or f"\\{found[2]}", line)


def _intervals(app: Sphinx, doctree: nodes.document) -> None:
    """98.4 +- 0.6 is one word, which a narrow column of a table does not break; code stays as it is."""
    for text in list(doctree.findall(nodes.Text)):
        whole = re.sub(r" (\+-|±) ", "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}", text)
        if whole != text and not isinstance(text.parent, nodes.literal | nodes.FixedTextElement):
            text.parent.replace(text, nodes.Text(whole))


def _policy(app: Sphinx, page: str, template: str, context: dict, doctree: object) -> None:
    policy = f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    context["metatags"] = context.get("metatags", "") + policy
