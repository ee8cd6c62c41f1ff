"""Where data lives and how it gets there; platformdirs knows the cache folder, pooch downloads and checks."""

import os
from functools import partial
from pathlib import Path

from platformdirs import user_cache_path

from focil.base.files import why_unwritten
from focil.data.errors import DataError, existing_folder, own_path

RETRIES = 2  # after a transfer that broke off
user_cache = partial(user_cache_path, "focil", appauthor=False)  # such as ~/.cache/focil


def data_root() -> Path:
    """The folder that data is read from.

    The one FOCIL_DATA names, which must exist, else the user's cache.
    """
    given = os.environ.get("FOCIL_DATA", "").strip()
    return existing_folder(own_path(given, "FOCIL_DATA"), "FOCIL_DATA") if given else user_cache()


def writable_folder(root: Path) -> Path:
    """`root` if it can be written to, else the per-user cache, for what is downloaded or decoded."""
    # os.access says yes to root even where every write bit is off.
    if root.is_dir() and os.access(root, os.W_OK) and root.stat().st_mode & 0o222:
        return root
    try:
        user_cache().mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"Nothing can be kept: {root} cannot be written to and {user_cache()} cannot be created "
            f"({error}); expected one that can. Set FOCIL_DATA to a folder that can be written to."
        ) from error
    return user_cache()


def fetch(url: str, path: Path, md5: str) -> Path:
    """Download `url` to `path`, which appears only when it is whole and has the MD5. Raises DataError."""
    import pooch  # slow to import, needed once

    options = {"registry": {path.name: f"md5:{md5}"}, "urls": {path.name: url}, "retry_if_failed": RETRIES}
    try:
        store, getter = pooch.create(path.parent, "", **options), pooch.HTTPDownloader(True, timeout=60)
        return Path(store.fetch(path.name, downloader=getter))
    except (OSError, ValueError) as error:  # requests' errors are OSErrors; ValueError: another hash
        if getattr(error, "errno", None):
            raise DataError(why_unwritten(path, error)) from error
        raise DataError(
            f"{url} could not be downloaded ({error}); expected the official file, MD5 {md5}. Nothing was "
            f"kept. Try again, or put it into {path.parent} by hand (FOCIL_DATA may name another folder)."
        ) from error
