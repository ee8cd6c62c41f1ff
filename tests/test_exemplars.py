"""Stored images: herding by its definition, quotas, and what is let go."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from focil import FocilError
from focil.memo.exemplars import ExemplarError, Exemplars, herding


def brute_force(features, count):
    """Algorithm 4 of iCaRL, one candidate after the other."""
    features = features.numpy().astype(float)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    mean, chosen = features.mean(0), []
    for k in range(1, count + 1):
        left = [i for i in range(len(features)) if i not in chosen]
        chosen.append(min(left, key=lambda i: np.linalg.norm(mean - (features[[*chosen, i]].sum(0)) / k)))
    return chosen


def numbered(count, first=0):
    """Images (N, 1, 2, 2) uint8 whose pixels are their number."""
    return (
        (torch.arange(first, first + count, dtype=torch.uint8)[:, None, None, None])
        .expand(-1, 1, 2, 2)
        .contiguous()
    )


def line(count):
    """Features (N, 2) at growing angles from the first, so that their mean direction is in the middle."""
    angles = torch.linspace(0, 1, count, dtype=torch.float64)
    return torch.stack([angles.cos(), angles.sin()], 1)


def numbers(images):
    return images[:, 0, 0, 0].tolist()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 25), st.integers(1, 6), st.integers(0, 30), st.integers(0, 10_000))
def test_herding_is_what_its_definition_says(count, size, wanted, seed):
    features = torch.randn(count, size, generator=torch.Generator().manual_seed(seed)) + 0.5
    found = herding(features, wanted)
    assert found.dtype == torch.int64 and found.shape == (min(wanted, count),)
    # In one dimension all that is left of a feature is its sign, and of two images both are as near to their
    # mean: ties, which are broken by rounding.
    if size > 1 and count != 2:
        assert found.tolist() == brute_force(features, len(found))


def test_herding_does_not_see_how_long_a_feature_is():
    features = torch.randn(20, 5, generator=torch.Generator().manual_seed(0))
    lengths = torch.rand(20, 1, generator=torch.Generator().manual_seed(1)) * 10 + 0.1
    assert torch.equal(herding(features, 20), herding(features * lengths, 20))


def test_herding_begins_in_the_middle_and_then_keeps_the_mean_there():
    order = herding(line(7), 7).tolist()
    assert order[0] == 3 and sorted(order[1:3]) in (
        [2, 4],
        [1, 5],
        [0, 6],
    )  # the one beside the mean, then a pair around it
    assert sorted(order) == list(range(7))


def test_a_shorter_herding_is_the_head_of_a_longer_one():
    features = torch.randn(30, 8, generator=torch.Generator().manual_seed(2))
    assert herding(features, 30)[:11].tolist() == herding(features, 11).tolist()


def test_no_image_is_taken_twice_even_if_all_are_alike():
    assert sorted(herding(torch.ones(6, 3), 6).tolist()) == list(range(6))


def test_a_smaller_quota_keeps_the_head_of_each_list():
    stored = Exemplars(budget=13, classes=4, training_images=40)
    stored.reduce(2)
    stored.add(numbered(10), line(10))
    stored.add(numbered(10, 10), line(10))
    assert (stored.quota, [len(images) for images in stored.images], len(stored)) == (
        6,
        [6, 6],
        12,
    )  # 13 // 2: the same for all
    before = [numbers(images) for images in stored.images]
    assert before[0] == herding(line(10), 6).tolist() and before[1] == [10 + i for i in before[0]]
    stored.reduce(4)
    stored.add(numbered(10, 20), line(10))
    assert [numbers(images) for images in stored.images] == [
        before[0][:3],
        before[1][:3],
        [20 + i for i in before[0][:3]],
    ]


def test_what_is_let_go_takes_no_memory():
    stored = Exemplars(12, 4, 40)
    stored.reduce(1)
    stored.add(numbered(10), line(10))
    assert stored.nbytes == 10 * 4  # fewer images than the quota of 12
    stored.reduce(4)
    (images,) = stored.images
    assert stored.nbytes == images.untyped_storage().nbytes() == 3 * 4


def test_all_are_images_of_bytes_with_their_classes():
    stored = Exemplars(6, 3, 30)
    assert stored.all() is None
    stored.reduce(2)
    stored.add(numbered(5), line(5))
    stored.add(numbered(2, 5), line(2))  # a class with fewer images than its quota keeps all of them
    images, labels = stored.all()
    assert images.dtype == torch.uint8 and images.shape == (5, 1, 2, 2) and labels.dtype == torch.int64
    assert labels.tolist() == [0, 0, 0, 1, 1] and set(numbers(images)[3:]) == {5, 6}


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.floats(0, 1))
def test_the_budget_is_never_passed_and_every_class_has_its_quota(counts, share):
    budget = len(counts) + round(share * (sum(counts) - len(counts)))
    stored = Exemplars(budget, len(counts), sum(counts))
    for seen, count in enumerate(counts, 1):
        stored.reduce(seen)
        stored.add(numbered(count), line(count))
        # A quota only shrinks, so what a class once had to let go of does not come back.
        assert [len(images) for images in stored.images] == [
            min(count, budget // seen) for count in counts[:seen]
        ]
        assert len(stored) <= budget and stored.nbytes == 4 * len(stored)


def test_no_budget_stores_nothing():
    stored = Exemplars(0, 5, 10)
    stored.reduce(2)
    stored.add(numbered(3), line(3))
    assert (stored.all(), len(stored), stored.nbytes) == (None, 0, 0)


@pytest.mark.parametrize(
    "budget, said",
    [
        (4, "4 exemplars are fewer than one for each of 5 classes; take at least 5, or 0"),
        (11, "11 exemplars are more than the 10 training images"),
    ],
)
def test_a_budget_below_one_a_class_or_above_all_images_is_refused(budget, said):
    with pytest.raises(ExemplarError) as caught:
        Exemplars(budget, classes=5, training_images=10)
    assert said in str(caught.value) and isinstance(caught.value, FocilError)
    assert Exemplars(5, 5, 10).budget == 5 and Exemplars(10, 5, 10).budget == 10
