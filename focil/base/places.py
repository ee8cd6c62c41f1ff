"""Where the package's own files are: in a clone beside it, in an installed package inside it."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]


def shipped(name: str) -> Path:
    """The folder `notebooks` or `params`."""
    inside = PACKAGE / name
    return inside if inside.is_dir() else PACKAGE.parent / name


def repository() -> Path | None:
    """The clone that the package is used from; None where it is installed without its repository."""
    return PACKAGE.parent if (PACKAGE.parent / "pyproject.toml").is_file() else None
