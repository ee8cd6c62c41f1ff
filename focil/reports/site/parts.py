"""The other pages of the site: notebooks, results, modules, params and documents, each with the links that
belong to it."""

import ast
import html
import re
from collections.abc import Sequence
from pathlib import Path

import nbformat

from focil.reports import pages
from focil.reports.prose import Prose
from focil.reports.site.atlas import MODULES, PARAMS, REFERENCE, Atlas, Executed, SiteError
from focil.reports.site.front import described, is_teaching, linked, opened, params_of, section, seeds
from focil.runs.params import read_params

LANGUAGES = {
    "CITATION.cff": "yaml",
    "docs/slurm.py": "python",
    "docs/others.py": "python",
    "Makefile": "make",
    "pyproject.toml": "toml",
    "environment.yml": "yaml",
}


def notebook(atlas: Atlas, path: str) -> tuple[str, str]:
    """Title and body of a committed notebook.

    Those that teach with the way to their neighbours, templates with who executes them.
    """
    content = opened(atlas, path)
    body = atlas.settle(path, pages.cells(content))
    if is_teaching(path):
        series = list(filter(is_teaching, atlas.notebooks))
        place = f"Teaching notebook {series.index(path) + 1} of {len(series)}"
        return pages.title(content), _related([place, f"<code>{html.escape(path)}</code>"]) + body + _turn(
            atlas, path, series
        )
    users = [params for params in atlas.params if read_params(atlas.path(params)).notebook == Path(path).stem]
    runs = [_named(atlas, path, run) for run in atlas.runs if run.path.name == Path(path).name]
    links = _list("Executed here", runs) + _list(
        "Params files that fill it in", [linked(atlas, path, params) for params in users]
    )
    text = "Not executed on this page" if users else "Needs a running notebook: <code>make explore</code>"
    related = _related([text, f"<code>{html.escape(path)}</code>"])
    return pages.title(content), related + body + (section("Where it is used", links) if links else "")


def run(atlas: Atlas, executed: Executed) -> tuple[str, str]:
    """Title and body of an executed notebook, with its params file, its template and the published
    numbers."""
    content = nbformat.read(executed.path, as_version=4)
    page, template = executed.source, f"notebooks/{executed.path.name}"
    links = [
        f"<code>{html.escape(executed.name)}</code>, {seeds(executed.seeds)}",
        f"template {linked(atlas, page, template)}",
    ]
    if params := params_of(atlas, executed.name):
        links.append(linked(atlas, page, params))
    if (folder := f"{REFERENCE}/{executed.name}") in atlas.references:
        links.append(linked(atlas, page, folder, "reference results"))
    body = atlas.settle(page, pages.cells(content), template)
    return f"{executed.name}, {seeds(executed.seeds)}: {pages.title(content)}", _related(links) + body


def reference(atlas: Atlas, folder: str) -> tuple[str, str]:
    """Title and body of one published result: its section of the README there, its pictures, its files."""
    name = Path(folder).name
    readme = (atlas.path(REFERENCE) / "README.md").read_text(encoding="utf-8")
    found = re.search(rf"^## {re.escape(name)}\n(.*?)(?=^## |\Z)", readme, re.DOTALL | re.MULTILINE)
    if found is None:
        raise SiteError(
            f"{REFERENCE}/README.md has no section {name}, but there is {folder}; write it: python -m focil "
            f"publish {name}"
        )
    params = params_of(atlas, name)
    links = (
        [linked(atlas, folder, params), f"template {linked(atlas, folder, _template(atlas, params))}"]
        if params
        else []
    )
    links += [_named(atlas, folder, run) for run in atlas.runs if run.name == name]
    files = [path for path in atlas.files if path.startswith(f"{folder}/")]
    drawn = sorted(
        (path for path in files if path.endswith(".png")), key=lambda path: path.count("/")
    )  # those of one seed last
    pictures = [pages.file_picture(atlas.path(path), atlas.link(folder, path)) for path in drawn]
    results = [
        linked(atlas, folder, path, f"<code>{html.escape(path.removeprefix(f'{folder}/'))}</code>")
        for path in files
        if path.endswith(".json")
    ]
    head = f"<h1>{html.escape(name)}</h1>\n" + (f"<p>{described(atlas.path(params))}</p>\n" if params else "")
    text = "<p>Every number behind a picture, the whole configuration, and where it comes from.</p>\n"
    end = section("Pictures", "".join(pictures)) + section("Files", text + pages.listing(results))
    return name, _related(["Reference result", *links]) + head + atlas.settle(
        folder, Prose().html(found[1])
    ) + end


