"""Protocols: answers for evidence written by hand, who is asked together with whom, and the names of
accuracies."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from focil.confidence import Evidence, evidence
from focil.evaluation.protocols import (
    ANSWERERS,
    batch,
    batch_groups,
    join,
    mixed_groups,
    oracle,
    sample,
    split,
)

# Three images, two tasks, two classes each.
WITHIN = np.array(
    [
        [[4.0, 0.0], [0.0, 1.0]],
        [[0.0, 1.0], [0.0, 5.0]],
        [[0.0, 1.0], [2.0, 0.0]],
    ]
)
TASK = np.array([[0.9, 0.6], [0.5, 0.8], [0.5, 0.7]])
EVIDENCE = Evidence(WITHIN, TASK)


def lists(answer):
    return [part.tolist() for part in answer]


def drawn(count, tasks, classes, seed=0):
    """Evidence at random; that for a task is a multiple of 1/8, so that sums are exact in any order."""
    random = np.random.default_rng(seed)
    return Evidence(random.normal(size=(count, tasks, classes)), random.integers(0, 8, (count, tasks)) / 8)


def test_oracle_answers_inside_the_true_task():
    assert lists(oracle(EVIDENCE, np.array([0, 1, 1]))) == [[0, 1, 1], [0, 1, 0]]
    assert lists(oracle(EVIDENCE, np.array([1, 0, 0]))) == [[1, 0, 0], [1, 1, 1]]


def test_oracle_needs_no_evidence_for_a_task():
    task = np.array([0, 1, 1])
    assert lists(oracle(Evidence(WITHIN, np.full((3, 2), np.nan)), task)) == lists(oracle(EVIDENCE, task))


def test_sample_takes_the_task_that_most_speaks_for_of_each_image():
    assert lists(sample(EVIDENCE)) == [[0, 1, 1], [0, 1, 0]]


def test_a_sure_class_does_not_make_its_task_likely():
    loud = np.array([[[0.0, 100.0], [1.0, 0.0]]])
    assert lists(sample(Evidence(loud, np.array([[0.1, 0.2]])))) == [[1], [0]]


def test_batch_takes_the_task_with_most_evidence_on_average():
    # all three: 1.9 against 2.1; images 0 and 1: 1.4 against 1.4, a tie that the older task wins
    assert lists(batch(EVIDENCE, np.array([0, 0, 0]))) == [[1, 1, 1], [1, 1, 0]]
    tied = np.array([[0.75, 0.5], [0.5, 0.75], [0.5, 0.75]])  # exact in binary
    assert lists(batch(Evidence(WITHIN, tied), np.array([0, 0, 1]))) == [[0, 0, 1], [0, 1, 0]]


def test_one_image_can_be_outvoted_or_decide():
    sure = Evidence(WITHIN, np.array([[0.0, 1.0], [0.0, 1.0], [5.0, 1.0]]))
    assert lists(batch(sure, np.zeros(3, dtype=int)))[0] == [0, 0, 0]  # sums of evidence, not votes
    assert lists(sample(sure))[0] == [1, 1, 0]


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_a_batch_of_one_is_sample(kind):
    random = np.random.default_rng(0)
    found = evidence(random.normal(size=(100, 7, 3)).astype(kind), "entropy", None)
    task = random.integers(0, 7, 100)
    for groups in (batch_groups(task, 1, 0), mixed_groups(100, 1, 0)):
        assert sorted(groups) == list(range(100))
        assert lists(batch(found, groups)) == lists(sample(found))


def test_a_batch_of_everything_is_of_one_task():
    task, _ = batch(drawn(50, 4, 2), mixed_groups(50, 50, 0))
    assert len(set(task.tolist())) == 1


def test_the_order_of_the_images_does_not_matter():
    evidence, random = drawn(40, 3, 2), np.random.default_rng(1)
    groups, order = random.integers(0, 6, 40), random.permutation(40)
    plain, shuffled = (
        batch(evidence, groups),
        batch(Evidence(evidence.within[order], evidence.task[order]), groups[order]),
    )
    for one, other in zip(plain, shuffled, strict=True):
        assert np.array_equal(one[order], other)


# Names


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(["oracle", "sample"]) | st.integers(1, 10_000).map("batch-{}".format),
    st.sampled_from([*ANSWERERS, "both"]),
)
def test_a_name_says_protocol_and_answerer(protocol, answerer):
    name = join(protocol, answerer)
    assert split(name) == (protocol, answerer)
    assert name.startswith(protocol) and "both" not in name
    assert join(*split(name)) == name


def test_no_two_accuracies_have_one_name():
    names = [
        join(protocol, answerer)
        for protocol in ("oracle", "batch-1", "batch-10", "sample")
        for answerer in (*ANSWERERS, "both")
    ]
    assert len(set(names)) == len(names) == 16
    assert {"oracle-experts", "batch-10-router", "sample"} <= set(names)


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


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.integers(1, 70), st.integers(0, 2**32))
def test_of_mixed_groups_only_the_last_is_short(count, size, seed):
    groups = mixed_groups(count, size, seed)
    assert groups.dtype == np.int64 and groups.shape == (count,)
    assert np.bincount(groups).tolist() == [size] * (count // size) + [count % size] * (count % size > 0)


def test_mixed_groups_mix_what_is_stored_task_by_task():
    task = np.repeat([0, 1, 2], 40)
    groups = mixed_groups(120, 10, 0)
    mixed = [len(set(task[groups == group].tolist())) for group in range(12)]
    assert min(mixed) > 1  # all ten of one task: a chance of 1 in 10,000 for each group


def test_groups_follow_the_seed():
    task = np.repeat([0, 1], 50)
    for draw in (lambda seed: batch_groups(task, 10, seed), lambda seed: mixed_groups(100, 10, seed)):
        first, again, other = (draw(seed) for seed in (0, 0, 1))
        assert np.array_equal(first, again) and not np.array_equal(first, other)
        assert first[:50].tolist() != sorted(first[:50])  # shuffled, not as stored


def test_groups_of_a_task_do_not_depend_on_the_tasks_seen():
    task = np.repeat([0, 1, 2], 23)
    early, late = batch_groups(task[:46], 10, 3), batch_groups(task, 10, 3)
    assert np.array_equal(early, late[:46])
