"""Masks: ERK's exact counts, capacity that lasts until the last task, and a ledger that can be rebuilt
from its records."""

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from focil.backbones import ResNet18, masked_shapes
from focil.base.errors import FocilError
from focil.masks import FREE, Ledger, Mask, MaskMismatch, erk_counts, erk_densities

MLP = {"layers.0.weight": (300, 784), "layers.1.weight": (100, 300)}
SMALL = {"stem": (8, 3, 3, 3), "conv": (16, 8, 3, 3), "shortcut": (16, 8, 1, 1), "deep": (32, 16, 3, 3)}

shapes = st.lists(st.lists(st.integers(1, 12), min_size=2, max_size=4).map(tuple), min_size=1, max_size=6)
densities = st.floats(0.001, 1.0)


def sizes(of):
    return np.array([np.prod(shape) for shape in of])


def ledger_of(tasks, density, of=SMALL, seed=0, allocation="planned"):
    ledger = Ledger(of, tasks, seed, allocation)
    for task in range(tasks):
        ledger.claim(
            ledger.draw(density[task % len(density)] if isinstance(density, (list, tuple)) else density)
        )
    return ledger


@cache
def resnet18(shrink=1):
    with torch.device("meta"):  # shapes only
        full = masked_shapes(ResNet18((3, 32, 32)))
    return {name: (s[0] // shrink, s[1] if s[1] == 3 else s[1] // shrink, *s[2:]) for name, s in full.items()}


# ERK


@settings(max_examples=150, deadline=None)
@given(shapes, densities)
def test_densities_are_one_eps_times_the_raw_rule_cut_at_one(of, density):
    found = np.array(erk_densities(of, density))
    assert (found > 0).all() and (found <= 1).all()
    assert (found * sizes(of)).sum() == pytest.approx(density * sizes(of).sum(), rel=1e-9)
    raw = np.array([sum(shape) for shape in of]) / sizes(of)
    eps = (found / raw)[found < 1]
    if len(eps):
        assert eps == pytest.approx(eps.max(), rel=1e-9)  # the same eps for every layer that is not dense
        assert (raw[found == 1] * eps.max() >= 1 - 1e-9).all()  # and dense only where that eps asks for it


@settings(max_examples=150, deadline=None)
@given(shapes, densities)
def test_counts_are_exact(of, density):
    counts = np.array(erk_counts(of, density))
    quotas = np.array(erk_densities(of, density)) * sizes(of)
    assert counts.sum() == round(density * int(sizes(of).sum()))
    assert (counts >= 0).all() and (counts <= sizes(of)).all()
    assert (
        np.abs(counts - quotas) < 1 + 1e-6
    ).all()  # a remainder moves one connection at most; 1e-6: rounding of quotas


def test_a_dense_layer_gives_its_excess_to_the_others():
    of = [(2, 2), (10, 100), (20, 100)]
    found = erk_densities(of, 0.1)
    assert found[0] == 1
    assert found[1] / found[2] == pytest.approx((110 / 1000) / (120 / 2000))
    assert 4 + 1000 * found[1] + 2000 * found[2] == pytest.approx(0.1 * 3004)


def test_everything_is_dense_at_density_one():
    assert erk_densities(list(SMALL.values()), 1.0) == [1.0] * len(SMALL)
    assert erk_counts(list(SMALL.values()), 1.0) == sizes(SMALL.values()).tolist()


def test_the_stem_and_shortcuts_of_resnet18_are_nearly_dense():
    # METHOD §1.1: between 0.55 and 1 from a density of 0.05 on, hence used up soon unless capacity is
    # planned.
    for density in (0.05, 0.10):
        found = dict(zip(resnet18(), erk_densities(list(resnet18().values()), density), strict=True))
        assert found["stem.0.weight"] >= 0.55 and found["stages.1.0.shortcut.0.weight"] >= 0.55
        assert found["stages.3.1.conv2.weight"] < density


@pytest.mark.parametrize("density", [0, -0.1, 1.0001, float("nan")])
def test_a_density_outside_its_range_is_explained(density):
    with pytest.raises(ValueError, match="density = 1 - sparsity"):
        erk_densities([(2, 2)], density)


def test_a_backbone_without_layers_is_explained():
    with pytest.raises(ValueError, match="no layer to mask"):
        erk_counts([], 0.1)


# Drawing


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(2, 9), st.integers(2, 9)), min_size=1, max_size=4),
    st.lists(st.floats(0.05, 0.9), min_size=1, max_size=6),
    st.integers(0, 2**32),
    st.sampled_from(["planned", "independent"]),
)
def test_who_owns_what(of, wanted, seed, allocation):
    of = {f"layer {i}": shape for i, shape in enumerate(of)}
    assume(min(wanted) * sizes(of.values()).sum() >= len(wanted))  # a mask of at least one connection
    ledger = Ledger(of, len(wanted), seed, allocation)
    owned = {name: set() for name in of}
    for task, density in enumerate(wanted):
        mask = ledger.draw(density)
        counts = dict(zip(of, erk_counts(list(of.values()), density), strict=True))
        for name in of:
            new, reused = (set(part[name].tolist()) for part in (mask.new, mask.reused))
            assert not new & owned[name] and reused <= owned[name]
            positions = mask.positions(name)
            for part in (mask.new[name], mask.reused[name], positions):
                assert part.dtype == np.int64 and (np.diff(part) > 0).all()  # sorted, none twice
            assert set(positions.tolist()) == new | reused and positions.size <= counts[name]
            size = int(np.prod(of[name]))
            if allocation == "independent":
                assert positions.size == counts[name]
            else:
                assert len(new) >= min(
                    counts[name], size // len(wanted)
                )  # an equal part of the layer at least
                # short of its count only if it uses every connection of the older tasks
                assert positions.size == counts[name] or reused == owned[name]
            owned[name] |= new
        ledger.claim(mask)
        assert all((ledger.owner[name] == task).sum() == len(mask.new[name]) for name in of)
    assert all(set(np.flatnonzero(ledger.owner[name] != FREE).tolist()) == owned[name] for name in of)


