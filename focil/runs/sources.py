"""From a benchmark to its data set and its stream."""

from collections.abc import Sequence

import numpy as np

from focil.data import datasets
from focil.data.datasets import Dataset
from focil.data.images import Augmentation
from focil.data.stream import Stream, class_order
from focil.runs.params import Benchmark


def load_data(benchmark: Benchmark) -> Dataset:
    """The benchmark's data set, or its development split. Raises what `datasets.load` raises."""
    data = datasets.load(benchmark.data, split=benchmark.split, image_size=benchmark.image_size)
    return data.development() if benchmark.development else data


def order_of(benchmark: Benchmark, data: Dataset, seed: int) -> np.ndarray | list[np.ndarray]:
    """Class ids task by task, see `class_order`."""
    first = benchmark.memory.first_classes if benchmark.memory else None
    return class_order(data, benchmark.tasks, seed, benchmark.class_order, first)


def open_stream(benchmark: Benchmark, data: Dataset, seed: int, first: int | None = None) -> Stream:
    """The benchmark's online stream: one pass, small batches, the last ones held. first: as in `Stream`."""
    return Stream(
        data,
        order_of(benchmark, data, seed),
        seed,
        batch_size=benchmark.batch_size,
        augmentation=Augmentation(benchmark.crop, benchmark.flip),
        hold=benchmark.held_batches,
        first=first,
        device=benchmark.device,
    )


def sizes_of(order: Sequence[np.ndarray]) -> list[int]:
    """Number of classes of each task."""
    return [len(classes) for classes in order]
