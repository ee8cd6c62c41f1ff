"""The networks that online methods are measured with: a body, and one head over all classes."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from focil import backbones
from focil.backbones import ImageShape
from focil.base import seeds
from focil.base.modules import feature_size

NetworkName = Literal["mlp", "resnet18-slim", "resnet18"]


class Block(nn.Module):
    """Two 3x3 convolutions with a shortcut, normalised with scale and shift (He et al. 2016)."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(hidden)) + self.shortcut(x))


class ResNet18(nn.Module):
    """The ResNet18 of the online literature: a 3x3 stem without stride (Lopez-Paz and Ranzato 2017, "GEM").

    width: channels of the first stage; 20 is "slim", 64 the full one. (B, C, H, W) -> (B, 8 * width).
    """

    def __init__(self, image_shape: ImageShape, width: int):
        super().__init__()
        self.stem = nn.Conv2d(image_shape[0], width, 3, 1, 1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        blocks, inputs = [], width
        for stage, stride in enumerate((1, 2, 2, 2)):
            outputs = width * 2**stage
            blocks += [Block(inputs, outputs, stride), Block(outputs, outputs, 1)]
            inputs = outputs
        self.blocks = nn.Sequential(*blocks)

    def forward(self, images: Tensor) -> Tensor:
        hidden = F.relu(self.norm(self.stem(images)))
        return self.blocks(hidden).mean((2, 3))


class Network(nn.Module):
    """A body (images -> features) and a linear head over all classes of the stream."""

    def __init__(self, body: nn.Module, features: int, classes: int):
        super().__init__()
        self.body, self.head = body, nn.Linear(features, classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.body(images))


def projection(features: int, length: int) -> nn.Sequential:
    """Two layers behind which a contrastive loss compares vectors of so many numbers."""
    return nn.Sequential(nn.Linear(features, features), nn.ReLU(), nn.Linear(features, length))


def build(name: NetworkName, image_shape: ImageShape, classes: int, seed: int) -> Network:
    """A network with the seed's initial weights; `mlp` is `backbones.MLP`."""
    with seeds.as_torchs_own(seed, "initial weights"):
        body = {
            "mlp": lambda: backbones.MLP(image_shape),
            "resnet18-slim": lambda: ResNet18(image_shape, 20),
            "resnet18": lambda: ResNet18(image_shape, 64),
        }[name]()
        network = Network(body, feature_size(body, image_shape), classes)
    return network.to(memory_format=torch.channels_last)
