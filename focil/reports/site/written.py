"""The pages that Sphinx reads, as Markdown: what the repository has, and what is written for the site."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from posixpath import dirname, join, normpath, splitext

import nbformat

from focil.figures import style
from focil.reports import pages
from focil.reports.reference_tables import answerer_rows, section
from focil.runs.params import read_params
from focil.runs.results import read_results

REFERENCE = "outputs/reference"
CORE = "backbones masks confidence expert trainer search method".split()
ROOMS = "base engine data router memo online evaluation runs studies figures reports".split()
DOCS = "README results method audit memory online data python cluster reliability".split()
ORDER = {name: place for place, name in enumerate(DOCS)} | {"CONTRIBUTING": 99}  # what is new comes between
LINK = re.compile(r"\[([^\[\]]*)\]\(([^()\s:#]+)(#[^()\s]*)?\)|(?<![\[`])`([\w./-]+)`(?![\]`])")  # or a path
NO_RUN = "No run of your own yet: `make reproduce` makes them.\n\n"
TABLE = """Final average accuracy in %: mean and 95 % interval over n seeds. The headline is `sample`: one
image, and all classes seen so far compete. With `batch-10`, ten unlabelled images are known to share one
task; with `oracle`, the task is known. MB ($10^6$ bytes) is all that is kept for an answer.

