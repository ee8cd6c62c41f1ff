"""What is wrong with data, in words."""

from pathlib import Path

from focil.base.errors import FocilError


class DataError(FocilError):
    """Data that cannot be used: one paragraph saying what was given, what was expected, and what to do."""


def own_path(text: str, origin: str) -> Path:
    """A path that a user gave, with ~ for a home. Raises DataError for one that no file system can have."""
    try:
        path = Path(text).expanduser()
        path.exists()
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        shown = text if len(text) <= 80 else f"{text[:60]}... ({len(text)} characters)"
        raise DataError(
            f"{origin} is {shown!r}, which is no path ({reason}); expected one of a file or folder"
        ) from None
    return path


def existing_folder(folder: Path, origin: str) -> Path:
    """`folder`, if it is one; `origin` names the setting it came from in the DataError raised otherwise."""
    if folder.is_dir():
        return folder
    found = "is a file" if folder.exists() else "does not exist"
    raise DataError(
        f"{origin} is {str(folder)!r}, which {found}; expected the path of an existing folder that holds the "
        "data files. Correct it, create the folder, or leave the setting out."
    )
