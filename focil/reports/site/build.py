"""Writes the whole site: all of it beside the old one first, exchanged at the end."""

import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from focil.base.files import WriteError, why_unwritten
from focil.reports import pages
from focil.reports.site import parts
from focil.reports.site.atlas import FRONT, MODULES, PARAMS, Atlas, SiteError
from focil.reports.site.front import front, linked

ROOMS = (
    ("Notebooks", FRONT, "teaching-notebooks"),
    ("Results", FRONT, "results"),
    ("Modules", MODULES, ""),
    ("Params", PARAMS, ""),
    ("README", "README.md", ""),
)


class BuiltSite(NamedTuple):
    """A finished site: its front page, and how many pages it has, how many of them executed runs."""

    front: Path
    pages: int
    runs: int


def build(root: Path | None, outputs: Path, target: Path) -> BuiltSite:
    """Build the site of a repository into the folder `target`.

    root: the repository, or None, see `Atlas`. outputs: folder of executed runs; there may be none. A build
    that fails or is stopped leaves the old site as it was. Raises SiteError for a link that leads nowhere and
    for a target that is something else, WriteError for a full disk.
    """
    if target.exists() and (not (target / "index.html").exists() or any(target.glob("seed-*"))):
        raise SiteError(f"{target} is there and is no site; move it away, or name another folder of outputs")
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        atlas = Atlas(root, outputs)
        count = _write(atlas, part)
        _exchange(part, target)
    except OSError as error:
        raise WriteError(why_unwritten(target, error)) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return BuiltSite(target / "index.html", count, len(atlas.runs))


def _write(atlas: Atlas, part: Path) -> int:
    """Write all pages and files; return the number of pages."""
    names: dict[str, set[str]] = {}
    for path, title, body in _pages(atlas):
        page = pages.frame(title, body, before=_rooms(atlas, path))
        names[path] = set(re.findall(r' id="([^"]+)"', page))
        _place(part, atlas.places[path]).write_text(page, encoding="utf-8")
    for path in atlas.files:
        shutil.copyfile(atlas.path(path), _place(part, atlas.places[path]))
    atlas.check(names)
    return len(names)


def _pages(atlas: Atlas) -> Iterator[tuple[str, str, str]]:
    """(path in the repository, title, body) of every page.

    Modules come last, for they say which notebooks link to them.
    """
    yield FRONT, "focil: class-incremental learning with sparse experts", front(atlas)
    yield from ((path, *parts.notebook(atlas, path)) for path in atlas.notebooks)
    yield from ((run.source, *parts.run(atlas, run)) for run in atlas.runs)
    yield from ((path, *parts.reference(atlas, path)) for path in atlas.references)
    yield from ((path, *parts.document(atlas, path)) for path in atlas.documents)
    yield from ((path, *parts.params(atlas, path)) for path in atlas.params)
    yield from ((path, *parts.module(atlas, path)) for path in atlas.modules)
    yield from ((path, *parts.folder(atlas, path)) for path in (MODULES, PARAMS))


def _rooms(atlas: Atlas, page: str) -> str:
    links = [
        linked(atlas, page, target, text, name) for text, target, name in ROOMS if target in atlas.places
    ]
    return (
        f'<header class="site"><a class="home" href="{atlas.link(page, FRONT)}">focil</a><nav '
        f'aria-label="Site">{pages.listing(links)}</nav></header>\n'
    )


def _place(part: Path, address: str) -> Path:
    path = part / address
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _exchange(part: Path, target: Path) -> None:
    old = part.with_suffix(".old")
    if target.exists():
        target.rename(old)
    try:
        part.rename(target)
    except BaseException:  # Ctrl-C too
        if old.exists() and not target.exists():
            old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)
