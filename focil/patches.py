"""A fixed feature map: how much of each of many small image patches is found in each quarter of an image. No gradient, no label.

Coates and Ng, "The Importance of Encoding Versus Training with Sparse Coding and Vector Quantization" (ICML 2011): whitened random
patches as filters, a soft threshold, pooling. Here in several sizes, each patch normalised for contrast, and, where a mirrored
image shows the same thing, summed over both sides: what a discriminant could learn from mirrored images is then built in.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from focil.backbones import ImageShape, Precision

SIZES = (1 / 8, 3 / 16, 1 / 4, 3 / 8)  # of a patch's side, in sides of the image
STRIDE = 1 / 32  # between patches, in sides of the image
DRAWN = 50_000  # patches that each size is whitened from
THRESHOLD = 0.25  # of a code, in standard deviations
CONTRAST = 0.1  # variance of a patch below which it counts as flat; images are normalised to 1
WHITENING = 0.1  # added to the variances that are whitened
CHUNK = 50  # images at a time: their codes must fit into a cache


def sizes(image_shape: ImageShape) -> list[int]:
    """Sides of the patches for images (C, H, W), in pixels."""
    side = min(image_shape[1:])
    return sorted({min(side, max(2, round(side * share))) for share in SIZES})


def nbytes(count: int, sides: list[int], channels: int, cells: int) -> int:
    """Bytes of a map with `count` filters of each size: filters, biases, centre."""
    return 4 * count * sum(channels * side * side + 1 + cells * cells for side in sides)


class Patches:
    """The map from normalised images (N, C, H, W) to features (N, size), fitted once on a few images and never changed.

    filters: per patch side p, filters (n, C, p, p), float32. biases: per side, (n,). centre: (size,), what is subtracted from
    the features, so that sums over them stay small. cells: the image is pooled to cells x cells. mirror: sum over the image and
    its mirror image.
    """

    def __init__(self, filters: list[Tensor], biases: list[Tensor], centre: Tensor | None, cells: int, mirror: bool, precision: Precision):
        self.filters, self.biases, self.centre = filters, biases, centre
        self.cells, self.mirror, self.precision = cells, mirror, precision

    @classmethod
    def fit(cls, images: Tensor, count: int, cells: int, mirror: bool, precision: Precision, generator: torch.Generator) -> "Patches":
        """`count` filters of each size from normalised images (N, C, H, W), N >= 1; the generator draws the patches."""
        drawn = [_whitened(_draw(images, side, generator), count, generator) for side in sizes(tuple(images.shape[1:]))]
        channels = images.shape[1]
        filters = [weights.view(count, channels, *[round((weights.shape[1] / channels) ** 0.5)] * 2) for weights, _ in drawn]
        raw = cls([f.to(images.device) for f in filters], [bias.to(images.device) for _, bias in drawn], None, cells, mirror, precision)
        raw.centre = raw(images).mean(dim=0)
        return raw

    def __call__(self, images: Tensor) -> Tensor:
        """Features (N, size) float32; one image is enough."""
        features = torch.cat([self._features(part) for part in images.split(CHUNK)])
        return features if self.centre is None else features - self.centre

    def part(self, count: int) -> tuple["Patches", Tensor]:
        """The map with the first `count` filters of each size, and the positions of its features among all."""
        all_of_a_size = len(self.filters[0]) * self.cells**2
        first = torch.arange(count * self.cells**2, device=self.centre.device)
        kept = torch.cat([first + size * all_of_a_size for size in range(len(self.filters))])
        filters, biases = ([tensor[:count] for tensor in tensors] for tensors in (self.filters, self.biases))
        return Patches(filters, biases, self.centre[kept], self.cells, self.mirror, self.precision), kept

    @property
    def nbytes(self) -> int:
        """Bytes of all that must be kept."""
        count, channels = self.filters[0].shape[:2]
        return nbytes(count, [filters.shape[2] for filters in self.filters], channels, self.cells)

    def state(self) -> dict:
        """Tensors from which `from_state` rebuilds the map."""
        return {"filters": self.filters, "biases": self.biases, "centre": self.centre}

    @classmethod
    def from_state(cls, state: dict, cells: int, mirror: bool, precision: Precision, device: torch.device) -> "Patches":
        """The map that `state` was taken from."""
        filters, biases = ([tensor.to(device) for tensor in state[key]] for key in ("filters", "biases"))
        return cls(filters, biases, state["centre"].to(device), cells, mirror, precision)

    def _features(self, images: Tensor) -> Tensor:
        found = self._presence(images)
        if self.mirror:
            found = found + self._presence(images.flip(3))
        return found.sqrt()  # a few strong finds must not outweigh many weak ones

    def _presence(self, images: Tensor) -> Tensor:
        """Mean code of every filter in every cell, (N, filters * cells * cells)."""
        stride = max(1, int(min(images.shape[2:]) * STRIDE))
        kind = torch.bfloat16 if self.precision == "bfloat16" else torch.float32
        laid = images.to(kind, memory_format=torch.channels_last)
        light = torch.cat([images.mean(dim=1, keepdim=True), images.square().mean(dim=1, keepdim=True)], dim=1)  # (N, 2, H, W)
        cells = []
        for filters, bias in zip(self.filters, self.biases, strict=True):
            found = F.conv2d(laid, filters.to(kind), stride=stride)  # (N, n, h, w)
            codes = torch.addcmul((bias - THRESHOLD).to(kind)[:, None, None], found, _contrast(light, filters.shape[2], stride).to(kind))
            cells.append(F.adaptive_avg_pool2d(codes.relu_(), self.cells).flatten(1))
        return torch.cat(cells, dim=1).float()


def _contrast(light: Tensor, side: int, stride: int) -> Tensor:
    """One over the standard deviation of every patch, (N, 1, h, w), from mean and mean square of every pixel (N, 2, H, W)."""
    mean, square = F.avg_pool2d(light, side, stride).split(1, dim=1)
    return ((square - mean.square()).clamp(min=0) + CONTRAST).rsqrt()


def _draw(images: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """DRAWN random patches (DRAWN, C * side * side), normalised for brightness and contrast."""
    images = images.cpu()
    count, _, height, width = images.shape
    which, row, column = (torch.randint(high, (DRAWN,), generator=generator) for high in (count, height - side + 1, width - side + 1))
    views = images.unfold(2, side, 1).unfold(3, side, 1)  # (N, C, h, w, side, side), nothing copied
    patches = views[which, :, row, column].flatten(1)
    patches -= patches.mean(dim=1, keepdim=True)
    return patches / (patches.var(dim=1, keepdim=True, unbiased=False) + CONTRAST).sqrt()


def _whitened(patches: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """`count` random patches as filters of length 1 in the whitened space, as weights (count, P) and biases (count,) in pixels'."""
    mean = patches.mean(dim=0)
    variances, axes = torch.linalg.eigh(torch.cov(patches.T, correction=0).double().view(patches.shape[1], -1))
    whitening = (axes * (variances.clamp(min=0) + WHITENING).rsqrt() @ axes.T).float()
    chosen = torch.randperm(len(patches), generator=generator)[:count]
    filters = F.normalize((patches[chosen] - mean) @ whitening, dim=1) @ whitening
    # A filter that sums to 0 need not be told a patch's mean: subtracting it is built in.
    return filters - filters.mean(dim=1, keepdim=True), -filters @ mean
