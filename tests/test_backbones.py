"""Backbones: the published sizes, features at every image size, and initial weights that are the seed's
alone."""

import numpy as np
import pytest
import torch
from torch import nn

from focil import backbones
from focil.backbones import MLP, ResNet18, build, feature_size, masked_shapes, own_tensors
from focil.base.convolution import Convolution


@pytest.fixture(scope="module")
def resnet():
    return build("resnet18", (3, 32, 32), 0)


def size(module):
    return sum(p.numel() for p in module.parameters())


def small_cnn(shape):
    return nn.Sequential(
        nn.Conv2d(shape[0], 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(1)
    )


def test_resnet18_has_the_published_size(resnet):
    assert size(resnet) == 11_166_912
    assert size(resnet) + 100 * feature_size(resnet, (3, 32, 32)) == 11_218_112
    assert len(masked_shapes(resnet)) == 20  # 17 of 3x3 and 7x7, 3 shortcuts


def test_mlp_has_the_published_size():
    assert size(build("mlp", (1, 28, 28), 0)) == 265_200
    assert masked_shapes(build("mlp", (1, 28, 28), 0)) == {
        "layers.0.weight": (300, 784),
        "layers.1.weight": (100, 300),
    }
    assert size(build("mlp", (1, 8, 8), 0)) == 64 * 300 + 300 * 100


@pytest.mark.parametrize("pixels", [8, 28, 32, 64])
def test_features_at_every_image_size(resnet, pixels):
    assert feature_size(resnet, (3, pixels, pixels)) == 512
    mlp = build("mlp", (1, pixels, pixels), 0)
    assert mlp(torch.rand(3, 1, pixels, pixels)).shape == (3, 100)


def test_resnet18_takes_grey_images():
    assert ResNet18((1, 28, 28)).eval()(torch.zeros(2, 1, 28, 28)).shape == (2, 512)


def test_names_go_from_shallow_to_deep(resnet):
    names = list(masked_shapes(resnet))
    assert names[0] == "stem.0.weight"
    depth = [name.split(".")[1] for name in names[1:]]
    assert depth == sorted(depth)


@pytest.mark.parametrize("name", backbones.BACKBONES)
def test_one_image_is_scored_as_in_company(name):
    images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    module = build(name, (3, 8, 8), 0).eval()
    together, alone = module(images), torch.cat([module(image[None]) for image in images])
    np.testing.assert_allclose(
        alone.numpy(), together.numpy(), rtol=1e-4, atol=1e-4
    )  # another order of float32 sums


# Masked, or an expert's own


def test_no_masked_weight_is_an_experts_own(resnet):
    masked, own = set(masked_shapes(resnet)), set(own_tensors(resnet))
    assert not masked & own
    assert masked | own == set(resnet.state_dict())
    assert all(tensor.ndim < 2 for tensor in own_tensors(resnet).values())
    assert own_tensors(build("mlp", (1, 8, 8), 0)) == {}


def test_biases_and_normalisation_are_an_experts_own():
    module = build(small_cnn, (3, 8, 8), 0)
    assert list(masked_shapes(module)) == ["0.weight"]
    assert set(own_tensors(module)) == {
        "0.bias",
        "1.weight",
        "1.bias",
        "1.running_mean",
        "1.running_var",
        "1.num_batches_tracked",
    }


# Initial weights


@pytest.mark.parametrize("backbone", ["mlp", small_cnn])
def test_the_seed_decides_the_weights(backbone):
    first, again, other = (build(backbone, (3, 8, 8), seed).state_dict() for seed in (0, 0, 1))
    for name in masked_shapes(build(backbone, (3, 8, 8), 0)):
        assert torch.equal(first[name], again[name])
        assert not torch.equal(first[name], other[name])


def test_a_name_is_a_shorthand_for_its_class():
    named, given = build("mlp", (1, 8, 8), 4), build(MLP, (1, 8, 8), 4)
    assert all(torch.equal(a, b) for a, b in zip(named.parameters(), given.parameters(), strict=True))


def test_the_global_generator_neither_matters_nor_moves():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = build("mlp", (1, 8, 8), 0)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    second = build("mlp", (1, 8, 8), 0)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_building_leaves_statistics_fresh_and_nothing_trainable():
    module = build(small_cnn, (3, 8, 8), 0)
    assert module.training and not any(p.requires_grad for p in module.parameters())
    own = own_tensors(module)
    assert own["1.num_batches_tracked"] == 0 and torch.equal(own["1.running_mean"], torch.zeros(4))
    assert feature_size(module.eval(), (3, 8, 8)) == 4 and not module.training


# Modules that do not fit


@pytest.mark.parametrize(
    "factory, shape",
    [
        (lambda shape: nn.Conv2d(shape[0], 4, 3), r"\(2, 4, 6, 6\)"),
        (lambda shape: nn.Sequential(nn.Conv2d(shape[0], 4, 3), nn.Flatten(0)), r"\(288,\)"),
        (lambda shape: nn.Sequential(nn.Conv2d(shape[0], 4, 3), nn.Flatten(0, 1)), r"\(8, 6, 6\)"),
    ],
)
def test_a_module_without_flat_features_is_explained(factory, shape):
    with pytest.raises(
        ValueError, match=rf"\(2, 3, 8, 8\) to {shape}, expected \(2, F\): end it with pooling and flatten"
    ):
        build(factory, (3, 8, 8), 0)


def test_an_unknown_name_is_explained():
    with pytest.raises(ValueError, match="resnet18"):
        backbones.build("resnet81", (3, 8, 8), 0)


def test_a_module_without_weights_is_explained():
    with pytest.raises(ValueError):
        build(lambda shape: nn.Flatten(1), (3, 8, 8), 0)


@pytest.mark.parametrize("outputs", [4, 90])  # more and fewer than the places of the batch
@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(1, 1), (2, 2), (1, 3), (3, 2), (4, 4)])
def test_convolutions_are_torchs_own_in_another_way(size, stride, kernel, outputs):
    torch.manual_seed(0)
    ours = Convolution(8, outputs, kernel, stride)
    plain = torch.nn.Conv2d(8, outputs, kernel, stride, kernel // 2, bias=False)
    plain.load_state_dict(ours.state_dict())
    images, same = (torch.randn(5, 8, *size).requires_grad_() for _ in range(2))
    same.data.copy_(images.data)
    one, other = ours(images), plain(same)
    torch.testing.assert_close(one, other)
    one.square().sum().backward(), other.square().sum().backward()
    torch.testing.assert_close(ours.weight.grad, plain.weight.grad)
    torch.testing.assert_close(images.grad, same.grad)


def test_gradients_in_bfloat16_are_right_on_one_pixel():
    block, images = Convolution(128, 256, 3, 2), torch.randn(10, 128, 1, 1)
    block(images).sum().backward()
    exact, block.weight.grad = block.weight.grad, None
    spoiled = [torch.full((256 * 128 * 9,), torch.nan, dtype=torch.bfloat16) for _ in range(8)]
    del spoiled  # memory that a gradient may find
    with torch.autocast("cpu", torch.bfloat16):
        block(images).sum().backward()
    torch.testing.assert_close(block.weight.grad, exact, rtol=0.02, atol=0.1)
