"""Passes in bfloat16 on processors with and without instructions for it."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from focil import backbones
from focil.base import precision
from focil.memo import split
from focil.router.patches import Patches, Recipe

CPU = torch.device("cpu")


@pytest.fixture
def without(monkeypatch):
    """A processor that does not compute with bfloat16."""
    monkeypatch.setattr(precision, "has_bfloat16", lambda: False)


def passed(module, images, kind="bfloat16"):
    """Output and gradients of the weights of one pass."""
    with precision.passes(CPU, kind):
        found = module(images)
    gradients = torch.autograd.grad(found.float().square().mean(), list(module.parameters()))
    return [found.detach(), *gradients]


def rounded(tensor):
    return tensor.bfloat16().float()


def test_without_it_products_are_those_of_rounded_numbers_and_rounded_again(without):
    torch.manual_seed(0)
    layer, linear = nn.Conv2d(3, 8, 3), nn.Linear(8, 5)
    images, features = torch.randn(4, 3, 9, 9), torch.randn(4, 8)
    with precision.passes(CPU, "bfloat16"):
        maps, logits, product = layer(images), linear(features), features @ linear.weight.T
        longer = features.double() @ linear.weight.T.double()
    assert maps.dtype == logits.dtype == product.dtype == torch.bfloat16
    assert torch.equal(longer, features.double() @ linear.weight.T.double())
    exact = F.conv2d(rounded(images), rounded(layer.weight), rounded(layer.bias))
    assert torch.equal(maps, exact.bfloat16())
    exact = F.linear(rounded(features), rounded(linear.weight), rounded(linear.bias))
    assert torch.equal(logits, exact.bfloat16())
    assert torch.equal(product, (rounded(features) @ rounded(linear.weight).T).bfloat16())


@pytest.mark.parametrize("network", ["convnet2", "resnet14"])
def test_output_and_gradients_are_as_near_to_float32_as_with_it(network, monkeypatch):
    torch.manual_seed(0)
    images = torch.randn(16, 3, 8, 8)
    module = nn.Sequential(*split.build(network, (3, 8, 8), 0)[:2])
    exact, theirs = passed(module, images, kind="float32"), passed(module, images)
    monkeypatch.setattr(precision, "has_bfloat16", lambda: False)
    mine = passed(module, images)

    def error(found):
        flat = [torch.cat([t.float().flatten() for t in tensors]) for tensors in (found, exact)]
        return ((flat[0] - flat[1]).norm() / flat[1].norm()).item()

    assert 0 < error(mine) < 1.5 * error(theirs)


def test_without_being_asked_for_nothing_is_rounded(without):
    layer, images = nn.Conv2d(3, 8, 3), torch.randn(4, 3, 9, 9)
    with precision.passes(CPU, "float32"):
        assert torch.equal(layer(images), F.conv2d(images, layer.weight, layer.bias))


def test_every_product_of_backbones_and_patches_is_computed_so(without, monkeypatch):
    seen = []
    real = precision._rounded
    monkeypatch.setattr(precision, "_rounded", lambda value: seen.append(value) or real(value))
    backbone = backbones.build("resnet18", (3, 32, 32), 0)
    tensors = dict(backbone.named_parameters()) | dict(backbone.named_buffers())
    backbones.compute_features(backbone, tensors, torch.randn(2, 3, 32, 32), "bfloat16")
    layers = sum(isinstance(module, nn.Conv2d) for module in backbone.modules())
    assert sum(isinstance(value, torch.Tensor) for value in seen) >= 2 * layers
    seen.clear()
    images = torch.rand(20, 3, 32, 32)
    patches = Patches.fit(images, 8, Recipe(), "bfloat16", torch.Generator().manual_seed(0))
    seen.clear()
    codes = list(patches.codes(images))
    assert len(codes) and sum(isinstance(value, torch.Tensor) for value in seen) == 2 * len(codes)
