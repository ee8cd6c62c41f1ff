"""Connecting to the workers: those of this machine, started for a command, or those of a cluster."""

import importlib.util
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from focil.engine.worker import EngineError

CLUSTER, ANY_VERSION = "FOCIL_CLUSTER", "FOCIL_ANY_VERSION"  # variables that processes below inherit
STARTS = 3  # attempts to start workers here
CONNECT = 10.0  # seconds until an address counts as dead
PATIENCE = 60.0  # seconds that are waited for a worker that can do what is asked
LOCAL = {
    "distributed.scheduler.worker-saturation": 1.0,  # no training waits behind another one
    "distributed.worker.profile.enabled": False,
    "distributed.admin.log-length": 0,
    # A training runs in a thread. Dask's default gives its memory back to the system again and again, and
    # glibc gives threads a heap that does so too: together they double the time of a small network's step.
    "distributed.nanny.pre-spawn-environ": {
        "MALLOC_ARENA_MAX": 1,
        "OMP_NUM_THREADS": 1,
        "MKL_NUM_THREADS": 1,
        "OPENBLAS_NUM_THREADS": 1,
    },
}


def choose(cluster: str | None, any_version: bool) -> None:
    """Decide where this process, and those it starts, compute.

    cluster: address or scheduler file; None leaves it to the variable FOCIL_CLUSTER. any_version: accept
    workers with other versions.
    """
    if cluster:
        os.environ[CLUSTER] = cluster
    if any_version:
        os.environ[ANY_VERSION] = "1"


def address() -> str | None:
    """The address or scheduler file of the cluster that is used, or None for the cores of this machine."""
    return os.environ.get(CLUSTER) or None


@contextmanager
def connected(workers: int, gpu: bool) -> Iterator[Any]:
    """A client of Dask, of the chosen cluster or of `workers` on this machine. Raises EngineError."""
    from distributed import Client  # takes a second to import

    where = address()
    if where is None:
        with _local(workers, gpu) as started, Client(started, set_as_default=False) as client:
            yield client
        return
    if where.endswith(".json") and not Path(where).is_file():
        raise EngineError(f"the scheduler file {where} is not there; name the one that dask scheduler writes")
    target = {"scheduler_file": where} if where.endswith(".json") else {"address": where}
    try:
        client = Client(**target, timeout=CONNECT, set_as_default=False)
    except (OSError, ValueError, KeyError) as error:
        raise EngineError(
            f"no scheduler of Dask answers at {where} within {CONNECT:.0f} seconds ({error}). Start one "
            "with `dask scheduler`, or leave out --cluster (and the variable FOCIL_CLUSTER) to compute here."
        ) from None
    with client:
        yield client


@contextmanager
def _local(workers: int, gpu: bool) -> Iterator[Any]:
    """Workers of this machine, one training each, that end with this process."""
    shown = importlib.util.find_spec("bokeh") is not None
    started = _started(workers, gpu)
    if shown:
        print(f"dashboard: {started.dashboard_link}", file=sys.stderr)
    try:
        yield started
    except BaseException:
        _kill(started)
        raise
    finally:
        # A worker that is being started anew since another has died can make Dask's own closing fail. It has
        # been told to end by then: what was computed, or the error that is on its way, is what counts.
        with suppress(Exception):
            started.close()


def _started(workers: int, gpu: bool) -> Any:
    import dask
    from distributed import LocalCluster

    reason: BaseException | None = None
    for _ in range(STARTS):
        try:
            with dask.config.set(LOCAL):
                return LocalCluster(
                    n_workers=workers,
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
        f"{workers} workers could not be started on this machine, {STARTS} times (the last time: {reason}); "
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


def usable_workers(client: Any, gpu: bool) -> list[dict]:
    """The workers that can be used.

    Raises EngineError where none comes in time, or one takes several tasks at once.
    """
    end = time.monotonic() + PATIENCE
    while True:
        found = list(client.scheduler_info(n_workers=-1)["workers"].values())
        usable = [worker for worker in found if not gpu or worker["resources"].get("GPU")]
        if usable:
            break
        if time.monotonic() > end:
            lacking = "with the resource GPU (dask worker --resources GPU=1) " if gpu else ""
            raise EngineError(
                f"{len(found)} workers are at {address()}, and none {lacking}came within {PATIENCE:.0f} "
                "seconds; start workers, or compute elsewhere"
            )
        time.sleep(0.2)
    for worker in usable:
        if worker["nthreads"] != 1:
            raise EngineError(
                f"the worker at {worker['host']} takes {worker['nthreads']} tasks at a time, but trainings "
                "share a process badly: start workers with --nthreads 1 (and --nworkers for several)"
            )
    return usable


def must_fit(workers: list[dict], needs: int) -> None:
    """Raise EngineError where a worker may take less memory than a training needs (bytes)."""
    for worker in workers:
        host, limit = worker["host"], worker["memory_limit"]
        if limit and needs > limit:
            raise EngineError(
                f"a training needs about {needs / 1e9:.1f} GB of memory, but a worker at {host} may take "
                f"{limit / 1e9:.1f} GB; use fewer workers side by side (--workers), or larger ones"
            )
