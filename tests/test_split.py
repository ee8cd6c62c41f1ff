"""Networks cut in two: exact counts, any size of image, and a cut that changes no answer."""

from collections import OrderedDict

import pytest
import torch
from torch import nn

from focil import FocilError
from focil.backbones import BackboneError
from focil.memo import split
from focil.memo.split import NETWORKS, build, parameters

# Parameters without the head: shared by all tasks, and of one task (MEMO, tables of the appendix); features.
COUNTS = {
    "convnet2": (1_920, 37_056, 64),
    "resnet14": (42_320, 129_536, 64),
    "resnet20": (65_552, 203_520, 64),
    "resnet26": (88_784, 277_504, 64),
    "resnet32": (112_016, 351_488, 64),
    "resnet18-imagenet": (2_782_784, 8_393_728, 512),
}


def own(image_shape):
    """Three named blocks: two of convolutions, one that flattens."""

    def block(inputs, outputs):
        return nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
        )

    return nn.Sequential(OrderedDict(first=block(image_shape[0], 4), second=block(4, 5), flat=nn.Flatten()))


def whole(parts, images):
    with torch.no_grad():
        return parts.specialised.eval()(parts.generalized.eval()(images))


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_has_the_published_parameters_and_features(name):
    parts = build(name, (3, 32, 32), seed=0)
    assert (parameters(parts.generalized), parameters(parts.specialised), parts.feature_size) == COUNTS[name]


def test_whole_networks_have_their_published_size():
    assert sum(COUNTS["resnet32"][:2]) == 463_504 and sum(COUNTS["resnet18-imagenet"][:2]) == 11_176_512
    assert set(COUNTS) == set(NETWORKS)
    assert parameters(NETWORKS["resnet32"].build((3, 32, 32))) == 463_504


def test_the_number_of_parameters_does_not_depend_on_the_size_of_the_images():
    for name in ("convnet2", "resnet20"):
        small, large = (build(name, (3, size, size), 0) for size in (8, 64))
        assert (parameters(small.generalized), parameters(small.specialised)) == (
            parameters(large.generalized),
            parameters(large.specialised),
        )


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [8, 28, 32, 64])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_takes_images_of_any_size_in_grey_and_in_colour(name, size, channels):
    parts = build(name, (channels, size, size), seed=0)
    found = whole(parts, torch.rand(2, channels, size, size))
    assert found.shape == (2, COUNTS[name][2]) and torch.isfinite(found).all()


def test_depth_is_six_blocks_and_two_layers():
    for name in ("resnet14", "resnet20", "resnet26", "resnet32"):
        layers = [
            m for part in build(name, (3, 32, 32), 0)[:2] for m in part.modules() if isinstance(m, nn.Conv2d)
        ]
        assert len(layers) + 1 == int(name.removeprefix("resnet"))  # the head is the last one


def test_the_shortcut_takes_every_second_pixel_and_adds_empty_channels():
    block = split.CifarBlock(2, 4, stride=2).eval()
    nn.init.zeros_(block.conv2.weight)  # what is left is the shortcut
    images = torch.rand(3, 2, 6, 6)
    found = block(images)
    assert torch.equal(found[:, :2], images[:, :, ::2, ::2]) and not found[:, 2:].any()
    assert not [p for name, p in block.named_parameters() if "shortcut" in name]


@pytest.mark.parametrize("last, shared", [("", 0), ("first", 1), (None, 0)])
def test_a_network_of_one_s_own_is_cut_where_its_last_shared_block_is_named(last, shared):
    torch.manual_seed(3)
    images = torch.rand(4, 1, 6, 6)
    parts = build(own, (1, 6, 6), seed=0, last_shared=last)
    assert [name for name, _ in parts.generalized.named_children()] == ["first", "second", "flat"][:shared]
    assert [name for name, _ in parts.specialised.named_children()] == ["first", "second", "flat"][shared:]
    one_piece = nn.Sequential(
        OrderedDict([*parts.generalized.named_children(), *parts.specialised.named_children()])
    ).eval()
    assert torch.equal(whole(parts, images), one_piece(images)) and parts.feature_size == 5 * 36


@pytest.mark.parametrize(
    "name, last", [("convnet2", None), ("resnet14", None), ("resnet14", "stem"), ("resnet14", "stage1")]
)
def test_a_cut_changes_neither_weights_nor_answers(name, last):
    images, reference = torch.rand(2, 3, 16, 16), build(name, (3, 16, 16), seed=5, last_shared="")
    parts = build(name, (3, 16, 16), seed=5, last_shared=last)
    assert torch.equal(whole(parts, images), whole(reference, images))
    assert sum(map(parameters, parts[:2])) == sum(map(parameters, reference[:2]))


@pytest.mark.parametrize(
    "network, last, said",
    [
        (lambda shape: nn.Linear(36, 4), None, "a Linear; make it a Sequential of named blocks"),
        (own, "third", "after 'third'; its blocks, shallow to deep, are first, second, flat"),
        (
            own,
            "second",
            "no block with weights is left to specialise; name an earlier one of first, second, flat",
        ),
        ("resnet14", "pool", "no block with weights is left"),
        ("resnet14", "layer3", "stem, stage1, stage2, stage3, pool"),
        (lambda shape: nn.Sequential(nn.Flatten(), nn.ReLU()), None, "no block with weights is left"),
        (lambda shape: nn.Sequential(nn.Conv2d(1, 3, 3)), None, "expected (2, F)"),
        ("vgg", None, "no network 'vgg'; expected one of convnet2, resnet14"),
        ("mlp", None, "no network 'mlp'"),
    ],
)
def test_what_cannot_be_cut_is_explained(network, last, said):
    with pytest.raises(BackboneError) as caught:
        build(network, (1, 6, 6), 0, last)
    assert said in str(caught.value) and isinstance(caught.value, FocilError)


def test_a_block_that_stands_there_twice_is_kept_twice():
    def shared(image_shape):
        relu = nn.ReLU()
        return nn.Sequential(
            OrderedDict(a=nn.Conv2d(1, 4, 3), r1=relu, b=nn.Conv2d(4, 4, 3), r2=relu, pool=nn.Flatten())
        )

    parts = split.build(shared, (1, 8, 8), 0, "r1")
    found = list(parts.generalized._modules), list(parts.specialised._modules)
    assert found == (["a", "r1"], ["b", "r2", "pool"])


def test_the_seed_decides_the_weights_and_torch_s_own_generator_is_left_alone():
    torch.manual_seed(11)
    before = torch.random.get_rng_state()
    one, same, other = (build("convnet2", (1, 8, 8), seed).specialised.state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(12)
    again = build("convnet2", (1, 8, 8), 0).specialised.state_dict()
    assert all(torch.equal(one[key], same[key]) and torch.equal(one[key], again[key]) for key in one)
    assert not torch.equal(one["block2.0.weight"], other["block2.0.weight"])
