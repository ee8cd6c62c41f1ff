"""FOCIL learns digits while somebody watches: what there is to see after each task, and over sparsity.

Stream, method and evaluation are those of a run; only no folder is written.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import NamedTuple

import numpy as np
import torch

from focil.data.datasets import Dataset
from focil.masks import Allocation
from focil.memo.account import FLOAT
from focil.runs.checkpoint import build_method, evaluation_of
from focil.runs.numbers import with_total
from focil.runs.params import Benchmark
from focil.runs.sources import load_data, open_stream

BASE = "digits-5"  # the params file that is learned, but for what can be moved
TASKS = (2, 5, 10)  # that divide the ten classes
SWEPT = (0.5, 0.7, 0.8, 0.9, 0.94, 0.96, 0.98, 0.99)
Beat = Callable[[int], object]  # called with the images of each batch; what it raises ends the learning


class Settings(NamedTuple):
    """What can be moved. sparsity: in (0, 1). lr: learning rate, positive. The rest as in `planning.plan`."""

    sparsity: float
    lr: float
    tasks: int
    allocation: Allocation
    seed: int


class Moment(NamedTuple):
    """What there is to see after a task.

    rows: name of an accuracy -> its rows so far, [i][j] in 0..1 of task j after task i. owner: layer -> (out,
    in) int16, the task that owns a connection, or `masks.FREE`. capacity: as `Ledger.occupancy`.
    fingerprints: SHA-256 of every expert when it was frozen; all of them but the newest were compared again,
    bit for bit. memory_bytes: all that is kept, by part, and "total".
    """

    settings: Settings
    rows: Mapping[str, list[list[float]]]
    owner: Mapping[str, np.ndarray]
    capacity: list[dict]
    fingerprints: list[str]
    memory_bytes: Mapping[str, int]


class Point(NamedTuple):
    """What one sparsity comes to.

    accuracy: by name, the final average in 0..1. used: share of all connections that some task trained.
    trained: their bytes as float32. kept: all bytes that are kept.
    """

    sparsity: float
    accuracy: Mapping[str, float]
    used: float
    trained: int
    kept: int


@cache
def benchmark_data() -> Dataset:
    """The images that are learned; loaded once."""
    return load_data(Benchmark(name="live", extends=BASE))


def benchmark(settings: Settings) -> Benchmark:
    """What is run: `BASE` with one candidate, the settings'. Raises BenchmarkError."""
    options = {
        "sparsities": [settings.sparsity],
        "learning_rates": [settings.lr],
        "allocation": settings.allocation,
    }
    return Benchmark(name="live", extends=BASE, tasks=settings.tasks, device="cpu", threads=1, focil=options)


def learn(settings: Settings, beat: Beat = lambda images: None) -> Iterator[Moment]:
    """Learn task after task, as a run does; yields what there is to see after each.

    Raises BenchmarkError, StreamError, MaskError, DivergedError, ForgettingError, and what `beat` raises.
    """
    chosen, seed = benchmark(settings), settings.seed
    torch.set_num_threads(chosen.threads)
    data = benchmark_data()
    stream = open_stream(chosen, data, seed)
    stream.on_draw = beat
    method = build_method(chosen, seed, data.image_shape, stream.order.shape[1])
    evaluation = evaluation_of(chosen)(stream, seed)
    for task in stream:
        method.learn(task)
        evaluation.after(method, task.index)
        shapes, owner = method.ledger.shapes, method.ledger.owner
        yield Moment(
            settings,
            {name: list(rows) for name, rows in evaluation.rows.items()},
            {name: owner[name].reshape(shape).copy() for name, shape in shapes.items()},
            method.capacity(),
            [first["fingerprint"] for first in evaluation.first],
            with_total(method.memory()),
        )


def sweep(settings: Settings, beat: Beat = lambda images: None) -> Iterator[Point]:
    """Learn all tasks at each sparsity of `SWEPT`, the rest as set; yields a point as each ends.

    Raises as `learn`.
    """
    for sparsity in SWEPT:
        *_, last = learn(settings._replace(sparsity=sparsity), beat)
        yield point(last)


def point(last: Moment) -> Point:
    """The moment after the last task, summed up."""
    owned = sum(sum(row["owned"].values()) for row in last.capacity)
    connections = sum(owner.size for owner in last.owner.values())
    return Point(
        last.settings.sparsity,
        {name: float(np.mean(rows[-1])) for name, rows in last.rows.items()},
        owned / connections,
        FLOAT * owned,
        last.memory_bytes["total"],
    )
