"""By depth: what is noted of gradients and shifts, counted by hand, and CKA by its definition."""

import io

import pytest
import torch
from torch import nn

from focil.memo.layers import Watch, cka, cka_matrix, gram


def gaussian(count, size, seed):
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed))


def similarity(one, other):
    """Linear CKA from features, not from inner products of images (Kornblith et al., equation 4 and the
    line below it)."""
    x, y = (features.double() - features.double().mean(0) for features in (one, other))
    return float((y.T @ x).norm() ** 2 / ((x.T @ x).norm() * (y.T @ y).norm()))


# CKA


def test_cka_is_1_with_itself_and_up_to_rotation_scale_and_shift():
    x = gaussian(80, 6, 0)
    rotation = torch.linalg.qr(gaussian(6, 6, 1).double()).Q.float()
    for other in (
        x,
        x @ rotation,
        7 * x,
        -x,
        x + torch.arange(6),
        x[:, [3, 1, 2, 0, 5, 4]],
        torch.cat([x, torch.zeros(80, 4)], 1),
    ):
        assert cka(gram(x), gram(other)) == pytest.approx(1, abs=1e-5)
    assert (
        cka(gram(x), gram(x * torch.tensor([1, 1, 1, 1, 1, 30]))) < 0.9
    )  # it does see how axes are stretched


def test_cka_is_low_for_what_has_nothing_in_common():
    assert cka(gram(gaussian(2000, 4, 0)), gram(gaussian(2000, 4, 1))) < 0.01


def test_cka_of_inner_products_is_that_of_features():
    shared = gaussian(50, 3, 2)
    x, y = torch.cat([shared, gaussian(50, 2, 3)], 1), torch.cat([shared, gaussian(50, 5, 4)], 1)
    assert 0.2 < similarity(x, y) < 0.95 and cka(gram(x), gram(y)) == pytest.approx(
        similarity(x, y), abs=1e-5
    )  # gram rounds to float32


def test_maps_are_compared_whole():
    maps = gaussian(10, 24, 5)
    assert torch.equal(gram(maps.reshape(10, 2, 3, 4)), gram(maps)) and gram(maps).shape == (10, 10)
    torch.testing.assert_close(gram(maps).sum(0), torch.zeros(10), atol=1e-4, rtol=0)  # centred


def test_the_matrix_is_that_of_every_two():
    grams = [gram(gaussian(40, 3, seed)) for seed in range(3)]
    found = cka_matrix(iter(grams))
    assert [[found[i][j] == pytest.approx(cka(grams[i], grams[j])) for j in range(3)] for i in range(3)] == [
        [True] * 3
    ] * 3
    assert all(
        found[i][i] == pytest.approx(1, abs=1e-6) and found[i][j] == pytest.approx(found[j][i])
        for i in range(3)
        for j in range(3)
    )


# Gradients and shifts


class Slopes(nn.Module):
    """Weights whose gradient is 1 each, whatever they are: the loss is their sum."""

    def __init__(self, count):
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(count))


def watched(epochs, factors, blocks, watch=None):
    """Plain SGD with rate 0.1 on `factor` x the sum of all weights, one step a factor; returns the Watch."""
    watch = watch or Watch(blocks)
    optimiser = torch.optim.SGD([p for block in blocks.values() for p in block.parameters()], lr=0.1)
    for _ in range(epochs):
        for factor in factors:
            loss = factor * sum(p.sum() for block in blocks.values() for p in block.parameters())
            optimiser.zero_grad()
            loss.backward()
            watch.step()
            watch.steps += 1
            optimiser.step()
        watch.epoch()
    return watch


def test_gradient_and_shift_are_what_can_be_counted_by_hand():
    found = watched(3, (3, 4), {"shallow": Slopes(1), "deep": Slopes(9)}).report()
    assert list(found) == ["shallow", "deep"]
    root = (25 / 2) ** 0.5  # root mean square of gradients 3 and 4
    moved = 2 * 7 * 0.1  # two epochs after the first, 0.1 x (3 + 4) each
    for name, weights in (("shallow", 1), ("deep", 9)):
        norm = weights**0.5
        expected = {
            "weights": weights,
            "gradient": norm * root,
            "gradient_per_weight": root,
            "shift": norm * moved,
            "shift_per_weight": moved,
        }
        assert found[name] == pytest.approx(expected, rel=1e-5)


def test_one_epoch_has_no_shift():
    found = watched(1, (1,), {"one": Slopes(4)}).report()["one"]
    assert (found["shift"], found["gradient"]) == (0, 2)


def test_blocks_without_weights_or_frozen_are_not_watched():
    frozen = Slopes(2).requires_grad_(False)
    assert list(Watch({"frozen": frozen, "pool": nn.Flatten(), "trained": Slopes(2)}).weights) == ["trained"]


def test_a_watch_goes_on_from_its_state():
    blocks, twins = ({"one": Slopes(2), "two": Slopes(3)} for _ in range(2))
    whole = watched(3, (1, 2), blocks).report()
    half, buffer = watched(2, (1, 2), twins), io.BytesIO()
    torch.save(half.state(), buffer)
    buffer.seek(0)
    fresh = Watch(twins)
    fresh.load(torch.load(buffer, weights_only=True))
    assert watched(1, (1, 2), twins, fresh).report() == whole
