"""Where data lives and how it gets there: the data folder and downloads. It knows addresses and nothing of images."""

import os
import sys
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path

from tqdm.auto import tqdm

from focil.errors import FocilError
from focil.files import atomic_path, file_digest

CHUNK = 1 << 20
TIMEOUT = 60.0  # seconds without a byte before a download is given up


class DataError(FocilError):
    """Data that cannot be used: one paragraph saying what was given, what was expected, and what to do."""


def user_cache() -> Path:
    """Return the per-user cache folder of this machine, e.g. `~/.cache/focil`; it need not exist yet."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "focil"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "focil"
    xdg = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification says that a relative path is to be ignored.
    return (Path(xdg) if os.path.isabs(xdg) else Path.home() / ".cache") / "focil"


def data_root() -> Path:
    """Return the folder that data is read from: the one FOCIL_DATA names, else the per-user cache.

    The per-user cache need not exist yet; a folder named by FOCIL_DATA must.

    Raises:
        DataError: FOCIL_DATA names something that is absent or is no folder.
    """
    given = os.environ.get("FOCIL_DATA", "").strip()
    return existing_folder(Path(given).expanduser(), "FOCIL_DATA") if given else user_cache()


def existing_folder(folder: Path, origin: str) -> Path:
    """Return `folder` if it is one; `origin` names the setting it came from in the DataError raised otherwise."""
    if folder.is_dir():
        return folder
    found = "is a file" if folder.exists() else "does not exist"
    raise DataError(f"{origin} is {str(folder)!r}, which {found}; expected the path of an existing folder that holds the "
                    f"data files. Correct it or create the folder; without it {user_cache()} is used.")


def writable_folder(root: Path) -> Path:
    """Return the folder for what is downloaded or decoded: `root` if it can be written to, else the per-user cache.

    Raises:
        DataError: neither can be written to.
    """
    if root.is_dir() and _writable(root):
        return root
    cache = user_cache()
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"Nothing can be kept: {root} cannot be written to and {cache} cannot be created ({error}); "
                        f"expected one that can. Set FOCIL_DATA to a folder that can be written to.") from error
    return cache


def _writable(folder: Path) -> bool:
    # os.access says yes to root even where every write bit is off, as on a shared folder that is meant to stay as it is.
    return os.access(folder, os.W_OK) and bool(folder.stat().st_mode & 0o222)


def fetch(url: str, path: Path, *, md5: str | None = None) -> Path:
    """Download `url` to `path` with a progress bar; the file appears there only when it is whole and verified.

    Args:
        url: an http or https address.
        path: where the file goes; its folder must exist.
        md5: the expected MD5 hex digest of the file; None skips the check.

    Returns:
        `path`.

    Raises:
        DataError: no connection, an HTTP error, a transfer that ended early, a wrong checksum, or a full disk.
    """
    if not url.startswith(("http://", "https://")):
        raise DataError(f"Cannot download {url!r}: expected an address that starts with http:// or https://.")
    with atomic_path(path) as part:
        _transfer(url, part, path)
        found = file_digest(part, "md5") if md5 else None
        if found != md5:
            raise DataError(f"{url} was downloaded whole but its MD5 is {found}, expected {md5}; nothing was kept. The "
                            f"server's file has changed or something between altered it: try again later, or put the "
                            f"official {path.name} into {path.parent} by hand.")
    return path


def _transfer(url: str, part: Path, path: Path) -> None:
    by_hand = f"Try again, or put {path.name} into {path.parent} by hand (FOCIL_DATA may name another folder)."
    try:
        response = urllib.request.urlopen(url, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        raise DataError(f"{url} answered {error.code} {error.reason}; expected a file. {by_hand}") from error
    except (OSError, HTTPException, ValueError) as error:
        raise DataError(f"{url} could not be reached ({error}); a network connection was expected. {by_hand}") from error
    with response, open(part, "wb") as file:
        size = response.length
        received = _copy(response, file, size, path.name, f"{url} broke off", by_hand)
    if size is not None and received != size:
        raise DataError(f"{url} ended after {received} bytes, {size} were expected; nothing was kept. {by_hand}")


def _copy(response, file, size: int | None, name: str, broke_off: str, by_hand: str) -> int:
    received = 0
    with tqdm(desc=name, total=size, unit="B", unit_scale=True) as bar:
        while True:
            try:  # only the reading: a failed write is atomic_path's to explain
                chunk = response.read(CHUNK)
            except (OSError, HTTPException) as error:
                raise DataError(f"{broke_off} after {received} of the expected {size} bytes ({error}); nothing was kept. {by_hand}") from error
            if not chunk:
                return received
            file.write(chunk)
            received += len(chunk)
            bar.update(len(chunk))