def test_new_connections_of_different_tasks_are_disjoint():
    ledger = ledger_of(6, 0.3)
    for name in SMALL:
        new = np.concatenate([mask.new[name] for mask in ledger.claimed])
        assert len(np.unique(new)) == len(new)


@pytest.mark.parametrize("allocation", ["planned", "independent"])
def test_masks_of_several_densities_for_one_task_are_nested(allocation):
    ledger = Ledger(MLP, 5, 3, allocation)
    for _ in range(5):
        masks = [ledger.draw(density) for density in (0.02, 0.04, 0.06, 0.08, 0.10)]
        for sparse, dense in zip(masks, masks[1:], strict=False):
            assert sparse.size < dense.size
            for name in MLP:
                assert set(sparse.new[name]) <= set(dense.new[name])
                assert set(sparse.positions(name)) <= set(dense.positions(name))
        ledger.claim(masks[2])


def test_masks_are_random_in_every_task_and_seed():
    first, other = Ledger(SMALL, 4, 0), Ledger(SMALL, 4, 1)
    assert first.draw(0.1).sha256 == Ledger(SMALL, 4, 0).draw(0.1).sha256
    assert first.draw(0.1).sha256 != other.draw(0.1).sha256
    independent = ledger_of(2, 0.3, allocation="independent").claimed
    shared = len(np.intersect1d(independent[0].positions("deep"), independent[1].positions("deep")))
    count, size = len(independent[0].positions("deep")), 32 * 16 * 9
    expected = count**2 / size
    assert abs(shared - expected) < 5 * np.sqrt(expected)  # hypergeometric: its spread is below Poisson's


# Capacity: the last task still has connections to train


def planned_share(of, density, tasks):
    """METHOD §1.2: min(d, 1/T) of every layer free, the rest re-used."""
    found, count = np.array(erk_densities(list(of.values()), density)), sizes(of.values())
    return (np.minimum(found, 1 / tasks) * count).sum() / (found * count).sum()


