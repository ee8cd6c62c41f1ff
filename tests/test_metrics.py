"""Metrics, on a matrix written by hand that tells rival definitions apart."""

import numpy as np
import pytest
from scipy import stats

from focil.evaluation.metrics import (
    average_incremental,
    backward_transfer,
    final_average,
    forgetting,
    mean_interval,
)

NAN = np.nan
# Task 0 is best in the middle, task 1 at the end: each rival definition of forgetting gives another number.
MATRIX = np.array(
    [
        [0.6, NAN, NAN],
        [0.9, 0.8, NAN],
        [0.7, 0.9, 1.0],
    ]
)
ONE = np.array([[0.75]])


def test_final_average_is_the_last_row():
    assert final_average(MATRIX) == pytest.approx((0.7 + 0.9 + 1.0) / 3)
    assert final_average(ONE) == 0.75


def test_average_incremental_weighs_tasks_by_their_test_images():
    equal = (0.6 + (0.9 + 0.8) / 2 + (0.7 + 0.9 + 1.0) / 3) / 3
    assert average_incremental(MATRIX, [10, 10, 10]) == pytest.approx(equal)
    unequal = (0.6 + (0.9 * 10 + 0.8 * 90) / 100 + (0.7 * 10 + 0.9 * 90 + 1.0 * 100) / 200) / 3
    assert average_incremental(MATRIX, [10, 90, 100]) == pytest.approx(unequal)
    assert abs(equal - unequal) > 0.005
    assert average_incremental(ONE, [7]) == 0.75


def test_average_incremental_is_not_final_average():
    assert abs(average_incremental(MATRIX, [10, 10, 10]) - final_average(MATRIX)) > 0.05


def test_backward_transfer_compares_with_the_first_time():
    assert backward_transfer(MATRIX) == pytest.approx(((0.7 - 0.6) + (0.9 - 0.8)) / 2)


def test_forgetting_is_ours_and_not_its_rivals():
    ours = ((0.9 - 0.7) + (0.8 - 0.9)) / 2
    best_of_all_rows = ((0.9 - 0.7) + (0.9 - 0.9)) / 2
    since_the_first_time = ((0.6 - 0.7) + (0.8 - 0.9)) / 2
    assert len({round(value, 6) for value in (ours, best_of_all_rows, since_the_first_time)}) == 3
    assert forgetting(MATRIX) == pytest.approx(ours)


def test_forgetting_may_be_negative():
    improving = np.array([[0.5, NAN], [0.8, 0.9]])
    assert forgetting(improving) == pytest.approx(-0.3)
    assert backward_transfer(improving) == pytest.approx(0.3)


def test_nothing_forgotten_is_exactly_zero():
    columns = np.random.default_rng(0).random(6)
    frozen = np.where(np.tri(6, dtype=bool), columns, NAN)
    assert forgetting(frozen) == 0 and backward_transfer(frozen) == 0


def test_a_single_task_has_nothing_to_forget():
    assert forgetting(ONE) is None and backward_transfer(ONE) is None


def test_the_upper_triangle_is_never_read():
    filled = np.where(np.isnan(MATRIX), -100.0, MATRIX)
    for measure in (
        final_average,
        backward_transfer,
        forgetting,
        lambda m: average_incremental(m, [1, 2, 3]),
    ):
        assert measure(MATRIX) == measure(filled)
        assert np.isfinite(measure(MATRIX)) and isinstance(measure(MATRIX), float)


# Several seeds


def test_the_interval_of_three_seeds_by_hand():
    mean, half = mean_interval([1.0, 2.0, 3.0])  # standard deviation 1, n = 3
    assert mean == 2.0
    assert half == pytest.approx(
        4.302652729911275 / np.sqrt(3), rel=1e-9
    )  # t table: 0.975, two degrees of freedom


def test_the_interval_agrees_with_scipy():
    values = np.random.default_rng(0).normal(size=7)
    mean, half = mean_interval(values.tolist())
    low, high = stats.t.interval(0.95, 6, loc=values.mean(), scale=stats.sem(values))
    assert (mean - half, mean + half) == (pytest.approx(low), pytest.approx(high))


def test_one_seed_has_a_mean_but_no_interval():
    assert mean_interval([0.4]) == (0.4, None)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    random = np.random.default_rng(0)
    covered = []
    for _ in range(1000):
        mean, half = mean_interval(random.normal(size=3))
        covered.append(abs(mean) <= half)
    assert abs(np.mean(covered) - 0.95) < 5 * np.sqrt(0.95 * 0.05 / 1000)  # 5 standard errors
