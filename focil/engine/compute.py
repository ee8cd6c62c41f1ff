"""Compute trainings side by side, and see how they come on."""

import os
import queue
import secrets
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from focil.base import progress
from focil.engine import cluster, worker
from focil.engine.worker import EngineError

LOOK = 0.5  # seconds that are waited at most for a worker to say something


class LostScheduler(EngineError):
    """The connection to the cluster broke."""


class Training(NamedTuple):
    """One task. function: called in a worker as function(*given, progress), pickled by its name.

    name: for errors and lines. size: what the bar counts, see `Progress`.
    """

    name: str
    size: int
    function: Callable[..., Any]
    given: tuple


def compute(
    trainings: Sequence[Training],
    finished: Callable[[Training, Any], None],
    *,
    workers: int,
    gpu: bool = False,
    needs: int = 0,
    **about: Any,
) -> None:
    """Compute trainings side by side.

    finished: called here with each training and its result, in the order in which they end. workers: how many
    at once on this machine; a cluster decides itself. gpu: each needs a worker with the resource GPU. needs:
    bytes of memory a training takes. about: of the bar, see `progress.bar`. A training whose worker is
    killed is tried again, at most three times. Raises EngineError, or, when all others have ended, the error
    of a training that failed.
    """
    heard: queue.SimpleQueue = queue.SimpleQueue()
    topic = f"focil-{secrets.token_hex(8)}"
    total = sum(training.size for training in trainings)
    with (
        cluster.connected(min(workers, len(trainings)), gpu) as client,
        progress.bar(total=total, **about) as bar,
    ):
        cluster.must_fit(cluster.usable_workers(client, gpu), needs)
        client.subscribe_topic(topic, lambda event: heard.put(event[1]))
        versions = None if os.environ.get(cluster.ANY_VERSION) else worker.versions()
        waiting = {}
        for training in trainings:
            given = training.function, training.given, versions, topic
            resources = {"GPU": 1} if gpu else None
            name = f"{training.name.replace(' ', '-')}-{secrets.token_hex(4)}"
            future = client.submit(worker.perform, *given, key=name, pure=False, resources=resources)
            future.add_done_callback(lambda _: heard.put(None))
            waiting[future] = training
        _collect(waiting, finished, Seen(bar, heard))


class Seen:
    """What is seen of trainings while they run: one bar over all of them, and what they say.

    heard: what workers told, and None for each training that has ended.
    """

    def __init__(self, bar: Any, heard: queue.SimpleQueue):
        self.bar, self.heard, self.reached = bar, heard, {}

    def look(self, seconds: float) -> None:
        """Take in what was heard since the last look; where that is nothing, wait for it so long."""
        with suppress(queue.Empty):
            self._take(self.heard.get(timeout=seconds))
            while True:
                self._take(self.heard.get_nowait())

    def _take(self, event: dict | None) -> None:
        if event is None:
            return
        if "text" in event:
            self.bar.write(event["text"], file=sys.stderr)
        else:
            self.reach(event["key"], event["reached"])

    def reach(self, key: str, count: int) -> None:
        """A training has come so far; less than before, if it had to begin again."""
        self.bar.update(count - self.reached.get(key, 0))
        self.reached[key] = count


def _collect(waiting: dict, finished: Callable[[Training, Any], None], seen: Seen) -> None:
    count, failed = len(waiting), {}
    order = list(waiting.values())
    while waiting:
        seen.look(LOOK)
        done = [future for future in waiting if future.done()]
        for future in done:
            training = waiting.pop(future)
            try:
                result = _result(future, training)
            except LostScheduler:
                raise
            except Exception as error:
                failed[training.name] = error
                continue
            finished(training, result)
            seen.look(0)
            seen.reach(future.key, training.size)
            progress.finished(training.name, count - len(waiting), count)
    if failed:
        first = next(training.name for training in order if training.name in failed)
        error = failed[first]
        if len(failed) == 1:
            raise error
        raise EngineError(
            f"{len(failed)} of {count} trainings failed, the others are kept. The first, {first}: {error}"
        ) from error


def _result(future: Any, training: Training) -> Any:
    from distributed import CancelledError, KilledWorker

    try:
        return future.result()
    except KilledWorker as error:
        raise EngineError(
            f"{training.name}: the worker that trained it was killed, and three others after it; most often "
            f"memory ran out. The last was {error.last_worker.address}. Use fewer workers side by side, or "
            "workers with more memory, and start the same command again."
        ) from None
    except CancelledError:
        raise LostScheduler(
            f"the connection to the scheduler {cluster.address() or 'of this machine'} was lost. What had "
            "finished is kept; start the same command again to go on."
        ) from None
