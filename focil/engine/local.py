"""Workers on the cores of this machine."""

import importlib.util
import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Self

from focil.engine.worker import EngineError

SHARED = "FOCIL_WORKERS"  # variable that processes below inherit: where the workers of their command are
STARTS = 3  # attempts to start them
LOCAL = {
    "distributed.scheduler.worker-saturation": 1.0,  # no training waits behind another one
    "distributed.scheduler.worker-ttl": None,  # silent for minutes is not dead: the laptop may have slept
    "distributed.worker.profile.enabled": False,
    "distributed.admin.log-length": 0,
    # By itself Dask looks at its loops 50 times a second, and at memory 10 times. With two workers that takes
    # 8 % of a core, and it interrupts the steps of small networks. Looking this often takes 2 %.
    "distributed.admin.tick.interval": "500ms",
    "distributed.admin.system-monitor.interval": "2s",
    "distributed.worker.memory.monitor-interval": "1s",
    # Dask would pause a worker that has most of its share of memory, for ever where that is kept.
    "distributed.worker.memory.pause": False,
    # A training runs in a thread. Dask's default gives its memory back to the system again and again, glibc
    # gives threads a heap that does so too, and large activations are fetched anew at every step: the system
    # clears all that first. So a worker keeps what it had once. A step of ConvNet2 with batches of 128 takes
    # 1.8 ms an image instead of 2.7, one of ResNet32 10.8 instead of 11.7.
    "distributed.nanny.pre-spawn-environ": {
        "MALLOC_ARENA_MAX": 1,
        "MALLOC_MMAP_MAX_": 0,
        "MALLOC_TRIM_THRESHOLD_": 2**40,
        "OMP_NUM_THREADS": 1,
        "MKL_NUM_THREADS": 1,
        "OPENBLAS_NUM_THREADS": 1,
    },
}


class Shared:
    """Workers of a command, which all of its notebooks compute with: each start of them takes seconds.

    A context, at whose end they end; at once, if that is an error.
    """

    def __init__(self) -> None:
        self._started, self._count = ExitStack(), 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        os.environ.pop(SHARED, None)
        self._started.__exit__(*error)

    def have(self, count: int) -> None:
        """So many from now on, for what computes on processors, here and in processes that are started below.

        Raises EngineError.
        """
        if count != self._count:
            os.environ.pop(SHARED, None)
            self._started.close()
            self._count = 0
            os.environ[SHARED] = self._started.enter_context(_own(count, gpu=False))
            self._count = count


@contextmanager
def workers(count: int, gpu: bool) -> Iterator[str]:
    """Where workers of this machine are, one training each: the command's, or own ones until the end.

    Raises EngineError.
    """
    if not gpu and (shared := os.environ.get(SHARED)):
        yield shared
        return
    with _own(count, gpu) as own:
        yield own


@contextmanager
def _own(count: int, gpu: bool) -> Iterator[str]:
    """Where workers are that end with this process."""
    started = _started(count, gpu)
    if importlib.util.find_spec("bokeh") is not None:
        print(f"dashboard: {started.dashboard_link}", file=sys.stderr)
    try:
        yield started.scheduler_address
    except BaseException:
        _kill(started)
        raise
    finally:
        # A worker that is being started anew since another has died can make Dask's own closing fail. It has
        # been told to end by then: what was computed, or the error that is on its way, is what counts.
        with suppress(Exception):
            started.close()


def _started(count: int, gpu: bool) -> Any:
    import dask
    from distributed import LocalCluster

    reason: BaseException | None = None
    for _ in range(STARTS):
        try:
            with dask.config.set(LOCAL):
                return LocalCluster(
                    n_workers=count,
                    threads_per_worker=1,
                    host="127.0.0.1",
                    dashboard_address="127.0.0.1:0",
                    resources={"GPU": 1} if gpu else None,
                    preload=[__name__],
                    silence_logs=logging.CRITICAL,
                )
        except RuntimeError as error:  # a worker was killed before it was there
            reason = error
            while reason.__cause__:
                reason = reason.__cause__
    raise EngineError(
        f"{count} workers could not be started on this machine, {STARTS} times (the last time: {reason}); "
        "most often memory ran out. End other programs, or use fewer (--workers), and start the same command "
        "again."
    )


def _kill(started: Any) -> None:
    """End workers at once: one in the middle of a training would only end with it.

    A worker that has just died has no process until its nanny starts another; that one holds no training and
    ends when it is asked to.
    """
    for nanny in started.workers.values():
        nanny.auto_restart = False
        with suppress(OSError, AttributeError):  # the nanny, in a thread of its own, may lose the process now
            if (pid := nanny.pid) is not None:
                os.kill(pid, signal.SIGKILL)


def dask_setup(_worker: Any) -> None:
    """In a new worker of this machine (Dask calls it by this name): Ctrl-C is meant for the command, which
    ends its workers itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
