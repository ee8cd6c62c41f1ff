"""What happens in a worker: one training, its progress, its folder, and what must be as the client has it."""

import atexit
import gc
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from focil.base.errors import FocilError
from focil.base.files import atomic_path

VERSIONS = ("focil", "torch", "numpy")  # what must be equal on all machines
MARK = ".focil-shared"  # a file that tells a worker whether it sees the folder that is meant
PACE = 0.5  # seconds between two reports of a training


class EngineError(FocilError):
    """Trainings that could not be computed where they should be; the message says what to do."""


class Abandoned(FocilError):
    """Nobody waits for this training any more."""


class Progress:
    """In a worker: how far its training has come, and what it has to say. topic: of events that the client
    reads, or None."""

    def __init__(self, topic: str | None = None):
        self._topic, self._reached, self._reported = topic, 0, time.monotonic()
        if topic:
            from distributed import get_worker
            from distributed.worker import thread_state

            self._worker, self._key = get_worker(), thread_state.key

    def advance(self, count: int) -> None:
        """The training has come on by `count` of its size. Raises Abandoned."""
        self.reach(self._reached + count)

    def reach(self, count: int) -> None:
        """The training has done `count` of its size. Raises Abandoned."""
        self._reached = count
        if self._topic and time.monotonic() > self._reported + PACE:
            self._must_be_wanted()
            self._tell(reached=count)
            self._reported = time.monotonic()

    def say(self, text: str) -> None:
        """A line for whoever asked for the training."""
        if self._topic:
            self._tell(text=text)

    def _tell(self, **what: Any) -> None:
        self._worker.log_event(self._topic, {"key": self._key} | what)

    def _must_be_wanted(self) -> None:
        # Dask cannot stop a running task; one whose client has gone would only be in the way.
        task = self._worker.state.tasks.get(self._key)
        if task is None or task.state == "cancelled":
            raise Abandoned("nobody waits for this training any more")


def versions() -> dict[str, str]:
    """Of this machine, by package."""
    return {name: metadata.version(name) for name in VERSIONS}


def perform(function: Callable[..., Any], given: tuple, expected: dict | None, topic: str) -> Any:
    """In a worker: one training. Raises EngineError where versions differ from the client's."""
    mine = versions()
    if expected and mine != expected:
        differ = [
            f"{name} {mine[name]}, not {expected[name]}" for name in VERSIONS if mine[name] != expected[name]
        ]
        raise EngineError(
            f"the worker {where()} has other versions than this machine ({'; '.join(differ)}): install the "
            "same there, or accept it with --any-version; results record what they were made with"
        )
    try:
        result = function(*given, Progress(topic))
    finally:
        # A training's stream and checkpoint hold each other: gigabytes, in too few objects to be noticed.
        gc.collect()
    _freeze_packages(len(sys.modules))  # not after an error, which holds its training still
    return result


@cache
def _freeze_packages(_count: int) -> None:
    """Once for so many modules: later collections leave out what they hold, 0.2 s to look through."""
    gc.freeze()
    atexit.register(gc.unfreeze)  # or packages complain, at the end, of what was not cleared up


def where() -> str:
    """In a worker: its address, for errors."""
    from distributed import get_worker

    return get_worker().address


def must_be_same_data(name: str, mine: str, asked: str) -> None:
    """In a worker: raise EngineError where its data set has another checksum than the client's."""
    if mine != asked:
        raise EngineError(
            f"the worker {where()} has other data under {name!r} (checksum {mine[:12]}) than this machine "
            f"({asked[:12]}); give it the same files, through its own FOCIL_DATA"
        )


@contextmanager
def shared(folder: Path) -> Iterator[tuple[Path, str]]:
    """For the client: mark a folder while trainings use it.

    Yields what `folder_in_worker` needs to find it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    token, mark = secrets.token_hex(8), folder / MARK
    with atomic_path(mark) as part:
        part.write_text(token)
    try:
        # As seen from here: where machines share a disk, it may have another name on each.
        below = folder.resolve().is_relative_to(Path.cwd())
        yield (folder.resolve().relative_to(Path.cwd()) if below else folder.resolve()), token
    finally:
        mark.unlink(missing_ok=True)


@contextmanager
def folder_in_worker(folder: Path, token: str) -> Iterator[tuple[Path, bool]]:
    """In a worker: the client's folder where it can be seen from here, and True.

    Else an empty one that goes at the end, and False.
    """
    if _marked(folder, token):
        yield folder, True
        return
    with tempfile.TemporaryDirectory(prefix="focil-training-") as own:
        yield Path(own), False


def _marked(folder: Path, token: str) -> bool:
    try:
        return (folder / MARK).read_text() == token
    except OSError:
        return False
