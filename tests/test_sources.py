"""From a benchmark to its stream: what is said there is what is read."""

import numpy as np
import pytest
from conftest import separable, small_benchmark, write_npz

import focil
from focil import StreamError
from focil.data.images import Augmentation
from focil.runs.sources import load_data, open_stream, order_of, sizes_of

MEMO = {"points": [{"network": "convnet2", "exemplars": 30}]}


def test_the_stream_is_online_and_as_the_benchmark_says():
    benchmark = small_benchmark(
        batch_size=7,
        held_batches=3,
        crop=1,
        flip=True,
        class_order="shuffled",
        memory=MEMO | {"brightness": 0.5},
    )
    stream = open_stream(benchmark, separable(), 4)
    assert (stream.passes, stream.batch_size, stream.hold, stream.seed) == (1, 7, 3, 4)
    assert stream.augmentation == Augmentation(1, True)  # brightness is of offline methods
    assert np.array_equal(stream.order, order_of(benchmark, separable(), 4)) and not np.array_equal(
        stream.order, order_of(benchmark, separable(), 5)
    )


def test_a_larger_first_task_is_that_of_a_study_of_equal_memory():
    data = separable()
    assert sizes_of(order_of(small_benchmark(), data, 0)) == [2, 2, 2]
    assert sizes_of(order_of(small_benchmark(memory=MEMO), data, 0)) == [2, 2, 2]
    assert sizes_of(order_of(small_benchmark(memory=MEMO | {"first_classes": 4}), data, 0)) == [4, 1, 1]
    with pytest.raises(StreamError, match="first task of 5 and 2 others"):
        order_of(small_benchmark(memory=MEMO | {"first_classes": 5}), data, 0)


def test_the_development_split_is_of_training_images_only(tmp_path):
    data = separable(per_class=40)
    write_npz(tmp_path / "mine.npz", data)
    whole, held_out = (
        load_data(focil.Benchmark(name="x", data=str(tmp_path / "mine.npz"), tasks=3, development=d))
        for d in (False, True)
    )
    assert whole.checksum == data.checksum and np.array_equal(whole.x_test, data.x_test)
    assert (len(held_out.x_train), len(held_out.x_test)) == (6 * 36, 6 * 4)
    assert np.array_equal(held_out.x_test[:4], data.x_train[36:40])  # the last tenth of the first class
