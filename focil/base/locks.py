"""One process at a time in a folder, and words for a folder that cannot be used."""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from focil.base.errors import FocilError

PATIENCE = 10.0  # seconds: a process that was killed may take a moment to let go


class FolderError(FocilError):
    """A folder that cannot be used as asked; the message says what to do."""


def usable(folder: Path) -> Path:
    """`folder`, which may still have to be made. Raises FolderError where something else is in its way."""
    for path in (folder, *folder.parents):
        if path.is_symlink() and not path.exists():
            raise FolderError(f"{path} is a link to nothing; delete it, or choose another folder with --out")
        if path.exists() and not path.is_dir():
            raise FolderError(
                f"{path} is a file, but a folder was expected; move it, or choose another with --out"
            )
    return folder


def lock(folder: Path, purpose: str, patience: float = PATIENCE) -> FileLock:
    """Take a folder for this process, until it ends or releases the lock; it may take it more than once.

    Locks lie in the machine's folder for temporary files, so that none is left among results. Raises
    FolderError, which names the process that has the folder.
    """
    place = Path(tempfile.gettempdir()) / f"focil-locks-{_user()}"
    place.mkdir(mode=0o700, exist_ok=True)
    name = hashlib.sha256(f"{purpose}:{folder.resolve()}".encode()).hexdigest()[:32]
    held = FileLock(place / f"{name}.lock", is_singleton=True, thread_local=False)
    holder = place / f"{name}.holder"
    try:
        held.acquire(timeout=patience)
    except Timeout:
        who = holder.read_text() if holder.exists() else "unknown"
        raise FolderError(
            f"{folder} is in use by another process (number {who}) of focil; wait until it has ended, end "
            "it, or choose another folder or name"
        ) from None
    holder.write_text(str(os.getpid()))
    return held


@contextmanager
def locked(folder: Path, purpose: str) -> Iterator[None]:
    """Hold the lock of a folder inside."""
    held = lock(folder, purpose)
    try:
        yield
    finally:
        held.release()


def _user() -> int | str:
    return os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
