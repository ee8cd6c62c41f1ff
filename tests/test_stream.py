"""The stream: every image once, in an order of its own, with labels that mean what the task says."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from focil import Dataset, Stream, StreamError
from focil.data.images import Augmentation
from focil.data.stream import class_order

PIXELS = 5


def dataset(classes=6, train=4, test=2, mean=(0.5,), std=(0.25,), seed=0):
    """Images that say who they are: pixel [0, 0] is the class, pixel [0, 1] the row.

    Train counts may differ by class.
    """
    random = np.random.default_rng(seed)
    train = [train] * classes if isinstance(train, int) else train

    def part(counts):
        y = random.permutation(np.repeat(np.arange(classes), counts))
        x = random.integers(0, 256, (len(y), PIXELS, PIXELS, len(mean)), dtype=np.uint8)
        x[:, 0, 0], x[:, 0, 1] = y[:, None], np.arange(len(y))[:, None]
        return x, y

    return Dataset.from_arrays(*part(train), *part([test] * classes), mean=mean, std=std)


def stream_of(data, tasks=3, seed=0, order="natural", **options):
    return Stream(data, class_order(data, tasks, seed, order), seed, **options)


def read(task):
    """One pass: images (N, C, H, W) and labels (N,)."""
    images, labels = zip(*task.batches(), strict=True)
    return torch.cat(images), torch.cat(labels)


def pixels(images, data):
    """Normalised images back to 0..255 integers."""
    mean, std = (torch.tensor(values)[None, :, None, None] for values in (data.mean, data.std))
    return ((images * std + mean) * 255).round().long()


def test_a_stream_that_holds_nothing_is_refused():
    with pytest.raises(StreamError, match="hold is 0"):
        stream_of(dataset(), hold=0)


# Once, and only once


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(1, 12), min_size=6, max_size=6),
    st.sampled_from([1, 2, 3, 6]),
    st.integers(1, 20),
    st.integers(0, 2**32),
    st.sampled_from(["natural", "shuffled"]),
)
def test_every_training_image_comes_once(counts, tasks, batch_size, seed, order):
    data = dataset(train=counts)
    rows = []
    for task in stream_of(data, tasks, seed, order, batch_size=batch_size):
        batches = list(task.batches())
        assert [len(labels) for _, labels in batches[:-1]] == [batch_size] * (len(batches) - 1)
        found = pixels(torch.cat([images for images, _ in batches]), data)[:, 0, 0, 1].tolist()
        assert len(found) == task.size == sum(counts[c] for c in task.classes)
        rows += found
    assert sorted(rows) == list(range(sum(counts)))


def test_a_second_pass_is_refused_and_says_what_to_do():
    task = next(iter(stream_of(dataset())))
    read(task)
    with pytest.raises(StreamError, match=r"task 0 .*already read 1 time.*hold what you need.*more passes"):
        task.batches()
    assert task.draws == task.size


def test_a_pass_that_was_broken_off_is_used_up():
    task = next(iter(stream_of(dataset(), batch_size=2)))
    next(task.batches())
    with pytest.raises(StreamError):
        task.batches()
    assert task.draws == 2


def test_a_second_walk_over_the_stream_is_refused_too():
    stream = stream_of(dataset())
    for task in stream:
        read(task)
    with pytest.raises(StreamError):
        for task in stream:
            read(task)


def test_two_passes_are_two_orders_of_the_same_images():
    data = dataset(train=20)
    task = next(iter(stream_of(data, passes=2)))
    first, second = (pixels(read(task)[0], data)[:, 0, 0, 1].tolist() for _ in range(2))
    assert first != second and sorted(first) == sorted(second)
    with pytest.raises(StreamError, match="already read 2 time"):
        task.batches()
    assert task.draws == 2 * task.size and task.draws_per_sample == 2.0


def test_draws_are_counted_as_they_happen():
    task = next(iter(stream_of(dataset(), batch_size=3)))
    assert task.size == 8 and task.draws == 0
    assert [task.draws for _ in task.batches()] == [3, 6, 8]
    assert task.draws_per_sample == 1.0


# Order


def test_images_come_shuffled_by_the_seed():
    data = dataset(train=30)
    natural = np.flatnonzero(np.isin(data.y_train, (0, 1))).tolist()
    first, again, other = (
        pixels(read(next(iter(stream_of(data, seed=s))))[0], data)[:, 0, 0, 1].tolist() for s in (0, 0, 1)
    )
    assert first == again
    assert first != natural and first != other and sorted(first) == sorted(other) == natural


def test_a_task_reads_the_same_whatever_was_read_before():
    data = dataset(train=15)
    options = {"augmentation": Augmentation(2, True), "batch_size": 4}
    for index in range(3):
        after_all = [read(task) for task in stream_of(data, **options)][index]
        after_none = read(list(stream_of(data, **options))[index])
        backwards = {task.index: read(task) for task in reversed(list(stream_of(data, **options)))}[index]
        for images, labels in (after_none, backwards):
            assert torch.equal(images, after_all[0]) and torch.equal(labels, after_all[1])


def test_natural_order_is_ascending():
    assert class_order(dataset(), 3, 0).tolist() == [[0, 1], [2, 3], [4, 5]]
    assert class_order(dataset(), 3, 1).tolist() == [[0, 1], [2, 3], [4, 5]]


def test_shuffled_order_is_a_permutation_by_the_seed():
    data = dataset(classes=20)
    first, again, other = (class_order(data, 5, seed, "shuffled") for seed in (0, 0, 1))
    assert first.shape == (5, 4) and sorted(first.ravel()) == list(range(20))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert first.ravel().tolist() != list(range(20))


@pytest.mark.parametrize("tasks", [0, -1, 4, 5, 7])
def test_tasks_that_do_not_divide_the_classes_are_explained(tasks):
    with pytest.raises(StreamError) as caught:
        class_order(dataset(classes=6), tasks, 0)
    assert (
        "6 classes" in str(caught.value)
        and f"{tasks} tasks" in str(caught.value)
        and "[1, 2, 3, 6]" in str(caught.value)
    )


@pytest.mark.parametrize("order", ["natural", "shuffled"])
def test_a_first_task_may_be_larger_and_the_others_share_the_rest(order):
    data = dataset(classes=10)
    found = class_order(data, 4, 2, order, first=4)
    assert [len(classes) for classes in found] == [4, 2, 2, 2]
    assert (
        np.concatenate(found).tolist() == class_order(data, 1, 2, order).ravel().tolist()
    )  # the same order, cut elsewhere
    assert all(classes.dtype == np.int64 for classes in found)


@pytest.mark.parametrize("tasks, first", [(4, 0), (4, 10), (4, 11), (4, -2), (4, 3), (1, 10), (1, 4)])
def test_a_first_task_that_leaves_no_equal_parts_is_explained(tasks, first):
    with pytest.raises(StreamError) as caught:
        class_order(dataset(classes=10), tasks, 0, first=first)
    assert f"10 classes of mine cannot be split into a first task of {first} and {tasks - 1} others" in str(
        caught.value
    )
    assert "change first_classes or tasks" in str(caught.value)


# Labels


@pytest.mark.parametrize("order", ["natural", "shuffled"])
@pytest.mark.parametrize("seed", range(4))
def test_a_label_is_the_position_among_the_tasks_classes(order, seed):
    data = dataset(classes=12, train=5)
    stream = stream_of(data, 3, seed, order)
    seen = []
    for task in stream:
        images, labels = read(task)
        assert labels.dtype == torch.int64 and set(labels.tolist()) == set(range(4))
        shown = pixels(images, data)[:, 0, 0, 0].tolist()
        assert shown == [task.classes[label] for label in labels.tolist()]
        seen += task.classes
    assert sorted(seen) == list(range(12)) and len(stream) == 3


@pytest.mark.parametrize("order", ["natural", "shuffled"])
def test_test_images_know_their_task_and_label(order):
    data = dataset(classes=12)
    stream = stream_of(data, 3, 5, order)
    classes = np.array([task.classes for task in stream])
    assert stream.test_task().dtype == stream.test_label().dtype == np.int64
    assert np.array_equal(classes[stream.test_task(), stream.test_label()], data.y_test)
    shown = stream.test[:, 0, 0, 0].tolist()
    assert shown == data.y_test.tolist()


@pytest.mark.parametrize("order", ["natural", "shuffled"])
def test_tasks_of_unequal_size_know_their_labels_and_positions(order):
    data = dataset(classes=7, train=6)
    classes = class_order(data, 4, 5, order, first=4)
    stream = Stream(data, classes, 5, passes=2)
    flat = np.concatenate(classes)
    assert np.array_equal(flat[stream.test_position()], data.y_test)
    firsts = np.array([0, 4, 5, 6])
    assert np.array_equal(stream.test_position(), firsts[stream.test_task()] + stream.test_label())
    assert np.bincount(stream.test_task()).tolist() == [8, 2, 2, 2] and len(stream) == 4
    for task, own in zip(stream, classes, strict=True):
        for images, labels in (task.images(), read(task)):
            shown = (
                images[:, 0, 0, 0].long() if images.dtype == torch.uint8 else pixels(images, data)[:, 0, 0, 0]
            )
            assert (
                task.classes == tuple(own)
                and [task.classes[label] for label in labels.tolist()] == shown.tolist()
            )
            assert len(images) == task.size == 6 * len(own)


# All images of a task at once


@pytest.mark.parametrize("order", ["natural", "shuffled"])
def test_an_offline_method_can_have_all_images_of_a_task(order):
    data = dataset(classes=6, train=5)
    rows = []
    for task in stream_of(data, order=order, passes=2, augmentation=Augmentation(2, True, 0.5)):
        images, labels = task.images()
        assert (
            images.dtype == torch.uint8
            and labels.dtype == torch.int64
            and len(images) == len(labels) == task.size
        )
        found = images[:, 0, 0, 1].tolist()
        assert np.array_equal(
            images.permute(0, 2, 3, 1).numpy(), data.x_train[found]
        )  # as they are stored: neither normalised nor augmented
        assert [task.classes[label] for label in labels.tolist()] == data.y_train[found].tolist()
        rows += found
    assert sorted(rows) == list(range(30))


def test_images_of_an_online_stream_are_refused():
    task = list(stream_of(dataset()))[1]
    with pytest.raises(StreamError, match=r"one pass.*task 1.*more passes"):
        task.images()
    assert len(read(task)[0]) == task.size  # the pass is not used up


def test_what_is_done_to_images_does_not_reach_the_stream():
    data = dataset()
    task = next(iter(stream_of(data, passes=2)))
    task.images()[0].zero_()
    images, _ = task.images()
    assert np.array_equal(images.permute(0, 2, 3, 1).numpy(), data.x_train[images[:, 0, 0, 1].tolist()])


# Images


def test_prepare_is_the_data_sets_normalisation():
    data = dataset(mean=(0.1, 0.5, 0.9), std=(0.2, 0.25, 0.4))
    stream = stream_of(data)
    prepared = stream.prepare(stream.test)
    expected = (data.x_test / 255 - np.array(data.mean)) / np.array(data.std)  # (N, H, W, C)
    assert prepared.dtype == torch.float32 and prepared.shape == (12, 3, PIXELS, PIXELS)
    np.testing.assert_allclose(
        prepared.permute(0, 2, 3, 1).numpy(), expected, rtol=0, atol=1e-5
    )  # float32 of numbers below 10
    mean = torch.tensor(data.mean).view(1, 3, 1, 1).expand(1, 3, 4, 4) * 255
    assert stream.prepare(mean).abs().max() < 1e-5


def test_training_images_are_only_normalised_without_augmentation():
    data = dataset()
    for task in stream_of(data):
        images, _ = read(task)
        found = pixels(images, data)
        assert np.array_equal(found.permute(0, 2, 3, 1).numpy(), data.x_train[found[:, 0, 0, 1]])


def test_stored_images_are_never_touched():
    data = dataset()
    stream = stream_of(data, augmentation=Augmentation(2, True), passes=2)
    for task in stream:
        for images, _ in task.batches():
            images.zero_()  # what a careless reader does
    for stored, given_ in ((stream.train, data.x_train), (stream.test, data.x_test)):
        assert stored.dtype == torch.uint8
        assert np.array_equal(stored.permute(0, 2, 3, 1).numpy(), given_)


def naive_crops(image, pad, flip):
    """Every (row, column, mirrored) -> crop of one image (C, H, W) after zero padding."""
    channels, height, width = image.shape
    padded = np.zeros((channels, height + 2 * pad, width + 2 * pad), dtype=image.dtype)
    padded[:, pad : pad + height, pad : pad + width] = image
    crops = {}
    for row in range(2 * pad + 1):
        for column in range(2 * pad + 1):
            crop = padded[:, row : row + height, column : column + width]
            crops[row, column, False] = crop
            if flip:
                crops[row, column, True] = crop[:, :, ::-1]
    return crops


@pytest.mark.parametrize("pad, flip", [(1, False), (2, True), (0, True)])
def test_augmentation_is_one_naive_crop_and_coin_an_image(pad, flip):
    count = 400
    images = torch.randn(count, 3, 6, 7, generator=torch.Generator().manual_seed(0))
    found = Augmentation(pad, flip)(images, torch.Generator().manual_seed(1))
    assert found.shape == images.shape and found.dtype == images.dtype
    drawn = Counter()
    for image, result in zip(images.numpy(), found.numpy(), strict=True):
        matches = [key for key, crop in naive_crops(image, pad, flip).items() if np.array_equal(crop, result)]
        assert len(matches) == 1
        drawn[matches[0]] += 1
    choices = (2 * pad + 1) ** 2 * (1 + flip)
    expected = count / choices
    assert len(drawn) == choices  # every corner and side occurs
    assert max(abs(n - expected) for n in drawn.values()) < 5 * np.sqrt(expected)  # and none is preferred


def test_no_augmentation_changes_nothing():
    images = torch.rand(4, 1, 5, 5)
    assert torch.equal(Augmentation()(images, torch.Generator()), images)


def test_brightness_is_one_factor_an_image_spread_evenly():
    images = torch.full((600, 3, 4, 4), 100, dtype=torch.uint8)
    found = Augmentation(brightness=0.25)(images, torch.Generator().manual_seed(0))
    factors = found[:, 0, 0, 0] / 100
    assert torch.equal(
        found, (100 * factors)[:, None, None, None].expand_as(found)
    )  # the same for all of an image
    assert factors.min() >= 0.75 and factors.max() <= 1.25
    quarters = torch.histc(factors, 4, 0.75, 1.25)
    assert (quarters - 150).abs().max() < 5 * 150**0.5  # none is preferred
    assert (images == 100).all()


def test_brightness_stays_within_the_range_of_pixels():
    images = torch.tensor([0, 250], dtype=torch.uint8).repeat(200)[:, None, None, None]
    found = Augmentation(brightness=1.0)(images, torch.Generator().manual_seed(0)).flatten()
    assert (
        (found[::2] == 0).all()
        and found.min() == 0
        and found.max() == 255
        and (found[1::2] == 255).float().mean() > 0.3
    )


def test_brightness_leaves_crops_and_coins_as_they_were():
    images = torch.randint(
        1, 200, (50, 1, 6, 6), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
    )
    plain = Augmentation(2, True)(images, torch.Generator().manual_seed(1))
    brighter = Augmentation(2, True, 0.2)(images, torch.Generator().manual_seed(1))
    assert torch.equal(brighter > 0, plain > 0)
    lit = plain > 0
    ratios = torch.where(lit, brighter / plain.clamp(min=1), torch.nan).flatten(1)
    assert (
        ratios.nan_to_num(nan=torch.inf).amin(1) - ratios.nan_to_num(nan=-torch.inf).amax(1)
    ).abs().max() < 1e-5


def test_augmentation_follows_the_seed_and_the_pass():
    # All training images are one and the same, so that what differs between two readings is the crops and
    # coins.
    one = np.random.default_rng(0).integers(0, 256, (1, PIXELS, PIXELS), dtype=np.uint8)
    labels = np.repeat([0, 1], 20)
    data = Dataset.from_arrays(one.repeat(40, axis=0), labels, one.repeat(40, axis=0), labels)
    options = {"augmentation": Augmentation(2, True), "passes": 2, "batch_size": 5}
    task, again, other = (next(iter(stream_of(data, 1, seed, **options))) for seed in (0, 0, 1))
    first, second = read(task)[0], read(task)[0]
    assert torch.equal(first, read(again)[0])
    assert not torch.equal(first, second) and not torch.equal(first, read(other)[0])
    assert not torch.equal(first[:5], first[5:10])  # nor do batches repeat each other


# Held batches


def test_the_last_batches_are_held_until_they_are_let_go():
    stream = stream_of(dataset(train=20), hold=2, batch_size=5)
    task = next(iter(stream))
    seen = []
    for images, _ in task.batches():
        held, labels = task.held()
        assert len(labels) == len(held)
        assert len(held) == min(10, 5 * len(seen))  # the current batch is not among them yet
        for earlier in seen[-2:]:
            assert all(any(torch.equal(image, other) for other in held) for image in earlier)
        seen.append(images)
    assert len(task.held()[0]) == 10 and task.held_bytes == 10 * (stream.train[0].nbytes + 8)
    assert task.draws == task.size  # computing with held images again draws nothing
    task.release()
    assert task.held_bytes == 0 and task.again(3) is None


def test_again_gives_held_images_with_their_labels():
    stream = stream_of(dataset(train=20), hold=3, batch_size=5)
    task = next(iter(stream))
    assert task.again(4) is None
    known = {}
    for images, labels in task.batches():
        if known:
            again, their = task.again(4)
            assert len(again) == len(their) == 4
            assert all(
                known[tuple(image.flatten().tolist())] == label
                for image, label in zip(again, their.tolist(), strict=True)
            )
        known |= {
            tuple(image.flatten().tolist()): label
            for image, label in zip(images, labels.tolist(), strict=True)
        }
    assert task.draws_per_sample == 1


@pytest.mark.parametrize("order", ["natural", "shuffled"])
@pytest.mark.parametrize("hold", [1, 2, 50])
def test_what_is_held_is_not_augmented_has_its_labels_and_the_order_of_the_stream(hold, order):
    data = dataset(train=9)
    plain = list(stream_of(data, seed=3, order=order, hold=hold, batch_size=4))
    augmented = list(
        stream_of(data, seed=3, order=order, hold=hold, batch_size=4, augmentation=Augmentation(2, True))
    )
    for task, twin in zip(plain, augmented, strict=True):
        assert task.room == 4 * hold and len(task.held()[0]) == len(task.held()[1]) == 0
        images, labels = read(task)
        crops, _ = read(twin)
        assert not torch.equal(crops, images)
        for held, theirs in (task.held(), twin.held()):
            assert torch.equal(held, images[-task.room :]) and torch.equal(theirs, labels[-task.room :])
            assert theirs.dtype == torch.int64 and len(held) == min(18, task.room)
            assert [task.classes[label] for label in theirs.tolist()] == pixels(held, data)[
                :, 0, 0, 0
            ].tolist()
