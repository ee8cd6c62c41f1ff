"""Trainings for tests of the engine, in a module that workers can import.

Torch, which takes seconds, is imported by the one that needs it.
"""

import gc
import os
import signal
import subprocess
import time
import weakref
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


def sleepy(folder, seconds, progress):
    """A worker that is asleep for a while, as one on a laptop; returns how many attempts there were."""
    (Path(folder) / f"attempt-{os.getpid()}").touch()
    subprocess.Popen(["sh", "-c", f"sleep {seconds}; kill -CONT {os.getpid()}"])
    os.kill(os.getpid(), signal.SIGSTOP)
    return len(list(Path(folder).glob("attempt-*")))


def long(folder, progress):
    """A training that says when it begins, and takes a minute unless nobody wants it any more."""
    (Path(folder) / f"began-{os.getpid()}").touch()
    try:
        for _ in range(600):
            time.sleep(0.1)
            progress.advance(1)
    finally:
        (Path(folder) / f"ended-{os.getpid()}").touch()


def faults(progress):
    """Pages that the system hands out while a tensor of 40 MB is made ten times, when it was made before."""
    import resource  # not on Windows

    import torch

    def pages():
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

    for _ in range(30):  # until holes have formed that it fits into
        torch.ones(10_000_000)
    before = pages()
    for _ in range(10):
        torch.ones(10_000_000)
    return pages() - before


class Knot:
    """One of two that hold each other."""


left: list[weakref.ref] = []  # what the training before this one left in this worker


def knotted(progress):
    """A training that fails while two objects hold each other."""
    one, other = Knot(), Knot()
    one.other, other.other = other, one
    left.append(weakref.ref(one))
    raise FocilError("failed")


def pause(progress):
    """The share of its memory at which Dask pauses this worker."""
    from distributed import get_worker

    return get_worker().memory_manager.memory_pause_fraction


def ring(progress):
    """Leave two objects that hold each other, as a stream and a checkpoint do; returns how many are still
    there of the training before."""
    gc.disable()  # or it might run by chance
    there = sum(reference() is not None for reference in left)
    one, other = Knot(), Knot()
    one.other, other.other = other, one
    left[:] = [weakref.ref(one), weakref.ref(other)]
    return there
