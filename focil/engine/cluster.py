"""Connecting to the workers: those of this machine, or those of a cluster."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from focil.engine import local
from focil.engine.worker import EngineError

CLUSTER, ANY_VERSION = "FOCIL_CLUSTER", "FOCIL_ANY_VERSION"  # variables that processes below inherit
CONNECT = 10.0  # seconds until an address counts as dead
PATIENCE = 60.0  # seconds that are waited for a worker that can do what is asked


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
        with local.workers(workers, gpu) as started, Client(started, set_as_default=False) as client:
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
                f"{len(found)} workers are at {client.scheduler.address}, and none {lacking}came within "
                f"{PATIENCE:.0f} seconds; start workers, or compute elsewhere"
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
