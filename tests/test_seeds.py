"""Seeds: every purpose has numbers of its own, they never change, and nobody's global generator is
touched."""

import itertools

import numpy as np
import pytest
import torch

from focil import backbones
from focil.base import seeds
from focil.masks import Ledger

# Regenerating a mask years later depends on these exact words: they may never change.
PINNED = [
    ((0, "masks"), [662607145970712021, 11920075529343725231, 8339034125591497540]),
    ((0, "masks", 0, 0), [4358349255846412111, 15015727897095841355, 15022763492322981978]),
    ((7, "masks", 3, 1), [3814797988604602008, 13765351714517529640, 3933012493464356806]),
    ((2**40, "class order"), [14723546544845942856, 12806708593118390992, 13320992543568882221]),
]


@pytest.mark.parametrize("stream, words", PINNED)
def test_raw_words_are_promised_for_ever(stream, words):
    bits = seeds.raw_bits(*stream, count=3)
    assert bits.dtype == np.uint64
    assert bits.tolist() == words


def test_the_order_of_purposes_is_promised_for_ever():
    published = (
        "class order",
        "sample order",
        "initial weights",
        "head",
        "masks",
        "augmentation",
        "batch groups",
    )
    assert seeds.PURPOSES[: len(published)] == published


def test_more_words_only_continue_the_same_stream():
    assert (
        seeds.raw_bits(3, "masks", 1, count=50)[:20].tolist()
        == seeds.raw_bits(3, "masks", 1, count=20).tolist()
    )


def test_no_two_streams_begin_alike():
    keys = [(), (0,), (0, 0), (1,), (0, 1), (1, 0), (99, 19)]
    streams = list(itertools.product((0, 1, 2**32, 2**64), seeds.PURPOSES, keys))
    assert len(
        {seeds.raw_bits(seed, purpose, *key, count=1).item() for seed, purpose, key in streams}
    ) == len(streams)
    assert len({seeds.torch_seed(seed, purpose, *key) for seed, purpose, key in streams}) == len(streams)


def test_purposes_are_uncorrelated():
    count = 20_000
    words = np.stack([seeds.raw_bits(5, purpose, count=count) for purpose in seeds.PURPOSES]) / 2.0**64
    off_diagonal = np.corrcoef(words) - np.eye(len(words))
    assert np.abs(off_diagonal).max() < 5 / np.sqrt(count)  # 5 standard errors, 21 pairs


def test_generators_repeat_and_differ_by_purpose():
    def draws(purpose):
        numbers = seeds.numpy_generator(9, purpose), seeds.torch_generator(9, purpose)
        return numbers[0].permutation(100).tolist(), torch.rand(9, generator=numbers[1]).tolist()

    assert draws("masks") == draws("masks")
    assert all(one != other for one, other in zip(draws("masks"), draws("head"), strict=True))


def test_torch_seeds_fit_into_63_bits():
    values = [seeds.torch_seed(seed, "head", seed) for seed in range(200)]
    assert min(values) >= 0 and max(values) < 2**63
    assert max(values) > 2**62  # all 63 bits are used


def test_an_unknown_purpose_is_refused():
    with pytest.raises(ValueError):
        seeds.raw_bits(0, "mask", count=1)


def test_global_generators_are_left_alone():
    torch.manual_seed(11)
    np.random.seed(11)
    before = torch.get_rng_state(), np.random.get_state()[1]
    for purpose in seeds.PURPOSES:
        seeds.numpy_generator(0, purpose).random()
        torch.rand(3, generator=seeds.torch_generator(0, purpose))
        seeds.raw_bits(0, purpose, count=3)
    backbones.build("mlp", (1, 8, 8), 0)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])


# The trap: masks that share the initial weights' numbers keep the most negative weights


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("allocation", ["planned", "independent"])
def test_masks_know_nothing_of_the_initial_weights(seed, allocation):
    module = backbones.build("mlp", (1, 28, 28), seed)
    weights = {name: p.detach().flatten().double().numpy() for name, p in module.named_parameters()}
    ledger = Ledger(backbones.masked_shapes(module), 5, seed, allocation)
    for _ in range(5):
        mask = ledger.draw(0.1)
        ledger.claim(mask)
        for name, values in weights.items():
            inside = np.zeros(values.size)
            inside[mask.positions(name)] = 1
            kept = values[inside == 1] / values.std()  # mean 0, variance 1 if drawn blindly
            assert abs(kept.mean()) < 5 / np.sqrt(len(kept))
            assert abs(np.corrcoef(inside, values)[0, 1]) < 5 / np.sqrt(values.size)


def test_the_trap_would_be_noticed():
    weights = next(backbones.build("mlp", (1, 28, 28), 0).parameters()).flatten().double()
    trapped = weights.sort().values[: len(weights) // 10]  # what `rand < 0.1` from the same numbers keeps
    assert trapped.mean() / weights.std() < -1.5  # hundreds of standard errors away
