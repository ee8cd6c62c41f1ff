"""Protocols: answers for scores written by hand, and who is asked together with whom."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from focil.confidence import sureness as sureness_of
from focil.protocols import batch, batch_groups, oracle, sample

# Three images, two experts, two classes each.
LOGITS = np.array(
    [
        [[4.0, 0.0], [0.0, 1.0]],
        [[0.0, 1.0], [0.0, 5.0]],
        [[0.0, 1.0], [2.0, 0.0]],
    ]
)
SURE = np.array([[0.9, 0.6], [0.5, 0.8], [0.5, 0.7]])


def lists(answer):
    return [part.tolist() for part in answer]


def test_oracle_asks_the_true_expert():
    assert lists(oracle(LOGITS, np.array([0, 1, 1]))) == [[0, 1, 1], [0, 1, 0]]
    assert lists(oracle(LOGITS, np.array([1, 0, 0]))) == [[1, 0, 0], [1, 1, 1]]


def test_sample_asks_the_surest_expert_of_each_image():
    assert lists(sample(LOGITS, SURE)) == [[0, 1, 1], [0, 1, 0]]


def test_batch_asks_the_expert_that_is_surest_on_average():
    # all three: 1.9 against 2.1; images 0 and 1: 1.4 against 1.4, a tie that the older expert wins
    assert lists(batch(LOGITS, SURE, np.array([0, 0, 0]))) == [[1, 1, 1], [1, 1, 0]]
    tied = np.array([[0.75, 0.5], [0.5, 0.75], [0.5, 0.75]])  # exact in binary
    assert lists(batch(LOGITS, tied, np.array([0, 0, 1]))) == [[0, 0, 1], [0, 1, 0]]


def test_one_image_can_be_outvoted_or_decide():
    sure = np.array([[0.0, 1.0], [0.0, 1.0], [5.0, 1.0]])
    assert lists(batch(LOGITS, sure, np.zeros(3, dtype=int)))[0] == [0, 0, 0]  # sums of sureness, not votes
    assert lists(sample(LOGITS, sure))[0] == [1, 1, 0]


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_a_batch_of_one_is_sample(kind):
    random = np.random.default_rng(0)
    logits = random.normal(size=(100, 7, 3)).astype(kind)
    sure, task = sureness_of(logits, "entropy"), random.integers(0, 7, 100)
    groups = batch_groups(task, 1, 0)
    assert sorted(groups) == list(range(100))
    assert lists(batch(logits, sure, groups)) == lists(sample(logits, sure))


def test_a_batch_of_everything_asks_one_expert():
    random = np.random.default_rng(0)
    expert, _ = batch(random.normal(size=(50, 4, 2)), random.normal(size=(50, 4)), np.zeros(50, dtype=int))
    assert len(set(expert.tolist())) == 1


def test_the_order_of_the_images_does_not_matter():
    random = np.random.default_rng(1)
    logits, sure, groups = random.normal(size=(40, 3, 2)), random.integers(0, 8, (40, 3)) / 8, random.integers(0, 6, 40)
    order = random.permutation(40)
    plain, shuffled = batch(logits, sure, groups), batch(logits[order], sure[order], groups[order])
    for one, other in zip(plain, shuffled, strict=True):
        assert np.array_equal(one[order], other)


# Groups

@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=60), st.integers(1, 12), st.integers(0, 2**32))
def test_a_group_is_of_one_task_and_only_its_last_is_short(tasks, size, seed):
    task = np.array(tasks)
    groups = batch_groups(task, size, seed)
    assert groups.dtype == np.int64 and groups.shape == task.shape
    assert np.unique(groups).tolist() == list(range(groups.max() + 1))
    for t in np.unique(task):
        found = np.bincount(groups[task == t])
        found = found[found > 0].tolist()
        count = int((task == t).sum())
        assert found == [size] * (count // size) + [count % size] * (count % size > 0)
    for group in np.unique(groups):
        assert len(set(task[groups == group].tolist())) == 1


def test_groups_follow_the_seed():
    task = np.repeat([0, 1], 50)
    first, again, other = (batch_groups(task, 10, seed) for seed in (0, 0, 1))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert first[:50].tolist() != sorted(first[:50])  # shuffled, not as stored


def test_groups_of_a_task_do_not_depend_on_the_tasks_seen():
    task = np.repeat([0, 1, 2], 23)
    early, late = batch_groups(task[:46], 10, 3), batch_groups(task, 10, 3)
    assert np.array_equal(early, late[:46])