BAR = [
    (20, 0.02, 0.84),
    (20, 0.05, 0.70),
    (20, 0.10, 0.50),
    (100, 0.02, 0.50),
    (100, 0.05, 0.20),
    (100, 0.10, 0.10),
]


@pytest.mark.parametrize("tasks, density, share", BAR)
def test_the_planned_share_of_resnet18_is_the_computed_one(tasks, density, share):
    assert planned_share(resnet18(), density, tasks) == pytest.approx(share, abs=0.006)  # given to two digits


def test_the_last_of_20_tasks_on_resnet18_still_trains():
    ledger = ledger_of(20, 0.05, resnet18())
    assert ledger.claimed[-1].trainable_share >= 0.9 * 0.70
    assert ledger.claimed[0].trainable_share == 1


@pytest.mark.parametrize("tasks, density, share", BAR)
def test_the_last_task_still_trains_with_an_eighth_of_the_channels(tasks, density, share):
    of = resnet18(shrink=8)
    ledger = ledger_of(tasks, density, of)
    assert ledger.claimed[-1].trainable_share >= 0.9 * planned_share(of, density, tasks)
    assert ledger.claimed[-1].trainable_share >= 0.9 * share


def independent_share(of, density, tasks):
    """What T - 1 blind masks leave free of another one: (1 - d)^(T - 1) of every layer."""
    found, count = np.array(erk_densities(list(of.values()), density)), sizes(of.values())
    return ((1 - found) ** (tasks - 1) * found * count).sum() / (found * count).sum()


STARVED = [
    (20, 0.02, 0.54),
    (20, 0.05, 0.32),
    (20, 0.10, 0.15),
    (100, 0.02, 0.15),
    (100, 0.05, 0.02),
    (100, 0.10, 0.001),
]


@pytest.mark.parametrize("tasks, density, share", STARVED)
def test_independent_masks_starve_late_tasks(tasks, density, share):
    assert independent_share(resnet18(), density, tasks) == pytest.approx(
        share, abs=0.006
    )  # METHOD §1.2, two digits
    if tasks == 20:
        of = resnet18(shrink=8)
        mask = ledger_of(tasks, density, of, allocation="independent").claimed[-1]
        expected = independent_share(of, density, tasks)
        assert abs(mask.trainable_share - expected) < 5 * np.sqrt(expected / mask.size)  # 5 standard errors
        assert mask.trainable_share < 0.7 * planned_share(of, density, tasks)


# The ledger


def test_a_ledger_is_rebuilt_from_its_records():
    ledger = ledger_of(5, [0.1, 0.02, 0.3])
    records = json.loads(json.dumps(ledger.records()))
    assert len(json.dumps(records)) < 5 * 120  # a few bytes a task
    again = Ledger(SMALL, 5, 0)
    again.restore(records)
    assert [mask.sha256 for mask in again.claimed] == [mask.sha256 for mask in ledger.claimed]
    assert all(np.array_equal(again.owner[name], ledger.owner[name]) for name in SMALL)


def test_a_ledger_that_goes_on_after_a_restore_draws_the_same():
    whole, half = ledger_of(5, 0.1), Ledger(SMALL, 5, 0)
    half.restore(whole.records()[:3])
    for task in (3, 4):
        half.draw(0.02)  # a candidate that is not taken leaves no trace
        half.claim(half.draw(0.1))
        assert half.claimed[task].sha256 == whole.claimed[task].sha256


@pytest.mark.parametrize(
    "tasks, seed, of, allocation",
    [
        (5, 1, SMALL, "planned"),
        (6, 0, SMALL, "planned"),
        (5, 0, SMALL, "independent"),
        (5, 0, SMALL | {"deep": (32, 17, 3, 3)}, "planned"),
        (5, 0, {f"{name}.weight": shape for name, shape in SMALL.items()}, "planned"),
    ],
)
def test_another_seed_or_backbone_is_refused(tasks, seed, of, allocation):
    with pytest.raises(MaskMismatch, match="another seed or backbone"):
        Ledger(of, tasks, seed, allocation).restore(ledger_of(5, 0.1).records())
    assert issubclass(MaskMismatch, FocilError)


