"""A plan's counts are the ledger's, without its masks."""

import numpy as np
import pytest

from focil import backbones
from focil.masks import Ledger, erk_counts
from focil.reports.explorer import planning

DIGITS = ("mlp", (1, 8, 8))


def ledger_capacity(network, tasks, sparsity, allocation, seed):
    ledger = Ledger(backbones.masked_shapes(backbones.build(*network, 0)), tasks, seed, allocation)
    for _ in range(tasks):
        ledger.claim(ledger.draw(1 - sparsity))
    return ledger.occupancy()


@pytest.mark.parametrize(
    ("tasks", "sparsity"), [(1, 0.9), (2, 0.5), (5, 0.94), (20, 0.9), (100, 0.98), (7, 0.3), (100, 0.01)]
)
def test_planned_counts_are_the_ledger_s_to_the_connection(tasks, sparsity):
    planned = planning.plan(*DIGITS, tasks, sparsity, "planned", 0)["capacity"]
    assert planned == ledger_capacity(DIGITS, tasks, sparsity, "planned", 3)


def test_planned_counts_are_the_ledger_s_on_convolutions_too():
    network = ("resnet18", (3, 32, 32))
    planned = planning.plan(*network, 2, 0.94, "planned", 0)["capacity"]
    assert planned == ledger_capacity(network, 2, 0.94, "planned", 0)


def test_independent_counts_follow_the_ledger_s_distribution():
    plans = [planning.plan(*DIGITS, 5, 0.8, "independent", seed)["capacity"] for seed in range(200)]
    ledgers = [ledger_capacity(DIGITS, 5, 0.8, "independent", seed) for seed in range(20)]
    many, drawn = (
        [capacity[-1]["owned"]["layers.0.weight"] for capacity in found] for found in (plans, ledgers)
    )
    assert abs(np.mean(drawn) - np.mean(many)) < 5 * np.std(many) / np.sqrt(20)
    assert 0.5 < np.std(drawn) / np.std(many) < 2


@pytest.mark.parametrize("allocation", ["planned", "independent"])
def test_every_mask_has_its_size_and_nothing_is_lost(allocation):
    planned = planning.plan(*DIGITS, 10, 0.8, allocation, 1)
    free = dict(planned["sizes"])
    for row in planned["capacity"]:
        free = {name: free[name] - row["owned"][name] for name in free}
        assert row["free"] == free and min(free.values()) >= 0
        if allocation == "independent":
            size = sum(row["owned"].values()) + sum(row["reused"].values())
            assert size == sum(erk_counts([(300, 64), (100, 300)], 1 - 0.8))


def test_memory_is_counted_in_bytes():
    memory = planning.plan(*DIGITS, 5, 0.94, "planned", 0)["memory_bytes"]
    assert memory == {
        "backbone": 4 * 49_200,
        "masks_regenerated": 200,
        "masks_packed": 5 * 6_150,
        "masks_float32": 5 * 4 * 49_200,
        "statistics": 0,
    }


def test_a_sparsity_of_one_is_refused_in_words():
    with pytest.raises(ValueError, match="outside"):
        planning.plan(*DIGITS, 5, 1.0, "planned", 0)
