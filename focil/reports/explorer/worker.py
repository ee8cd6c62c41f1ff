"""One piece of work at a time, beside the page: begun, stopped, begun again."""

import threading
from collections.abc import Callable
from contextlib import suppress

Check = Callable[..., None]  # called by the work now and then; raises Stopped when it is to end
Work = Callable[[Check], None]


class Stopped(Exception):
    """The work is not wanted any more."""


class Worker:
    """A thread for work that asks, often, whether it is still wanted."""

    def __init__(self) -> None:
        self._unwanted = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, work: Work) -> None:
        """Stop what is being done, and do this instead. `work` is called with a check that it must call."""
        self.stop()
        self._unwanted = unwanted = threading.Event()
        self._thread = threading.Thread(target=_do, args=(work, unwanted), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the work at its next check, and wait until it has ended."""
        self._unwanted.set()
        self.wait()

    def wait(self) -> None:
        """Wait until the work is done."""
        if self._thread is not None:
            self._thread.join()


def _do(work: Work, unwanted: threading.Event) -> None:
    def check(*_: object) -> None:
        if unwanted.is_set():
            raise Stopped

    with suppress(Stopped):
        work(check)