{.numbers}
| benchmark | who answers | `sample` | `batch-10` | `oracle` | MB | n |
|---|---|---|---|---|---|---|
"""


class Site:
    """Everything that gets a page, below a folder that is laid out like the repository.

    places: path in the repository -> page. kin: page -> page that belongs to it -> its name.
    """

    def __init__(self, folder: Path):
        self.folder, found = folder, self._found
        self.lessons, self.templates = found("notebooks/0*.ipynb"), found("notebooks/[a-z]*.ipynb")
        self.documents = [*found("*.md"), *found("docs/*.md")]
        self.documents.sort(key=lambda path: (ORDER.get(Path(path).stem, 50), path))
        self.params, self.notes = found("params/*.yaml"), found(f"{REFERENCE}/*.md")
        self.published = [path.removeprefix(f"{REFERENCE}/") for path in found(f"{REFERENCE}/*/")]
        self.runs = [splitext(path)[0] for path in found("outputs/**/*.ipynb")]
        self.rooms = {"focil": [path for name in CORE for path in found(f"focil/{name}.py")]}
        self.rooms |= {f"focil/{room}": found(f"focil/{room}/**/[a-z]*.py") for room in ROOMS}
        self.rooms = {room: modules for room, modules in self.rooms.items() if modules}
        texts = *self.lessons, *self.templates, *self.params, *self.notes, *self.documents
        self.places = {path: splitext(path)[0] for path in texts}
        for path in (path for room, modules in self.rooms.items() for path in (room, *modules)):
            self.places[path] = f"api/{_dotted(path)}"
        self.kin: dict[str, dict[str, str]] = defaultdict(dict)
        self._relate()

    def pages(self) -> Iterator[tuple[str, str]]:
        """(page, Markdown) of everything, with links below the title to what belongs together."""
        for page, text in self._texts():
            links = " · ".join(f"[{name}](/{other}.md)" for other, name in self.kin[page].items())
            title, _, rest = text.strip().partition("\n")
            yield page, f"{title}\n\n{{.related}}\nSee also: {links}\n\n{rest}" if links else text

    def led(self, text: str, base: str) -> str:
        """Markdown that was written in the file `base`, its relative links leading inside the site.

        What leads nowhere stays, and Sphinx complains of it; without documents it is no link any more. Code
        that is a path, as `focil/masks.py`, becomes a link too.
        """

        def lead(link: re.Match) -> str:
            words, near = link[1] or f"`{link[4]}`", normpath(join(dirname(base), link[2] or ""))
            if place := self.places.get(link[4] or near):
                return f"[{words}](/{place}.md{link[3] or ''})"
            if link[2] and (self.folder / near).is_file() and not near.startswith(".."):
                return f"[{words}](/{near})"
            return link[0] if self.documents else words

        return LINK.sub(lead, text)

    def _relate(self) -> None:
        """Find what belongs together: params file, template, published results, runs; notebook and module."""
        for path in self.params:
            name, template = Path(path).stem, f"notebooks/{read_params(self.folder / path).notebook}"
            published = sorted({name, f"{name}-development"} & set(self.published))
            group = {self.places[path]: f"params {name}"}
            group |= {f"{REFERENCE}/{other}/index": f"published {other}" for other in published}
            group |= {page: f"run {_title(page)}" for page in self.runs if page.split("/")[1] == name}
            for page in group:
                self.kin[page] |= {template: "template"} | {o: t for o, t in group.items() if o != page}
            self.kin[template][self.places[path]] = name
        for path in (*self.lessons, *self.templates):
            text = (self.folder / path).read_text(encoding="utf-8")
            for module in (module for modules in self.rooms.values() for module in modules if module in text):
                self.kin[self.places[module]][self.places[path]] = Path(path).stem

    def _texts(self) -> Iterator[tuple[str, str]]:
        lessons, docs, templates, params = map(
            self._pages_of, (self.lessons, self.documents, self.templates, self.params)
        )
        intro = self._read("README.md").partition("\n## ")[0] if docs else "# focil"
        listed = "".join(f"- {{doc}}`/{page}`\n" for page in lessons)
        sections = ["lessons", *(["docs"] if docs else []), "results", "api"]
        table = f"{TABLE}{self._rows()}\n"
        below = _below(sections, ":hidden:")
        yield "index", f"{intro}\n\n## Lessons\n\n{listed}\n## Results\n\n{table}{below}"
        yield "lessons", "# Lessons\n\nEach is executed and ends with exercises.\n\n" + _below(lessons)
        named = ("README </README>" if page == "README" else page for page in docs)
        yield from [("docs", f"# Docs\n\n{_below(named)}")] if docs else []
        published = [*(f"{REFERENCE}/{name}/index" for name in self.published), *self._pages_of(self.notes)]
        own = _below([f"{_title(page)} </{page}>" for page in self.runs], ":caption: Your own runs")
        below = _below(published, ":caption: Published") + (own or NO_RUN)
        below += _below(templates, ":caption: Templates") + _below(params, ":caption: Params files")
        yield "results", f"# Results\n\n{table}{below}"
        yield from ((self.places[path], self._cells(path, path)) for path in (*self.lessons, *self.templates))
        for page in self.runs:
            text = self._cells(f"{page}.ipynb", f"notebooks/{page.split('/')[-1]}.ipynb")
            yield page, text.replace("# ", f"# {_title(page)}: ", 1)
        yield from ((self.places[path], self._read(path)) for path in (*self.documents, *self.notes))
        for path in self.params:
            text = pages.fenced((self.folder / path).read_text(encoding="utf-8"), "yaml")
            yield self.places[path], f"# {Path(path).stem}\n\n{text}"
        yield from ((f"{REFERENCE}/{name}/index", self._reference(name)) for name in self.published)
        yield "api", f"# API\n\nThe method, then what surrounds it.\n\n{self._modules(self.rooms)}"
        for room, modules in self.rooms.items():
            yield self.places[room], _module(room, ":no-members:") + self._modules(modules)
            yield from ((self.places[path], _module(path)) for path in modules)

    def _found(self, pattern: str) -> list[str]:
        return sorted(path.relative_to(self.folder).as_posix() for path in self.folder.glob(pattern))

    def _read(self, path: str) -> str:
        return self.led((self.folder / path).read_text(encoding="utf-8"), path)

    def _pages_of(self, paths: Iterable[str]) -> list[str]:
        return [self.places[path] for path in paths]

    def _cells(self, path: str, base: str) -> str:
        return self.led(pages.markdown(nbformat.read(self.folder / path, as_version=4)), base)

    def _rows(self) -> str:
        """The published results, the headline first."""
        rows = ""
        for name in (name for name in self.published if not name.endswith("-development")):
            results = read_results(self.folder / REFERENCE / name)
            link = f"[{name}](/{REFERENCE}/{name}/index.md)"
            for who, oracle, batch, sample, size in answerer_rows(results) if results else ():
                rows += f"| {link} | {who} | **{sample}** | {batch} | {oracle} | {size} | {len(results)} |\n"
                link = ""
        return rows.replace(" +- ", " ± ")

    def _reference(self, name: str) -> str:
        """One published result: its commands and table, its pictures, its files."""
        here = f"{REFERENCE}/{name}/"
        text = f"# {name}\n\n{section(self.folder / here)}\n\n## Pictures\n\n"
        for path in sorted(self._found(f"{here}**/*.png"), key=lambda path: path.count("/")):
            text += f"```{{image}} /{path}\n:alt: {style.alt_of(self.folder / path)}\n```\n\n"
        files = (f"- [{path.removeprefix(here)}](/{path})\n" for path in self._found(f"{here}**/*.json"))
        return f"{text}## Files\n\n{''.join(files)}"

    def _modules(self, paths: Iterable[str]) -> str:
        """A table of rooms or modules with what each says of itself."""
        names = "".join(f"   {_dotted(path)}\n" for path in paths)
        table = f".. currentmodule:: None\n.. autosummary::\n\n{names}"
        return f"```{{eval-rst}}\n{table}```\n\n{_below(self._pages_of(paths), ':hidden:')}"


def _below(entries: Iterable[str], option: str = ":maxdepth: 1") -> str:
    """What is below a page in the navigation, in this order."""
    lines = "\n".join(entry if "<" in entry else f"/{entry}" for entry in entries)
    return f"```{{toctree}}\n{option}\n\n{lines}\n```\n\n" if lines else ""


def _title(run: str) -> str:
    """The name of an executed run, and its seed: outputs/NAME/seed-0/benchmark -> NAME seed-0."""
    return " ".join(run.split("/")[1:-1])


def _dotted(path: str) -> str:
    return path.removesuffix(".py").replace("/", ".")


def _module(path: str, option: str = "") -> str:
    name = _dotted(path)
    return f"# {name}\n\n```{{eval-rst}}\n.. automodule:: {name}\n   {option}\n```\n\n"
