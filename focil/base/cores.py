"""Independent calculations side by side, one core each: sooner done than one after the other on all cores."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


class Cores:
    """The processor cores that torch may use, for calls that are repeated: every time the same calculation.

    The first time, calls are made in turns; and for ever if they draw from torch's generator, as dropout
    does, whose draws need an order.
    """

    def __init__(self) -> None:
        self._threads: ThreadPoolExecutor | None = None

    def map(self, call: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """Results of a call for every item, in their order."""
        if self._threads is None or len(items) == 1:
            dice = torch.get_rng_state()
            results = [call(item) for item in items]
            undrawn = torch.equal(dice, torch.get_rng_state())
            self._threads = _one_core_each(len(items)) if undrawn else None
            return results
        cores = torch.get_num_threads()
        try:
            return list(self._threads.map(lambda item: _on_one_core(call, item), items))
        finally:
            torch.set_num_threads(cores)  # what starts later takes the last number that any thread has set


def _on_one_core(call: Callable[[Item], Result], item: Item) -> Result:
    # A new thread takes, when it first asks, the number that any thread has set last. So it asks first.
    torch.get_num_threads()
    torch.set_num_threads(1)
    return call(item)


def _one_core_each(count: int) -> ThreadPoolExecutor | None:
    threads = min(torch.get_num_threads(), count)
    # A GPU is one device, with a generator of its own.
    return None if threads < 2 or torch.cuda.is_initialized() else ThreadPoolExecutor(threads)
