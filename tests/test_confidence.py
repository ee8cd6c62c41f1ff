"""Confidence: three rules with known answers, and a calibration that takes each expert's own scale away."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from focil.confidence import RULES, calibrate, confidence, sureness

logits = hnp.arrays(
    np.float64,
    st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(2, 5)),
    elements=st.floats(-30, 30),
)
TOLERANCE = {"rtol": 1e-9, "atol": 1e-9}  # a few float64 roundings of numbers below 100


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


# The rules


@pytest.mark.parametrize(
    "rule, values, expected",
    [
        ("softmax", [0.0, 0.0], 1 / 2),
        ("softmax", [3.0, 3.0, 3.0, 3.0], 1 / 4),
        ("softmax", [np.log(3), 0.0], 3 / 4),
        ("entropy", [0.0, 0.0], -np.log(2)),
        ("entropy", [7.0] * 5, -np.log(5)),
        ("entropy", [np.log(3), 0.0], 0.75 * np.log(0.75) + 0.25 * np.log(0.25)),
        ("energy", [0.0, 0.0], np.log(2)),
        ("energy", [2.0] * 4, 2 + np.log(4)),
        ("energy", [np.log(3), np.log(5)], np.log(8)),
    ],
)
def test_rules_by_hand(rule, values, expected):
    assert confidence(np.array([[values]]), rule) == pytest.approx(np.array([[expected]]))


@pytest.mark.parametrize("rule", RULES)
def test_each_image_and_expert_is_judged_alone(rule):
    many = normal(6, 3, 4)
    found = confidence(many, rule)
    assert found.shape == (6, 3)
    for i in range(6):
        for e in range(3):
            np.testing.assert_allclose(
                found[i, e], confidence(many[i : i + 1, e : e + 1], rule)[0, 0], **TOLERANCE
            )


@settings(max_examples=60, deadline=None)
@given(logits)
def test_ranges(many):
    classes = many.shape[2]
    softmax, entropy, energy = (confidence(many, rule) for rule in RULES)
    assert (softmax >= 1 / classes - 1e-9).all() and (softmax <= 1 + 1e-9).all()
    assert (entropy >= -np.log(classes) - 1e-9).all() and (entropy <= 1e-9).all()
    assert (energy >= many.max(2) - 1e-9).all() and (energy <= many.max(2) + np.log(classes) + 1e-9).all()


@settings(max_examples=60, deadline=None)
@given(logits, st.floats(-20, 20))
def test_a_shift_of_all_logits_moves_energy_only(many, shift):
    for rule, moved in zip(RULES, (0, 0, shift), strict=True):
        np.testing.assert_allclose(
            confidence(many + shift, rule), confidence(many, rule) + moved, **TOLERANCE
        )


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.float64, (12, 1, 2), elements=st.integers(-8, 8).map(float)))
def test_two_classes_are_ranked_alike_by_softmax_and_entropy(many):
    # Gaps of whole numbers: equal ones tie, others differ by far more than rounding.
    gaps = np.abs(many[:, 0, 0] - many[:, 0, 1])
    for rule in ("softmax", "entropy"):
        found = confidence(many, rule)[:, 0]
        larger = gaps[:, None] > gaps[None, :]
        assert (found[:, None] > found[None, :])[larger].all()
        equal = gaps[:, None] == gaps[None, :]
        assert np.abs(found[:, None] - found[None, :])[equal].max() < 1e-12


def test_three_classes_can_be_ranked_differently_by_softmax_and_entropy():
    probabilities = np.array([[[0.5, 0.5 - 1e-9, 1e-9], [0.52, 0.24, 0.24]]])
    assert confidence(np.log(probabilities), "softmax").argmax() == 1
    assert confidence(np.log(probabilities), "entropy").argmax() == 0


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_huge_logits_neither_overflow_nor_turn_into_nan(rule, kind):
    found = confidence(np.array([[[1e4, -1e4], [1e4, 1e4], [-1e4, -1e4]]], dtype=kind), rule)
    assert np.isfinite(found).all()
    if rule != "energy":
        assert found[0, 0] > found[0, 1]
        assert found[0, 1] == pytest.approx(found[0, 2])


# Calibration


def test_calibration_is_mean_and_spread_of_every_rule():
    own = normal(50, 4)
    kept = calibrate(own)
    assert kept.shape == (len(RULES), 2)
    for row, rule in zip(kept, RULES, strict=True):
        values = confidence(own[:, None], rule)
        np.testing.assert_allclose(row, [values.mean(), values.std()], **TOLERANCE)


@pytest.mark.parametrize("rule", RULES)
def test_an_expert_is_standard_normal_on_its_own_images(rule):
    own = normal(80, 3)
    found = sureness(own[:, None], rule, calibrate(own)[None])
    assert abs(found.mean()) < 1e-9 and abs(found.std() - 1) < 1e-9


def test_without_calibration_sureness_is_confidence():
    many = normal(5, 2, 3)
    for rule in RULES:
        assert np.array_equal(sureness(many, rule), confidence(many, rule))


@pytest.mark.parametrize("a, b", [(5.0, 1.0), (0.0, 40.0), (-3.0, 0.1)])
def test_a_louder_or_shifted_confidence_is_calibrated_away(a, b):
    # With one class, energy is the logit itself, so a + b logit is an affine change of the confidence. (For
    # more classes, and
    # for softmax and entropy, no change of the logits has that effect, except the constant below.)
    many, own = normal(30, 2, 1), normal(60, 2, 1, seed=1)
    before = sureness(many, "energy", np.stack([calibrate(own[:, e]) for e in range(2)]))
    many[:, 1], own[:, 1] = a + b * many[:, 1], a + b * own[:, 1]
    after = sureness(many, "energy", np.stack([calibrate(own[:, e]) for e in range(2)]))
    np.testing.assert_allclose(after, before, rtol=1e-6, atol=1e-6)  # differences of numbers up to 100


@pytest.mark.parametrize("rule", RULES)
def test_a_constant_on_one_experts_logits_changes_nothing_once_calibrated(rule):
    many, own = normal(30, 2, 3), normal(60, 2, 3, seed=1)
    shift = np.array([0.0, 25.0])[None, :, None]

    def calibrated(many, own):
        return sureness(many, rule, np.stack([calibrate(own[:, e]) for e in range(2)]))

    np.testing.assert_allclose(
        calibrated(many + shift, own + shift), calibrated(many, own), rtol=1e-6, atol=1e-6
    )


def test_energy_without_calibration_lets_a_loud_expert_win():
    many = normal(200, 2, 3)
    loud = many + np.array([0.0, 25.0])[None, :, None]
    kept = np.stack([calibrate(loud[:, e]) for e in range(2)])
    assert (sureness(loud, "energy").argmax(1) == 1).all()
    share = (sureness(loud, "energy", kept).argmax(1) == 1).mean()
    assert 0.3 < share < 0.7  # a fair coin of 200 throws is there but for 5 standard deviations


def test_an_expert_that_is_always_equally_sure_does_not_divide_by_zero():
    kept = calibrate(np.zeros((16, 2)))  # powers of two: the spread is exactly 0
    assert (kept[:, 1] > 0).all()
    for rule in RULES:
        assert np.isfinite(sureness(normal(4, 1, 2), rule, kept[None])).all()


def test_every_expert_uses_its_own_calibration():
    many = np.repeat(normal(4, 1, 3), 2, axis=1)
    kept = np.stack([np.tile([0.0, 1.0], (3, 1)), np.tile([10.0, 2.0], (3, 1))])
    found = sureness(many, "energy", kept)
    np.testing.assert_allclose(found[:, 1], (found[:, 0] - 10) / 2, **TOLERANCE)
