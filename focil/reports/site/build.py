"""Writes the whole site: all of it beside the old one first, exchanged at the end."""

import io
import re
import shutil
from pathlib import Path
from typing import NamedTuple

from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace, patch_docutils

from focil.base.errors import FocilError
from focil.base.files import exchanged_folder
from focil.base.places import PACKAGE, shipped
from focil.reports.site.written import REFERENCE, Site
from focil.runs.results import RESULT

WHOLE = ("docs/*", "*.md", "LICENSE", "CITATION.cff", "Makefile", "*.toml", "*.yml", f"{REFERENCE}/**/*")


class SiteError(FocilError):
    """The site cannot be built: a link to nothing, or a folder that is something else."""


class BuiltSite(NamedTuple):
    """A finished site: its front page, and how many pages it has, how many of them executed runs."""

    front: Path
    pages: int
    runs: int


def build(root: Path | None, outputs: Path, target: Path) -> BuiltSite:
    """Build the site of a repository into the folder `target`.

    root: the repository, or None where focil is installed without it: no documents then, no results.
    outputs: folder of executed runs, if there are any. A build that fails leaves the old site as it was.
    Raises SiteError for a link that leads nowhere or a target that is no site, WriteError for a full disk.
    """
    if target.exists() and (not (target / "index.html").exists() or any(target.glob("seed-*"))):
        raise SiteError(f"{target} is there and is no site; move it away, or name another folder of outputs")
    with exchanged_folder(target) as part:
        _copy(root, outputs, part / "sources")
        site = Site(part / "sources")
        for page, text in site.pages():
            (part / "sources" / page).parent.mkdir(parents=True, exist_ok=True)
            (part / "sources" / f"{page}.md").write_text(text, encoding="utf-8")
        _run_sphinx(part, part / target.name)
    made = [path for path in target.rglob("*.html") if "_static" not in path.parts]
    return BuiltSite(target / "index.html", len(made), len(site.runs))


def _copy(root: Path | None, outputs: Path, folder: Path) -> None:
    """Bring together what the site is made of, each at its path in the repository."""
    for name, installed in (("focil", PACKAGE), *((name, shipped(name)) for name in ("notebooks", "params"))):
        shutil.copytree(root / name if root else installed, folder / name)
    files = {path.relative_to(root): path for pattern in WHOLE for path in root.glob(pattern)} if root else {}
    for result in (*outputs.glob(f"*/{RESULT}"), *outputs.glob(f"*/seed-*/{RESULT}")):  # the finished ones
        for path in (result, *result.parent.glob("*.ipynb")):
            if not path.stem.endswith(".part"):
                files["outputs" / path.relative_to(outputs)] = path
    for near, path in files.items():
        if path.is_file():
            (folder / near).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / near)


def _run_sphinx(part: Path, made: Path) -> None:
    """Make the pages. Whatever Sphinx complains of, above all a link to nothing, ends the build."""
    said, source, conf = io.StringIO(), part / "sources", Path(__file__).parent
    with patch_docutils(), docutils_namespace():
        Sphinx(source, conf, made, part / "trees", "html", status=None, warning=said).build()
    if complaints := re.sub(r"\x1b\[[\d;]*m", "", said.getvalue()).strip():
        raise SiteError(f"correct this first:\n{complaints.replace(f'{source}/', '')}")