def module(atlas: Atlas, path: str) -> tuple[str, str]:
    """Title and body of a module: what it says of itself, which notebooks and documents name it, what is
    in it, and the whole of it."""
    code = atlas.path(path).read_text(encoding="utf-8")
    tree = ast.parse(code)
    users = atlas.linking(path, [*atlas.notebooks, *atlas.documents])
    used = [linked(atlas, path, page, f"<code>{html.escape(Path(page).name)}</code>") for page in users]
    public = [
        node
        for node in tree.body
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_")
    ]
    items = [f'<a href="#L-{node.lineno}"><code>{node.name}</code></a> {_first(node)}' for node in public]
    head = (
        f"<h1><code>{html.escape(path)}</code></h1>\n<p>{_first(tree)}</p>\n"
        + _list("Used in", used)
        + pages.listing(items)
    )
    return path, head + pages.block(code, "python", "L")


def params(atlas: Atlas, path: str) -> tuple[str, str]:
    """Title and body of a params file, with its template, its published results and its runs."""
    name = Path(path).stem
    folders = [
        folder
        for folder in (f"{REFERENCE}/{name}", f"{REFERENCE}/{name}-development")
        if folder in atlas.references
    ]
    links = [
        f"template {linked(atlas, path, _template(atlas, path))}",
        *(linked(atlas, path, folder) for folder in folders),
    ]
    links += [_named(atlas, path, run) for run in atlas.runs if params_of(atlas, run.name) == path]
    head = f"<h1><code>{html.escape(path)}</code></h1>\n<p>{described(atlas.path(path))}</p>\n" + _related(
        links
    )
    return path, head + pages.block(f"python -m focil run {path}", "text") + pages.block(
        atlas.path(path).read_text(encoding="utf-8"), "yaml", "L"
    )


def document(atlas: Atlas, path: str) -> tuple[str, str]:
    """Title and body of a document of the repository: Markdown as prose, the rest as it is."""
    text = atlas.path(path).read_text(encoding="utf-8")
    if path.endswith(".md"):
        return path, atlas.settle(path, Prose().html(text))
    return path, f"<h1><code>{html.escape(path)}</code></h1>\n" + pages.block(
        text, LANGUAGES.get(path, "text"), "L"
    )


def folder(atlas: Atlas, path: str) -> tuple[str, str]:
    """Title and body of a page that lists all modules or all params files, with what each says of itself."""
    if path == MODULES:
        items = [
            f"{linked(atlas, path, name)} {_first(ast.parse(atlas.path(name).read_text(encoding='utf-8')))}"
            for name in atlas.modules
        ]
        return "All modules", "<h1>All modules</h1>\n" + pages.listing(items)
    items = [f"{linked(atlas, PARAMS, name)} {described(atlas.path(name))}" for name in atlas.params]
    return "All params files", "<h1>All params files</h1>\n" + pages.listing(items)


def _template(atlas: Atlas, params: str) -> str:
    return f"notebooks/{read_params(atlas.path(params)).notebook}.ipynb"


def _named(atlas: Atlas, page: str, run: Executed) -> str:
    return linked(atlas, page, run.source, f"run of <code>{html.escape(run.name)}</code>, {seeds(run.seeds)}")


def _first(node: ast.AST) -> str:
    """The first line of a docstring, as HTML."""
    return html.escape((ast.get_docstring(node) or "").partition("\n")[0])


def _related(items: Sequence[str]) -> str:
    return f'<ul class="related">{"".join(f"<li>{item}</li>" for item in items)}</ul>\n'


def _list(heading: str, links: Sequence[str]) -> str:
    return f"<p>{heading}: {', '.join(links)}</p>\n" if links else ""


def _turn(atlas: Atlas, path: str, series: Sequence[str]) -> str:
    """Links to the notebooks before and after one."""
    place = series.index(path)
    before, after = series[max(0, place - 1) : place], series[place + 1 : place + 2]
    links = [
        linked(atlas, path, other, f"&larr; {html.escape(pages.title(opened(atlas, other)))}")
        for other in before
    ]
    links += [
        linked(atlas, path, other, f"{html.escape(pages.title(opened(atlas, other)))} &rarr;")
        for other in after
    ]
    return (
        f'<nav class="turn" aria-label="Previous and next notebook">{"".join(links)}</nav>\n' if links else ""
    )
