"""Trainings for tests of the engine, in a module that workers can import."""

import os
import signal
import time
from pathlib import Path

from focil.base.errors import FocilError


def answer(value, progress):
    """Nothing but a number back, and who made it."""
    progress.advance(1)
    return value, os.getpid()


def fail(text, progress):
    """An error of the kind that is explained."""
    raise FocilError(text)


def suicide(folder, lives, progress):
    """A worker that is killed `lives` times while it trains; then a number."""
    attempt = len(list(Path(folder).glob("attempt-*")))
    (Path(folder) / f"attempt-{attempt}").write_text(str(os.getpid()))
    if attempt < lives:
        os.kill(os.getpid(), signal.SIGKILL)
    return attempt


def long(folder, progress):
    """A training that says when it begins, and takes a minute unless nobody wants it any more."""
    (Path(folder) / f"began-{os.getpid()}").touch()
    try:
        for _ in range(600):
            time.sleep(0.1)
            progress.advance(1)
    finally:
        (Path(folder) / f"ended-{os.getpid()}").touch()
