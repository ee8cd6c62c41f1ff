"""Answers: what experts, router and both say of an image, and which of them decides what."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from focil.confidence import RULES, evidence, sureness
from focil.router.answers import EXPERT, TEMPERATURE, both, router

SIZES = st.tuples(st.integers(1, 6), st.integers(1, 5), st.integers(1, 4))  # images, tasks, classes


def given_numbers(size, seed=0, scale=5.0):
    """scores (N, tasks, classes), offsets (tasks, classes), logits (N, tasks, classes)."""
    random = np.random.default_rng(seed)
    return (
        scale * random.normal(size=size),
        scale * random.normal(size=size[1:]),
        scale * random.normal(size=size),
    )


def close(one, other):
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-9)  # float64 of numbers below some hundreds


# Experts


@pytest.mark.parametrize("rule", RULES)
def test_experts_answer_with_their_softmax_and_their_sureness(rule):
    _, _, logits = given_numbers((7, 4, 3))
    random = np.random.default_rng(1)
    calibration = np.stack([random.normal(size=(4, 3)), random.uniform(0.5, 2, size=(4, 3))], axis=2)
    softmax = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    for kept in (None, calibration):
        found = evidence(logits, rule, kept)
        close(np.exp(found.within), softmax)
        assert np.array_equal(found.task, sureness(logits, rule, kept))
    assert not np.array_equal(evidence(logits, rule, None).task, found.task)


# Router


@settings(max_examples=60, deadline=None)
@given(SIZES, st.integers(0, 2**32), st.sampled_from([0.1, 5.0, 300.0]))
def test_all_probabilities_sum_to_one(size, seed, scale):
    scores, offsets, logits = given_numbers(size, seed, scale)
    for found in (router(scores, offsets), both(scores, offsets, logits)):
        assert found.within.shape == size and found.task.shape == size[:2]
        close(np.logaddexp.reduce(found.within, axis=2), 0)
        close(np.logaddexp.reduce(found.task, axis=1), 0)
    close(np.logaddexp.reduce(evidence(logits, "entropy", None).within, axis=2), 0)


def test_the_posterior_of_a_task_is_that_of_its_classes():
    scores, offsets, _ = given_numbers((8, 3, 4))
    joint = np.exp(scores / TEMPERATURE)
    expected = joint.sum(axis=2) / joint.sum(axis=(1, 2))[:, None]
    close(np.exp(router(scores, offsets).task), expected)
    close(np.exp(router(scores, 0 * offsets).task), expected)  # tasks compete without offsets


@settings(max_examples=40, deadline=None)
@given(SIZES, st.integers(0, 2**32))
def test_a_constant_of_an_image_changes_nothing(size, seed):
    scores, offsets, logits = given_numbers(size, seed)
    random = np.random.default_rng(seed + 1)
    louder, shifted = (
        scores + random.normal(size=(size[0], 1, 1)) * 50,
        logits + random.normal(size=(*size[:2], 1)) * 50,
    )
    for one, other in (
        (router(scores, offsets), router(louder, offsets)),
        (both(scores, offsets, logits), both(louder, offsets, shifted)),
    ):
        close(one.within, other.within)
        close(one.task, other.task)


def test_inside_a_task_the_class_furthest_above_its_offset_is_the_routers():
    scores, offsets, _ = given_numbers((50, 3, 4))
    assert np.array_equal(router(scores, offsets).within.argmax(axis=2), (scores - offsets).argmax(axis=2))
    assert not np.array_equal((scores - offsets).argmax(axis=2), scores.argmax(axis=2))
    # An image like the average of the task: all classes alike.
    close(router(offsets[None], offsets).within, -np.log(4))


def test_unlikely_scores_of_any_size_give_finite_evidence():
    scores, offsets, logits = given_numbers((6, 3, 2), scale=1e5)
    for found in (router(scores, offsets), both(scores, offsets, logits)):
        assert np.isfinite(found.within).all() and np.isfinite(found.task).all()


# Both


def test_experts_do_not_choose_the_task():
    scores, offsets, logits = given_numbers((20, 4, 3))
    assert np.array_equal(both(scores, offsets, logits).task, router(scores, offsets).task)
    assert np.array_equal(both(scores, offsets, 100 * logits).task, router(scores, offsets).task)


@settings(max_examples=40, deadline=None)
@given(SIZES, st.integers(0, 2**32))
def test_experts_that_know_nothing_leave_the_routers_answer(size, seed):
    scores, offsets, logits = given_numbers(size, seed)
    flat = np.broadcast_to(logits[:, :, :1], size)
    close(both(scores, offsets, flat).within, router(scores, offsets).within)


def test_a_router_that_knows_nothing_leaves_the_experts_answer():
    _, offsets, logits = given_numbers((50, 4, 3))
    evidence = both(np.broadcast_to(offsets, logits.shape), offsets, logits)
    assert np.array_equal(evidence.within.argmax(axis=2), logits.argmax(axis=2))
    softened = np.exp(EXPERT * logits)
    close(np.exp(evidence.within), softened / softened.sum(axis=2, keepdims=True))


def test_whoever_is_surer_decides_and_the_expert_weighs_as_much_as_is_said():
    offsets = np.zeros((1, 2))
    scores = np.array([[[4 * TEMPERATURE, 0.0]]])  # log-odds of 4 for class 0
    for against, label in ((3.9 / EXPERT, 0), (4.1 / EXPERT, 1)):
        evidence = both(scores, offsets, np.array([[[0.0, against]]]))
        assert evidence.within.argmax() == label
