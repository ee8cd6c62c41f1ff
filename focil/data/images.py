"""What happens to images before a network sees them: crop, flip, brightness and normalisation, as tensor
operations over a whole batch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float32, Num, UInt8
from torch import Tensor


@dataclass(frozen=True)
class Augmentation:
    """Random crop after padding by `crop` pixels, horizontal flip, and brightness times 1 - b to 1 + b.

    0 and False change nothing.
    """

    crop: int = 0
    flip: bool = False
    brightness: float = 0.0

    def __call__(self, images: Num[Tensor, "B C H W"], generator: torch.Generator) -> Num[Tensor, "B C H W"]:
        """One crop, one coin and one factor per image, for the whole batch at once."""
        if self.crop:
            images = _random_crop(images, self.crop, generator)
        if self.flip:
            coins = torch.rand(len(images), generator=generator, device=images.device) < 0.5
            images = torch.where(coins[:, None, None, None], images.flip(3), images)
        if self.brightness:
            factors = 1 + self.brightness * (
                2 * torch.rand(len(images), 1, 1, 1, generator=generator, device=images.device) - 1
            )
            images = (images * factors).clamp_(0, 255)
        return images


def _random_crop(images: Tensor, pad: int, generator: torch.Generator) -> Tensor:
    count, channels, height, width = images.shape
    padded = F.pad(images, (pad,) * 4)  # (B, C, H + 2 pad, W + 2 pad)
    corners = torch.randint(0, 2 * pad + 1, (2, count, 1), generator=generator, device=images.device)
    rows = corners[0] + torch.arange(height, device=images.device)  # (B, H)
    columns = corners[1] + torch.arange(width, device=images.device)  # (B, W)
    which = torch.arange(count, device=images.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[which, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def normalise(
    images: Num[Tensor, "N C H W"], mean: Sequence[float], std: Sequence[float]
) -> Float32[Tensor, "N C H W"]:
    """Images of 0..255 less their mean, in standard deviations; both are per channel, for pixels scaled to
    [0, 1].

    >>> import torch
    >>> normalise(torch.tensor([[[[0, 255]]]], dtype=torch.uint8), mean=[0.5], std=[0.25])
    tensor([[[[-2.,  2.]]]])
    """
    return standardised(images, scale_of(mean, std, images.device))


def scale_of(mean: Sequence[float], std: Sequence[float], device: torch.device) -> Float32[Tensor, "2 C 1 1"]:
    """Mean and standard deviation for images of 0..255. Made once: a copy to a GPU waits for every step
    before it."""
    return torch.tensor([list(mean), list(std)], device=device, dtype=torch.float32)[..., None, None] * 255


def standardised(
    images: Num[Tensor, "N C H W"], scale: Float32[Tensor, "2 C 1 1"]
) -> Float32[Tensor, "N C H W"]:
    """Images less their mean, in standard deviations."""
    return (images.to(torch.float32) - scale[0]) / scale[1]


def channels_first(images: UInt8[np.ndarray, "N H W C"], device: torch.device) -> UInt8[Tensor, "N C H W"]:
    """Images as they are stored, as one tensor on a device."""
    return torch.tensor(images.transpose(0, 3, 1, 2), device=device)
