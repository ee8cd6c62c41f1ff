"""Epochs, rates and decays: the published numbers, and a curve that ends at nothing."""

import pytest

from focil.memo.schedule import schedule


def test_the_paper_s_schedule_has_its_epochs_steps_and_decays():
    first, later = (schedule("paper", task, 0.1, epochs=6) for task in (True, False))
    assert (first.epochs, first.weight_decay, later.epochs, later.weight_decay) == (200, 5e-4, 170, 2e-4)
    for plan, steps in ((first, (60, 120, 170)), (later, (80, 120, 150))):
        for passed, step in enumerate(steps):
            assert plan.rate(step - 0.01) == pytest.approx(0.1 * 0.1**passed) and plan.rate(
                step
            ) == pytest.approx(0.1 * 0.1 ** (passed + 1))
        assert plan.rate(0) == 0.1 and plan.rate(plan.epochs) == pytest.approx(1e-4)


@pytest.mark.parametrize("kind, epochs", [("cosine", (200, 170)), ("cpu", (6, 6))])
def test_a_cosine_falls_from_the_rate_to_nothing(kind, epochs):
    for first, length in zip((True, False), epochs, strict=True):
        plan = schedule(kind, first, 0.4, epochs=6)
        assert plan.epochs == length and plan.weight_decay == (5e-4 if first else 2e-4)
        assert (
            plan.rate(0) == 0.4
            and plan.rate(length / 2) == pytest.approx(0.2)
            and plan.rate(length) == pytest.approx(0, abs=1e-12)
        )
        rates = [plan.rate(length * part / 20) for part in range(21)]
        assert rates == sorted(rates, reverse=True) and len(set(rates)) == 21


def test_only_the_schedules_for_a_cpu_are_shortened():
    kinds = ("paper", "cosine", "cpu", "budget")
    assert [schedule(kind, True, 0.1, epochs=2).epochs for kind in kinds] == [200, 200, 2, 2]


def test_a_budget_rises_in_a_line_for_a_tenth_and_falls_in_a_cosine():
    plan = schedule("budget", False, 0.4, epochs=20)
    assert plan.nesterov and (plan.warm_up, plan.weight_decay) == (2.0, 2e-4)
    assert [plan.rate(epoch) for epoch in (0, 1, 2)] == pytest.approx([0, 0.2, 0.4])
    assert plan.rate(11) == pytest.approx(0.2) and plan.rate(20) == pytest.approx(0, abs=1e-12)
    assert not any(schedule(kind, True, 0.1, epochs=2).nesterov for kind in ("paper", "cosine", "cpu"))
