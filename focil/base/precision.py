"""What bfloat16 costs here: less time than float32 where the processor computes with it, many times as much
where it does not."""

import time

import torch
import torch.nn.functional as F

SLOW = 2.0  # times as long as float32: worth a word before hours of training
REPEATS = 5


def slowdown() -> float:
    """How many times as long a convolution, forward and backward, takes in bfloat16 as in float32, here.

    On one core: several wait for each other where something else computes too, and then it is that which is
    measured.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _seconds(torch.bfloat16) / _seconds(torch.float32)
    finally:
        torch.set_num_threads(threads)


def _seconds(kind: torch.dtype) -> float:
    images = torch.ones(10, 64, 16, 16, dtype=kind, requires_grad=True)
    weights = torch.ones(64, 64, 3, 3, dtype=kind, requires_grad=True)
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        torch.autograd.grad(F.conv2d(images, weights, padding=1).sum(), [images, weights])
        times.append(time.perf_counter() - start)
    return min(times)
