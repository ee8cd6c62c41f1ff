"""Networks as a row of named blocks, shallow to deep, split into blocks that all tasks share and blocks that
each task gets anew.

MEMO (Zhou, Wang, Ye, Zhan, ICLR 2023, section 4) calls them generalized and specialised. Everything here is
an `nn.Sequential` of named blocks from images (B, C, H, W) to features (B, F), so it can be cut after any of
them.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from focil import backbones
from focil.backbones import BackboneError, ImageShape
from focil.base import seeds

Factory = Callable[[ImageShape], nn.Sequential]


class Split(NamedTuple):
    """A network cut in two: `generalized` maps images to maps, `specialised` these to features (B,
    feature_size)."""

    generalized: nn.Sequential
    specialised: nn.Sequential
    feature_size: int


class Network(NamedTuple):
    """A network that params files name.

    last_shared: the last block that tasks share unless another one is named.
    """

    build: Factory
    last_shared: str


class CifarBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut without parameters.

    Where the shape changes, every second pixel and zeros for new channels. What follows a normalisation is
    done in place: its gradient does not need what it gave.
    """

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.stride, self.added = stride, outputs - inputs

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.relu_(self.norm1(self.conv1(x)))
        kept = (
            x
            if self.stride == 1 and not self.added
            else F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.added))
        )
        return F.relu_(self.norm2(self.conv2(hidden)).add_(kept))


def cifar_resnet(blocks: int) -> Factory:
    """ResNet of 6 x blocks + 2 layers with 16, 32 and 64 channels (He et al. 2016, section 4.2).

    64 features.
    """

    def build(image_shape: ImageShape) -> nn.Sequential:
        parts = OrderedDict(
            stem=nn.Sequential(
                nn.Conv2d(image_shape[0], 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()
            )
        )
        inputs = 16
        for number, outputs in enumerate((16, 32, 64), 1):
            stride = 1 if number == 1 else 2
            parts[f"stage{number}"] = nn.Sequential(
                CifarBlock(inputs, outputs, stride),
                *(CifarBlock(outputs, outputs, 1) for _ in range(blocks - 1)),
            )
            inputs = outputs
        return nn.Sequential(parts | _pool())

    return build


def convnet2(image_shape: ImageShape) -> nn.Sequential:
    """Two convolutions of 64 channels, each with normalisation, 2x2 max-pooling and ReLU: 64 features."""

    def block(inputs: int) -> nn.Sequential:
        # ReLU last: the same numbers and gradients as before the pooling, for a quarter of its work.
        return nn.Sequential(nn.Conv2d(inputs, 64, 3, 1, 1), nn.BatchNorm2d(64), nn.MaxPool2d(2), nn.ReLU())

    return nn.Sequential(OrderedDict(block1=block(image_shape[0]), block2=block(64)) | _pool())


def imagenet_resnet18(image_shape: ImageShape) -> nn.Sequential:
    """torchvision's ResNet18 (7x7 stride-2 stem with max-pooling) without its classifier: 512 features."""
    from torchvision.models import resnet18  # seconds of importing that nothing else here needs

    whole = resnet18(weights=None)
    if image_shape[0] != 3:
        whole.conv1 = nn.Conv2d(image_shape[0], 64, 7, 2, 3, bias=False)
    parts = OrderedDict(stem=nn.Sequential(whole.conv1, whole.bn1, whole.relu, whole.maxpool))
    return nn.Sequential(parts | {f"layer{i}": getattr(whole, f"layer{i}") for i in range(1, 5)} | _pool())


def _pool() -> OrderedDict[str, nn.Module]:
    return OrderedDict(pool=nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))  # any size of image


NETWORKS: dict[str, Network] = {
    "convnet2": Network(convnet2, "block1"),
    "resnet14": Network(cifar_resnet(2), "stage2"),
    "resnet20": Network(cifar_resnet(3), "stage2"),
    "resnet26": Network(cifar_resnet(4), "stage2"),
    "resnet32": Network(cifar_resnet(5), "stage2"),
    "resnet18-imagenet": Network(imagenet_resnet18, "layer3"),
}


def build(
    network: str | Factory, image_shape: ImageShape, seed: int, last_shared: str | None = None
) -> Split:
    """Build a network, initialised from the run's seed, and cut it after `last_shared`.

    network: a name of `NETWORKS`, or a function from the image shape (C, H, W) to an `nn.Sequential` of named
    blocks. last_shared: None takes the named network's own; "" shares nothing. torch's global generator is
    left as it was. Raises BackboneError.
    """
    if isinstance(network, str) and network not in NETWORKS:
        raise BackboneError(
            f"there is no network {network!r}; expected one of {', '.join(NETWORKS)}, or a function from the "
            "image shape to an nn.Sequential"
        )
    chosen = NETWORKS[network] if isinstance(network, str) else Network(network, "")
    with seeds.as_torchs_own(seed, "initial weights"):
        whole = chosen.build(image_shape)
    return cut(whole, chosen.last_shared if last_shared is None else last_shared, image_shape)


def cut(whole: nn.Sequential, last_shared: str, image_shape: ImageShape) -> Split:
    """Cut a network after its block `last_shared` ("": before the first).

    Raises BackboneError where that is not possible.
    """
    if not isinstance(whole, nn.Sequential):
        raise BackboneError(
            "a network is cut between the blocks of an nn.Sequential, but this one is a "
            f"{type(whole).__name__}; make it a Sequential of named blocks"
        )
    blocks = list(whole._modules.items())  # `named_children` leaves out a module that stands there twice
    names = [name for name, _ in blocks]
    if last_shared and last_shared not in names:
        raise BackboneError(
            f"the network cannot be cut after {last_shared!r}; its blocks, shallow to deep, are "
            f"{', '.join(names)}"
        )
    count = names.index(last_shared) + 1 if last_shared else 0
    generalized, specialised = (nn.Sequential(OrderedDict(part)) for part in (blocks[:count], blocks[count:]))
    if not list(specialised.parameters()):
        raise BackboneError(
            f"after {last_shared!r} no block with weights is left to specialise; name an earlier one of "
            f"{', '.join(names)}"
        )
    return Split(generalized, specialised, backbones.feature_size(whole, image_shape))


def parameters(module: nn.Module) -> int:
    """Number of parameters, without buffers."""
    return sum(parameter.numel() for parameter in module.parameters())
