"""A convolution that computes what it needs, in the way that is fast."""

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Convolution(nn.Conv2d):
    """A padded square convolution of odd size, without bias, that leaves out what lies only on padding.

    On an image no larger than the stride the outer weights of a 3x3 kernel see nothing but padding. Their
    gradient is 0, but in bfloat16 oneDNN (torch 2.15 on processors with AMX) leaves it as it finds it in
    memory.

    Where a batch has fewer places than the layer has outputs it is one product of matrices: there the weights
    are all that costs, and oneDNN takes twice as long over them, and five times over their gradient.
    """

    def __init__(self, inputs: int, outputs: int, size: int, stride: int):
        super().__init__(inputs, outputs, size, stride, size // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        (rows, row_padding), (columns, column_padding) = (
            _used(side, self.kernel_size[0], self.stride[0]) for side in x.shape[2:]
        )
        weight, padding = self.weight[:, :, rows, columns], (row_padding, column_padding)
        places = len(x) * math.prod(-(-side // self.stride[0]) for side in x.shape[2:])
        if places < len(weight):
            return _as_product(x, weight, self.stride[0], padding)
        return F.conv2d(x, weight, stride=self.stride, padding=padding)


def _as_product(x: Tensor, weight: Tensor, stride: int, padding: tuple[int, int]) -> Tensor:
    """A convolution as weights (outputs, inputs * kernel) times patches (inputs * kernel, places * B)."""
    sides, kernel = tuple(x.shape[2:]), tuple(weight.shape[2:])
    pixels = F.pad(x.permute(1, 2, 3, 0).flatten(1, 2), (0, 0, 1, 0))  # (inputs, 1 + H * W, B): first, zeros
    seen = _seen(sides, kernel, stride, padding).to(x.device)
    patches = pixels.index_select(1, seen).view(weight[0].numel(), -1)
    found = (weight.flatten(1) @ patches).unflatten(1, (-(-sides[0] // stride), -1, len(x)))
    return found.permute(3, 0, 1, 2)


@lru_cache
def _seen(sides: tuple[int, ...], kernel: tuple[int, ...], stride: int, padding: tuple[int, int]) -> Tensor:
    """Pixel that each weight of a kernel sees at each place, from 1; 0 is padding. (kernel * places,)"""
    numbered = torch.arange(1.0, math.prod(sides) + 1).view(1, 1, *sides)
    return F.unfold(numbered, kernel, padding=padding, stride=stride).flatten().long()


def _used(side: int, size: int, stride: int) -> tuple[slice, int]:
    """Rows of a kernel of `size` that meet an image `side` high, and the padding that is left for them."""
    return (slice(1, 1 + side), 0) if size == 3 and side <= stride else (slice(None), size // 2)
