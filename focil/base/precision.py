"""Passes in bfloat16, also on processors that have no instructions for it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

Precision = Literal["float32", "bfloat16"]
ROUNDED = {torch.float32, torch.bfloat16}  # others stay as they are, as where a processor has bfloat16
PRODUCTS = {torch.conv2d, F.linear, torch.matmul, Tensor.matmul, Tensor.__matmul__}


@contextmanager
def passes(device: torch.device, precision: Precision) -> Iterator[None]:
    """Where bfloat16 is asked for, convolutions and products of matrices inside take it and give it; they sum
    in float32."""
    with (
        torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"),
        products(device, precision),
    ):
        yield


@contextmanager
def products(device: torch.device, precision: Precision) -> Iterator[None]:
    """As `passes`, for tensors that are of that type already."""
    if precision == "bfloat16" and device.type == "cpu" and not has_bfloat16():
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
        tensors = [value for value in (*args, *given.values()) if isinstance(value, Tensor)]
        if function not in PRODUCTS or any(tensor.dtype not in ROUNDED for tensor in tensors):
            return function(*args, **given)
        with torch.autocast("cpu", enabled=False):
            exact = function(*map(_rounded, args), **{key: _rounded(value) for key, value in given.items()})
            return exact.bfloat16()


def _rounded(value: Any) -> Any:
    return value.bfloat16().float() if isinstance(value, Tensor) else value
