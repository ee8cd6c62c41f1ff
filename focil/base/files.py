"""Files: whole-or-nothing writes and checksums."""

import errno
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from focil.base.errors import FocilError

PART = re.compile(r"\..+\.[0-9a-f]{8}\.part")  # names as of `atomic_path`


class WriteError(FocilError):
    """Something could not be written; what was there before is still there."""


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Inside, a write to `path`, or below it, that fails becomes a WriteError."""
    try:
        yield
    except OSError as error:
        raise WriteError(why_unwritten(path, error)) from error


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it to `path` at the end, remove it on any error or
    interruption.

    Raises WriteError if the disk is full or the folder cannot be written to.
    """
    # The random part keeps two processes that write the same file out of each other's way.
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with explained(path):
            yield part
            os.replace(part, path)
    finally:
        with suppress(OSError):  # what can be said of the failure was said above
            part.unlink(missing_ok=True)


@contextmanager
def exchanged_folder(target: Path) -> Iterator[Path]:
    """Give an empty folder; at the end what lies in it under the name of `target` takes the target's place.

    A failure leaves the old one as it was. Raises WriteError as `atomic_path` does.
    """
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    old = part / f"{target.name}.old"
    try:
        with explained(target):
            part.mkdir(parents=True)
            yield part
            if target.exists():
                target.rename(old)
            (part / target.name).rename(target)
    finally:
        if old.exists() and not target.exists():
            old.rename(target)
        shutil.rmtree(part, ignore_errors=True)


def remove_parts(folder: Path) -> None:
    """Remove what a kill in the middle of a write has left in a folder. Nobody else may be writing there."""
    for path in folder.glob(".*.part"):
        if PART.fullmatch(path.name):
            path.unlink(missing_ok=True)


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    """Return the hex digest of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def why_unwritten(path: Path, error: OSError) -> str:
    """Return the paragraph for a write to `path` that failed with `error`."""
    if error.errno == errno.ENOSPC:
        free = shutil.disk_usage(path.parent).free >> 20
        return (
            f"The disk filled up while writing {path}: {free} MiB are free now and more was expected; the "
            "half-written part was removed, an older version is untouched. Make room and start again (a "
            "run continues after its last finished task), or use a larger disk: FOCIL_DATA for data, --out "
            "for runs."
        )
    return (
        f"{path} could not be written: {error}; expected a folder that can be written to. Check its "
        "permissions, or use another folder: FOCIL_DATA for data, --out for runs."
    )
