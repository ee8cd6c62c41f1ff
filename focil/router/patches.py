"""A fixed feature map: how much of each of many small image patches is found in each quarter of an image. No
gradient, no label.

Coates and Ng, "The Importance of Encoding Versus Training with Sparse Coding and Vector Quantization" (ICML
2011): whitened random patches as filters, a soft threshold, pooling. Here in several sizes, each patch
normalised for contrast, and, where a mirrored image shows the same thing, summed over both sides: what a
discriminant could learn from mirrored images is then built in.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32
from torch import Tensor

from focil.backbones import ImageShape
from focil.base.precision import Precision, products

DRAWN = 50_000  # patches that each size is whitened from
CHUNK = 50  # images at a time: their codes must fit into a cache

ONE = ((1 / 8, 3 / 16, 1 / 4, 3 / 8),)  # sizes of patches for one discriminant
TWO = ((1 / 8, 3 / 16, 1 / 4), (1 / 8, 3 / 16, 3 / 8))  # and for two


@dataclass(frozen=True)
class Recipe:
    """How patches are made and found. The defaults were chosen on the development split, see `variants`.

    sizes: of a patch's side, in sides of the image, in groups of as many: each group has filters of its own
    and a discriminant of its own. stride: between patches, in sides of the image. cells:
    the image is pooled to cells x cells. mirror: sum over the image and its mirror image. threshold: of a
    code, in standard deviations. contrast: variance of a patch below which it counts as flat (images are
    normalised to 1). whitening: added to the variances that are whitened. root: of the pooled codes, so that
    a few strong finds do not outweigh many weak ones.
    """

    sizes: tuple[tuple[float, ...], ...] = ONE
    stride: float = 1 / 32
    cells: int = 2
    mirror: bool = False
    threshold: float = 0.25
    contrast: float = 0.1
    whitening: float = 0.1
    root: bool = True

    def sides(self, image_shape: ImageShape) -> list[int]:
        """Sides of the patches for images (C, H, W), in pixels, group by group.

        On a small image several sizes may be the same; a single group has each once, more have as many each.
        """
        side = min(image_shape[1:])
        sides = [min(side, max(2, round(side * share))) for group in self.sizes for share in group]
        return sides if len(self.sizes) > 1 else sorted(set(sides))

    def feature_count(self, filters: int, image_shape: ImageShape) -> int:
        """Number of features with so many filters of each size."""
        return filters * len(self.sides(image_shape)) * self.cells**2

    def nbytes(self, filters: int, image_shape: ImageShape) -> int:
        """Bytes of a map with so many filters of each size: filters, biases, centre."""
        return (
            4
            * filters
            * sum(image_shape[0] * side * side + 1 + self.cells**2 for side in self.sides(image_shape))
        )


class Patches:
    """The map from normalised images (N, C, H, W) to features (N, size), fitted once on a few images and
    never changed.

    filters: per patch side p, filters (n, C, p, p), float32. biases: per side, (n,). centre: (size,), what is
    subtracted from the features, so that sums over them stay small.
    """

    def __init__(
        self,
        filters: list[Tensor],
        biases: list[Tensor],
        centre: Tensor | None,
        recipe: Recipe,
        precision: Precision,
    ):
        self.filters, self.biases, self.centre = filters, biases, centre
        self.recipe, self.precision = recipe, precision

    @classmethod
    def fit(
        cls,
        images: Float[Tensor, "N C H W"],
        count: int,
        recipe: Recipe,
        precision: Precision,
        generator: torch.Generator,
    ) -> "Patches":
        """`count` filters of each size from normalised images, N >= 1; the generator draws the patches."""
        filters, biases = [], []
        for side in recipe.sides(tuple(images.shape[1:])):
            weights, bias = _whitened(
                _draw(images, side, recipe.contrast, generator), count, recipe.whitening, generator
            )
            filters.append(weights.view(count, images.shape[1], side, side).to(images.device))
            biases.append(bias.to(images.device))
        raw = cls(filters, biases, None, recipe, precision)
        raw.centre = raw(images).mean(dim=0)
        return raw

    def __call__(self, images: Float[Tensor, "N C H W"]) -> Float32[Tensor, "N size"]:
        """Features of normalised images; one image is enough."""
        features = torch.cat([self._features(part) for part in images.split(CHUNK)])
        return features if self.centre is None else features - self.centre

    def part(self, count: int) -> tuple["Patches", Tensor]:
        """The map with the first `count` filters of each size, and the positions of its features among
        all."""
        all_of_a_size = len(self.filters[0]) * self.recipe.cells**2
        first = torch.arange(count * self.recipe.cells**2, device=self.centre.device)
        kept = torch.cat([first + size * all_of_a_size for size in range(len(self.filters))])
        filters, biases = ([tensor[:count] for tensor in tensors] for tensors in (self.filters, self.biases))
        return Patches(filters, biases, self.centre[kept], self.recipe, self.precision), kept

    @property
    def nbytes(self) -> int:
        """Bytes of all that must be kept."""
        return sum(tensor.nbytes for tensor in (*self.filters, *self.biases, self.centre))

    def state(self) -> dict:
        """Tensors from which `from_state` rebuilds the map."""
        return {"filters": self.filters, "biases": self.biases, "centre": self.centre}

    @classmethod
    def from_state(cls, state: dict, recipe: Recipe, precision: Precision, device: torch.device) -> "Patches":
        """The map that `state` was taken from."""
        filters, biases = ([tensor.to(device) for tensor in state[key]] for key in ("filters", "biases"))
        return cls(filters, biases, state["centre"].to(device), recipe, precision)

    def _features(self, images: Tensor) -> Tensor:
        found = self._presence(images)
        if self.recipe.mirror:
            found = found + self._presence(images.flip(3))
        return found.sqrt() if self.recipe.root else found

    def _presence(self, images: Tensor) -> Tensor:
        """Mean code of every filter in every cell, (N, filters * cells * cells)."""
        cells = [F.adaptive_avg_pool2d(codes, self.recipe.cells).flatten(1) for codes in self.codes(images)]
        return torch.cat(cells, dim=1).float()

    def codes(self, images: Tensor) -> Iterator[Tensor]:
        """How much of each filter is found where, for each size: (N, filters, h, w), none negative."""
        recipe = self.recipe
        stride = max(1, int(min(images.shape[2:]) * recipe.stride))
        kind = torch.bfloat16 if self.precision == "bfloat16" else torch.float32
        laid = images.to(kind, memory_format=torch.channels_last)
        light = torch.cat(
            [images.mean(dim=1, keepdim=True), images.square().mean(dim=1, keepdim=True)], dim=1
        )  # (N, 2, H, W)
        for filters, bias in zip(self.filters, self.biases, strict=True):
            with products(laid.device, self.precision):
                found = F.conv2d(laid, filters.to(kind), stride=stride)
            scale = _scale(light, filters.shape[2], stride, recipe.contrast).to(kind)
            yield torch.addcmul((bias - recipe.threshold).to(kind)[:, None, None], found, scale).relu_()


def _scale(light: Tensor, side: int, stride: int, contrast: float) -> Tensor:
    """One over the standard deviation of every patch, (N, 1, h, w), from mean and mean square of every
    pixel (N, 2, H, W)."""
    mean, square = F.avg_pool2d(light, side, stride).split(1, dim=1)
    return ((square - mean.square()).clamp(min=0) + contrast).rsqrt()


def _draw(images: Tensor, side: int, contrast: float, generator: torch.Generator) -> Tensor:
    """DRAWN random patches (DRAWN, C * side * side), normalised for brightness and contrast."""
    images = images.cpu()
    count, _, height, width = images.shape
    which, row, column = (
        torch.randint(high, (DRAWN,), generator=generator)
        for high in (count, height - side + 1, width - side + 1)
    )
    views = images.unfold(2, side, 1).unfold(3, side, 1)  # (N, C, h, w, side, side), nothing copied
    patches = views[which, :, row, column].flatten(1)
    patches -= patches.mean(dim=1, keepdim=True)
    return patches / (patches.var(dim=1, keepdim=True, unbiased=False) + contrast).sqrt()


def _whitened(
    patches: Tensor, count: int, whitening: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """`count` random patches as filters of length 1 in the whitened space, as weights (count, P) and
    biases (count,) in pixels'."""
    mean = patches.mean(dim=0)
    variances, axes = torch.linalg.eigh(
        torch.cov(patches.T, correction=0).double().view(patches.shape[1], -1)
    )
    to_white = (axes * (variances.clamp(min=0) + whitening).rsqrt() @ axes.T).float()
    chosen = torch.randperm(len(patches), generator=generator)[:count]
    filters = F.normalize((patches[chosen] - mean) @ to_white, dim=1) @ to_white
    # A filter that sums to 0 needs no patch's mean: subtracting it is built in.
    return filters - filters.mean(dim=1, keepdim=True), -filters @ mean
