"""Passes in bfloat16, also on processors that have no instructions for it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

PRODUCTS = {torch.conv2d, F.linear, torch.matmul, Tensor.matmul, Tensor.__matmul__}


@contextmanager
def passes(device: torch.device, in_bfloat16: bool) -> Iterator[None]:
    """Convolutions and products of matrices inside take bfloat16 and give it, if that is asked for; sums are
    in float32."""
    with torch.autocast(device.type, torch.bfloat16, enabled=in_bfloat16), widened(device, in_bfloat16):
        yield


@contextmanager
def widened(device: torch.device, in_bfloat16: bool) -> Iterator[None]:
    """As `passes`, for tensors that are bfloat16 already."""
    if in_bfloat16 and device.type == "cpu" and not has_bfloat16():
        with _Widened():
            yield
    else:
        yield


def has_bfloat16() -> bool:
    """Whether torch computes with bfloat16 on this processor: where not, it takes many times as long as in
    float32."""
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


class _Widened(TorchFunctionMode):
    """Products of rounded numbers in float32, rounded again: what a processor with bfloat16 computes, but for
    the order of its sums. It takes as long as float32."""

    def __torch_function__(
        self, function: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        given = kwargs or {}
        if function not in PRODUCTS:
            return function(*args, **given)
        with torch.autocast("cpu", enabled=False):
            exact = function(*map(_rounded, args), **{key: _rounded(value) for key, value in given.items()})
            return exact.bfloat16()


def _rounded(value: Any) -> Any:
    return value.bfloat16().float() if isinstance(value, Tensor) else value
