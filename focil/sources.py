"""From a benchmark to its data set and its stream."""

from collections.abc import Sequence

import numpy as np

from focil import datasets
from focil.benchmark import Benchmark
from focil.datasets import Dataset
from focil.stream import Augmentation, Stream, class_order


def load_data(benchmark: Benchmark) -> Dataset:
    """The benchmark's data set, or its development split. Raises what `datasets.load` raises."""
    data = datasets.load(benchmark.data, split=benchmark.split, image_size=benchmark.image_size)
    return data.development() if benchmark.development else data


def order_of(benchmark: Benchmark, data: Dataset, seed: int) -> np.ndarray | list[np.ndarray]:
    """Class ids task by task, see `class_order`."""
    first = benchmark.memo.first_classes if benchmark.memo else None
    return class_order(data, benchmark.tasks, seed, benchmark.class_order, first)


def open_stream(benchmark: Benchmark, data: Dataset, seed: int) -> Stream:
    """The benchmark's online stream: one pass, small batches, the last ones held."""
    return Stream(
        data,
        order_of(benchmark, data, seed),
        seed,
        batch_size=benchmark.batch_size,
        augmentation=Augmentation(benchmark.crop, benchmark.flip),
        hold=benchmark.held_batches,
        device=benchmark.device,
    )


def sizes_of(order: Sequence[np.ndarray]) -> list[int]:
    """Number of classes of each task."""
    return [len(classes) for classes in order]