@pytest.mark.parametrize("change", [{"density": 0.11}, {"sha256": "0" * 64}])
def test_an_altered_record_is_refused(change):
    records = ledger_of(3, 0.1).records()
    records[1] |= change
    with pytest.raises(MaskMismatch, match="mask of task 1"):
        Ledger(SMALL, 3, 0).restore(records)


def test_the_hash_sees_every_position_and_who_owns_it():
    mask = ledger_of(2, 0.3).claimed[1]
    moved = mask.new["deep"].copy()
    moved[0] += 1 if moved[1] > moved[0] + 1 else -1
    swapped = replace(mask, new=mask.reused, reused=mask.new)
    others = [replace(mask, new=mask.new | {"deep": moved}), replace(mask, task=0), swapped]
    assert len({mask.sha256, *(other.sha256 for other in others)}) == 4


def test_a_claim_out_of_turn_is_refused():
    ledger = Ledger(SMALL, 3, 0)
    mask = ledger.draw(0.1)
    for wrong in (1, 2):
        with pytest.raises(ValueError, match=f"task {wrong} claims out of turn; task 0 is next"):
            ledger.claim(replace(mask, task=wrong))
    ledger.claim(mask)
    with pytest.raises(ValueError, match="out of turn"):
        ledger.claim(mask)


def claim_of_owned_connections(layer):
    """A ledger after one task, and a second mask that claims the first one's connections in one layer."""
    ledger = ledger_of(1, 0.1)
    ledger.tasks = 2
    taken = ledger.claimed[0].new[layer]
    free = {name: np.flatnonzero(ledger.owner[name] == FREE)[:5] for name in SMALL}
    nothing = {name: np.empty(0, dtype=np.int64) for name in SMALL}
    return ledger, Mask(1, 0.1, free | {layer: taken}, nothing)


@pytest.mark.parametrize("layer", SMALL)
def test_a_claim_of_owned_connections_is_refused(layer):
    ledger, mask = claim_of_owned_connections(layer)
    with pytest.raises(ValueError, match=f"layer {layer} that an older task owns"):
        ledger.claim(mask)
    assert len(ledger.claimed) == 1


def test_a_refused_claim_changes_nothing():
    ledger, mask = claim_of_owned_connections("deep")
    with pytest.raises(ValueError):
        ledger.claim(mask)
    assert not any((ledger.owner[name] == 1).any() for name in SMALL)


def test_more_tasks_than_planned_are_refused():
    ledger = ledger_of(3, 0.1)
    with pytest.raises(ValueError, match="planned for 3 tasks"):
        ledger.draw(0.1)


@pytest.mark.parametrize("tasks, density", [(3, 0.001), (30, 0.5)])
def test_a_mask_without_connections_is_explained(tasks, density):
    with pytest.raises(ValueError):
        assert Ledger({"layer": (4, 4)}, tasks, 0).draw(density).trainable_share


@pytest.mark.parametrize("allocation", ["planned", "independent"])
def test_occupancy_adds_up(allocation):
    ledger = ledger_of(6, [0.3, 0.1, 0.2], allocation=allocation)
    rows = ledger.occupancy()
    assert len(rows) == 6
    for task, (row, mask) in enumerate(zip(rows, ledger.claimed, strict=True)):
        assert sum(row["owned"].values()) + sum(row["reused"].values()) == mask.size
        assert row["trainable_share"] == sum(row["owned"].values()) / mask.size
        for name, shape in SMALL.items():
            assert row["free"][name] + sum(earlier["owned"][name] for earlier in rows[: task + 1]) == np.prod(
                shape
            )
            assert row["owned"][name] + row["reused"][name] == len(mask.positions(name))
    assert rows[0]["reused"] == dict.fromkeys(SMALL, 0)
    assert rows[-1]["free"] == {name: int((ledger.owner[name] == FREE).sum()) for name in SMALL}
    json.dumps(rows)  # goes into result.json
