"""The front page: what this is, the published numbers, and the way to every notebook, result and file."""

import html
from importlib import metadata
from pathlib import Path

import nbformat

from focil.reports import pages
from focil.reports.prose import Prose
from focil.reports.reference_tables import answerer_rows
from focil.reports.site.atlas import FRONT, MODULES, PARAMS, REFERENCE, Atlas
from focil.runs.results import read_results

SHOWN = f"{REFERENCE}/cifar100-20/memory.png"
COMMANDS = (
    "<code>make reproduce</code> builds the environment and runs it all on digits into <code>outputs/</code>",
    "<code>make test</code> builds the environment and runs the tests and the teaching notebooks",
)
HEADLINE = """<p>Final average accuracy in %: mean and 95 % interval over n seeds. One pass over the stream,
no stored sample, the whole test set. The protocols differ only in what is known at test time; MB
(10<sup>6</sup> bytes) is all that is kept for an answer. Other methods' numbers stand in the {results}.</p>
"""
PROTOCOLS = [
    ("<code>oracle</code>", "the task of each image", "task-incremental accuracy"),
    ("<code>batch-10</code>", "that ten unlabelled images share one task, but not which", ""),
    (
        "<strong><code>sample</code></strong>",
        "<strong>nothing: one image, and all classes seen so far compete</strong>",
        "class-incremental accuracy, the headline",
    ),
]


def front(atlas: Atlas) -> str:
    """The body of the front page."""
    intro = Prose().html(_intro(atlas))
    return "\n".join(
        [
            atlas.settle(FRONT, intro),
            section("Two commands", pages.listing(COMMANDS)),
            section("Results", _headline(atlas)),
            section(
                "Teaching notebooks", "<p>Each is executed and ends with exercises.</p>\n" + _teaching(atlas)
            ),
            section("Reference results", _references(atlas)),
            section("Your own runs", _runs(atlas)),
            section("Everything else", _rest(atlas)),
        ]
    )


def _intro(atlas: Atlas) -> str:
    """The first lines of the README; where focil is installed without it, of what the package says of
    itself."""
    if atlas.root is None:
        return f"# focil\n\n{metadata.metadata('focil')['Summary']}."
    return atlas.path("README.md").read_text(encoding="utf-8").partition("\n## ")[0]


def section(heading: str, content: str) -> str:
    """A section of a page; its name for links is the heading in small letters with hyphens."""
    return f'<h2 id="{heading.lower().replace(" ", "-")}">{heading}</h2>\n{content}'


def linked(atlas: Atlas, page: str, target: str, text: str | None = None, name: str = "") -> str:
    """A link on `page`. text: what it says, as HTML; default is the path of the target as code.

    name: of a place inside the target.
    """
    return f'<a href="{atlas.link(page, target, name)}">{text or f"<code>{html.escape(target)}</code>"}</a>'


def described(params: Path) -> str:
    """What a params file says about itself, its first comment, as HTML."""
    line = params.read_text(encoding="utf-8").partition("\n")[0]
    return html.escape(line.lstrip("# ")) if line.startswith("#") else ""


def opened(atlas: Atlas, path: str) -> nbformat.NotebookNode:
    """A notebook of the repository."""
    return nbformat.read(atlas.path(path), as_version=4)


def is_teaching(path: str) -> bool:
    """Whether a notebook teaches: those are numbered."""
    return Path(path).name[0].isdigit()


def params_of(atlas: Atlas, name: str) -> str | None:
    """The params file of a benchmark's results, which may be on its development split."""
    return next(
        (
            path
            for path in (f"{PARAMS}/{name}.yaml", f"{PARAMS}/{name.removesuffix('-development')}.yaml")
            if path in atlas.params
        ),
        None,
    )


def _headline(atlas: Atlas) -> str:
    found = {
        folder: read_results(atlas.path(folder))
        for folder in atlas.references
        if not folder.endswith("-development")
    }
    rows = []
    for folder, results in found.items():
        for *cells, sample, size in answerer_rows(results) if results else ():
            rows.append(
                [
                    linked(atlas, FRONT, folder, f"<code>{html.escape(Path(folder).name)}</code>"),
                    str(len(results)),
                    *cells,
                    sample,
                    size,
                ]
            )
        if results:
            rows[-1][-2] = f"<strong>{rows[-1][-2]}</strong>"
    table = pages.html_table(
        [
            "benchmark",
            "n",
            "who answers",
            "<code>oracle</code>",
            "<code>batch-10</code>",
            "<code>sample</code>",
            "MB",
        ],
        rows,
    )
    shown = pages.file_picture(atlas.path(SHOWN), atlas.link(FRONT, SHOWN)) if SHOWN in atlas.places else ""
    page, there = "docs/results.md", "docs/results.md" in atlas.places
    results = linked(atlas, FRONT, page, "results", "others-as-published") if there else "results"
    text = HEADLINE.format(results=results)
    return (
        text + table + pages.html_table(["protocol", "known at test time", "also called"], PROTOCOLS) + shown
    )


def _teaching(atlas: Atlas) -> str:
    items = []
    for path in filter(is_teaching, atlas.notebooks):
        notebook = opened(atlas, path)
        summary = atlas.settle(path, pages.summary(notebook))
        items.append(f"{linked(atlas, FRONT, path, html.escape(pages.title(notebook)))}<br>\n{summary}")
    return pages.listing(items)


def _references(atlas: Atlas) -> str:
    items = []
    for folder in atlas.references:
        name = Path(folder).name
        params = params_of(atlas, name)
        text = (
            "on its development split, for making choices"
            if name.endswith("-development")
            else described(atlas.path(params))
            if params
            else ""
        )
        items.append(f"{linked(atlas, FRONT, folder, f'<code>{html.escape(name)}</code>')} {text}")
    return (
        "<p>The published numbers of this project, with their pictures and the commands that repeat "
        "them.</p>\n" + pages.listing(items)
    )


def _runs(atlas: Atlas) -> str:
    names = dict.fromkeys(run.name for run in atlas.runs)
    items = []
    for name in names:
        runs = [run for run in atlas.runs if run.name == name]
        items.append(
            f"<code>{html.escape(name)}</code>: "
            f"{', '.join(linked(atlas, FRONT, run.source, seeds(run.seeds)) for run in runs)}"
        )
    missing = (
        '<p class="note">No executed run yet. <code>make reproduce</code> makes them; <code>make site</code> '
        "then shows them here.</p>\n"
    )
    return pages.listing(items) if items else missing


def seeds(numbers: tuple[int, ...]) -> str:
    """The seeds in words: "seed 0", or "seeds 0 1 2"."""
    return f"{'seed' if len(numbers) == 1 else 'seeds'} {' '.join(map(str, numbers))}"


def _rest(atlas: Atlas) -> str:
    others = [path for path in atlas.notebooks if not is_teaching(path)]
    items = [
        f"{linked(atlas, FRONT, path)} {html.escape(pages.title(opened(atlas, path)))}" for path in others
    ]
    items += [linked(atlas, FRONT, MODULES, "All modules"), linked(atlas, FRONT, PARAMS, "All params files")]
    return pages.listing(items + [linked(atlas, FRONT, path) for path in atlas.documents])
