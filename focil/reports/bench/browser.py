"""A real browser without a window, for the tests of the pages and for timing them."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from focil.base.errors import FocilError

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NAMES = ("chromium", "chromium-browser", "google-chrome")


class BrowserError(FocilError):
    """There is no browser."""


@contextmanager
def chromium() -> Iterator["Browser"]:
    """The chromium that FOCIL_CHROMIUM names, or that is on the path.

    Raises BrowserError if there is none, or no Playwright (focil[test]).
    """
    path = os.environ.get("FOCIL_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        raise BrowserError("there is no browser: install chromium, or name one with FOCIL_CHROMIUM")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise BrowserError("Playwright is missing; it comes with `pip install focil[test]`") from None
    unboxed = (
        ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    )  # chromium refuses its sandbox to root
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=unboxed)
        yield browser
        browser.close()
