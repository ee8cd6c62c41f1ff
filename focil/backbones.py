"""Feature extractors, their layers named from shallow to deep.

A backbone is any `torch.nn.Module` from images (B, C, H, W) to features (B, F). Its weights with two or more
dimensions are masked; everything else (biases, normalisation parameters and statistics) is small and belongs
to each expert.
"""

from collections.abc import Mapping
from itertools import pairwise

from jaxtyping import Float, Float32
from torch import Tensor, nn
from torch.func import functional_call

from focil.base import seeds
from focil.base.convolution import Convolution
from focil.base.modules import BackboneError, Factory, ImageShape, feature_size, made
from focil.base.precision import Precision, passes


class MLP(nn.Module):
    """pixels-300-100, ReLU, no biases (FOCIL's network for MNIST). (B, C, H, W) -> (B, 100)."""

    def __init__(self, image_shape: ImageShape, widths: tuple[int, ...] = (300, 100)):
        super().__init__()
        channels, height, width = image_shape
        sizes = (channels * height * width, *widths)
        self.layers = nn.ModuleList(nn.Linear(i, o, bias=False) for i, o in pairwise(sizes))

    def forward(self, images: Tensor) -> Tensor:
        hidden = images.flatten(1)  # (B, C*H*W)
        for layer in self.layers:
            hidden = layer(hidden).relu()
        return hidden


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut; the shortcut is a 1x1 convolution where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv1 = Convolution(inputs, outputs, 3, stride)
        self.norm1 = _norm(outputs)
        self.conv2 = Convolution(outputs, outputs, 3, 1)
        self.norm2 = _norm(outputs)
        same = stride == 1 and inputs == outputs
        self.shortcut = (
            nn.Identity() if same else nn.Sequential(Convolution(inputs, outputs, 1, stride), _norm(outputs))
        )

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.norm1(self.conv1(x)).relu()
        return (self.norm2(self.conv2(hidden)) + self.shortcut(x)).relu()


class ResNet18(nn.Module):
    """ResNet18 with a 7x7 stride-2 stem and no max-pool, no biases, normalisation without affine parameters.

    FOCIL's network for CIFAR-100 and TinyImageNet: (B, 3, H, W) -> (B, 512); 11.2 M parameters with a head of
    100 classes.
    """

    def __init__(self, image_shape: ImageShape):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(image_shape[0], 64, 7, 2, 3, bias=False), _norm(64), nn.ReLU())
        stages, inputs = [], 64
        for outputs, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
            stages.append(nn.Sequential(BasicBlock(inputs, outputs, stride), BasicBlock(outputs, outputs, 1)))
            inputs = outputs
        self.stages = nn.ModuleList(stages)

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.stem(images)  # (B, 64, H/2, W/2)
        for stage in self.stages:
            hidden = stage(hidden)
        return hidden.mean((2, 3))  # (B, 512)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, affine=False)


BACKBONES: dict[str, Factory] = {"mlp": MLP, "resnet18": ResNet18}


def build(backbone: str | Factory, image_shape: ImageShape, seed: int) -> nn.Module:
    """Build a backbone for images of `image_shape` (C, H, W), initialised from the run's seed.

    backbone: a name of `BACKBONES`, or any callable from the image shape to a module with features (B, F).
    torch's global generator is left as it was. Raises BackboneError for an unknown name, a module without
    weights to mask, or one that does not return (B, F).

    >>> masked_shapes(build("mlp", (1, 8, 8), seed=0))
    {'layers.0.weight': (300, 64), 'layers.1.weight': (100, 300)}
    """
    if isinstance(backbone, str) and backbone not in BACKBONES:
        raise BackboneError(
            f"there is no backbone {backbone!r}; expected one of {', '.join(BACKBONES)}, or a function from "
            "the image shape to a module"
        )
    factory = BACKBONES[backbone] if isinstance(backbone, str) else backbone
    with seeds.as_torchs_own(seed, "initial weights"):
        module = made(factory, image_shape)
        feature_size(module, image_shape)  # lazy layers find their size, and their weights, here
    module.requires_grad_(False)
    if not masked_shapes(module):
        raise BackboneError(
            "the backbone has no weight with two or more dimensions, so there is nothing to mask; give it a "
            "Linear or Conv layer"
        )
    return module


def compute_features(
    module: nn.Module,
    tensors: Mapping[str, Tensor],
    images: Float[Tensor, "B C H W"],
    precision: Precision,
) -> Float32[Tensor, "B F"]:
    """Features of images, computed in `precision` with `tensors` in the place of the module's own."""
    with passes(images.device, precision):
        return functional_call(module, dict(tensors), (images,)).float()


def masked_shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every weight that masks cover, shallow to deep (in the order of the module's
    parameters)."""
    return {name: tuple(p.shape) for name, p in module.named_parameters() if p.ndim >= 2}


def own_tensors(module: nn.Module) -> dict[str, Tensor]:
    """What each expert keeps of its own.

    Parameters with fewer than two dimensions, and buffers (running statistics).
    """
    small = {name: p.detach() for name, p in module.named_parameters() if p.ndim < 2}
    return small | {name: b for name, b in module.named_buffers() if b is not None}
