"""What the site is made of, where each piece of the repository is in it, and the links between them."""

import json
import posixpath
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, unquote

from bs4 import Tag

from focil.base.errors import FocilError
from focil.base.places import PACKAGE, shipped
from focil.reports.pages import harmless, scheme
from focil.runs.results import RESULT

FRONT, MODULES, PARAMS, REFERENCE = "index", "focil", "params", "outputs/reference"
DOCUMENTS = (
    "*.md",
    "LICENSE",
    "CITATION.cff",
    "Makefile",
    "pyproject.toml",
    "environment.yml",
    "docs/*.md",
    "docs/*.py",
    f"{REFERENCE}/*.md",
)


class SiteError(FocilError):
    """The site cannot be built: a link to nothing, or a file that is not as expected."""


class Executed(NamedTuple):
    """An executed notebook: of one seed, or of a study of several."""

    source: str  # outputs/NAME/seed-K/benchmark.ipynb, wherever the folder of outputs really is
    path: Path
    name: str
    seeds: tuple[int, ...]


class Atlas:
    """Everything that gets a page or is copied, by its path in the repository (with slashes), and every link
    that was made.

    root: the repository, or None where focil is installed without it; then there are no documents and no
    published results, and links to them are plain text. outputs: folder of executed runs, NAME/seed-K/ or
    NAME/.
    """

    def __init__(self, root: Path | None, outputs: Path):
        self.root = root
        self.notebooks = _found(shipped("notebooks"), "*.ipynb", "notebooks")
        self.params = _found(shipped("params"), "*.yaml", "params")
        self.modules = _found(PACKAGE, "**/*.py", "focil")
        if root is not None:  # a tree of its own, such as a clone
            self.notebooks = _found(root / "notebooks", "*.ipynb", "notebooks")
            self.params = _found(root / "params", "*.yaml", "params")
            self.modules = _found(root / "focil", "**/*.py", "focil")
        patterns = DOCUMENTS if root is not None else ()
        self.documents = [path for pattern in patterns for path in _found(root, pattern)]
        pictures = (f"{REFERENCE}/*/**/*.png", f"{REFERENCE}/*/**/*.json") if root is not None else ()
        self.files = [path for pattern in pictures for path in _found(root, pattern)]
        folders = {"/".join(path.split("/")[:3]) for path in self.files}
        for pattern in (f"{REFERENCE}/*.png", "docs/*.png") if root is not None else ():
            self.files += _found(root, pattern)
        self.references = sorted(folders, key=lambda folder: (folder.endswith("-development"), folder))
        templates = {Path(notebook).name for notebook in self.notebooks}
        self.runs = sorted(_executed(outputs, templates), key=lambda run: (run.name, run.seeds))
        self.places = {FRONT: "index.html"} | {path: path for path in self.files}
        self.places |= {path: f"{path}/index.html" for path in (MODULES, PARAMS, *self.references)}
        self.places |= {path: f"{path}.html" for path in (*self.modules, *self.params)}
        self.places |= {
            path: f"{path.removesuffix('.md').removesuffix('.ipynb')}.html"
            for path in (*self.notebooks, *self.documents)
        }
        self.places |= {run.source: f"{run.source.removesuffix('.ipynb')}.html" for run in self.runs}
        self._asked: list[tuple[str, str, str]] = []  # page, target, name inside the target
        self._linked: dict[str, set[str]] = {}

    def path(self, target: str) -> Path:
        """The file of something, by its path in the repository."""
        if self.root is not None:
            return self.root / target
        room, _, rest = target.partition("/")
        return (PACKAGE if room == "focil" else shipped(room)) / rest

    def link(self, page: str, target: str, name: str = "") -> str:
        """The address of `target` in a link on `page`, both by their path in the repository.

        name: of a place inside the target.
        """
        if name:
            self._asked.append((page, target, name))
        self._linked.setdefault(target, set()).add(page)
        address = quote(posixpath.relpath(self.places[target], posixpath.dirname(self.places[page]) or "."))
        return (address if target != page or not name else "") + (f"#{quote(name)}" if name else "")

    def settle(self, page: str, content: str, base: str | None = None) -> str:
        """HTML made from a file of the repository, made harmless, its relative links leading inside the site.

        base: the file that links were written for, where it is not `page` (an executed notebook has those of
        its template). Code that is a path of the repository, as `focil/masks.py`, becomes a link too. Raises
        SiteError for a link that leads nowhere.
        """
        soup = harmless(content)
        for attribute in ("href", "src"):
            for tag in soup.find_all(attrs={attribute: True}):
                if not scheme(tag[attribute]):
                    self._lead(tag, attribute, page, base or page)
        for code in soup.find_all("code"):
            text = code.get_text()
            target = text if text in self.places else _near(self.places, base or page, text)
            if target not in (None, page) and "." in text and not code.find_parent(["a", "pre"]):
                code.wrap(soup.new_tag("a", href=self.link(page, target)))
        return str(soup)

    def linking(self, target: str, among: Iterable[str]) -> list[str]:
        """Which of the pages `among` have a link to `target` so far."""
        return [page for page in among if page in self._linked.get(target, ())]

    def check(self, names: dict[str, set[str]]) -> None:
        """Raise SiteError for a link to a place inside a page that is not there.

        names: page -> the places inside it.
        """
        for page, target, name in self._asked:
            if name not in names.get(target, ()):
                raise SiteError(
                    f"{page} links to #{name} of {target}, which has no such heading or line; correct the "
                    "link"
                )

    def _lead(self, tag: Tag, attribute: str, page: str, base: str) -> None:
        """Make a relative link lead inside the site.

        Without a repository, one that cannot is no link any more.
        """
        link = tag[attribute]
        path, _, name = link.partition("#")
        target = _near(self.places, base, unquote(path)) if path else page
        if target is not None:
            tag[attribute] = self.link(page, target, unquote(name))
        elif self.root is None:
            tag.unwrap()
        else:
            raise SiteError(
                f"{page} links to {link}, which is no page or file of the site; correct the link, or make it "
                "a full address (https://...)"
            )


def _near(places: dict[str, str], base: str, path: str) -> str | None:
    """What a path that is written in the file `base` means, if that is anything."""
    near = posixpath.normpath(posixpath.join(posixpath.dirname(base), path))
    return next((place for place in (near, f"{near}/README.md") if place in places), None)


def _found(folder: Path, pattern: str, name: str = "") -> list[str]:
    """What fits a pattern below a folder, by its path in the repository, where the folder is called
    `name`."""
    paths = sorted(path.relative_to(folder).as_posix() for path in folder.glob(pattern))
    return [posixpath.join(name, path) for path in paths]


def _executed(outputs: Path, templates: set[str]) -> Iterator[Executed]:
    """The finished runs in a folder of outputs; a notebook without its result is not finished."""
    for path in [*outputs.glob("*/*.ipynb"), *outputs.glob("*/seed-*/*.ipynb")]:
        relative = path.relative_to(outputs)
        if (
            path.name not in templates
            or relative.parts[0] == "reference"
            or not (path.parent / RESULT).exists()
        ):
            continue
        try:
            result = json.loads((path.parent / RESULT).read_text(encoding="utf-8"))
            seeds = result["seeds"] if "seeds" in result else [result["seed"]]
        except (ValueError, KeyError, TypeError) as error:
            raise SiteError(
                f"{path.parent / RESULT} is no result of a run ({error!r}); delete its folder, or run it "
                "again with --fresh"
            ) from None
        yield Executed(f"outputs/{relative.as_posix()}", path, relative.parts[0], tuple(seeds))
