"""Where the time of one task goes: as it is, and without what makes it fast."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np
from torch import nn

from focil import expert, search
from focil.base import cores
from focil.base.convolution import Convolution
from focil.data.datasets import Dataset
from focil.data.images import Augmentation
from focil.data.stream import Stream, class_order
from focil.router.routed import RoutedFocil, RoutedOptions
from focil.router.router import Router
from focil.runs.params import read_params
from focil.runs.params_files import find

PARTS = ("search", "steps", "router", "evaluation")


def shares(name: str, side: int, classes: int, images: int, tested: int = 10_000) -> None:
    """One task of a benchmark, on noise: seconds of the search, of the steps after it, of the router, and of
    scoring the test images by the one expert.

    name: of the params file whose recipe it is. side: of an image. classes, images: of the task. tested: test
    images.
    """
    benchmark = read_params(find(name))
    generator = np.random.default_rng(0)
    pixels, test = (
        generator.integers(0, 256, (count, side, side, 3), dtype=np.uint8) for count in (images, tested)
    )
    data = Dataset.from_arrays(
        pixels, np.arange(images) % classes, test, np.arange(tested) % classes, name="noise"
    )
    for what, change in (("without what makes it fast", plain), ("as it is", ExitStack)):
        with change():
            took = _one_task(data, benchmark.tasks, classes, benchmark.focil)
        total = sum(took.values())
        parts = "   ".join(f"{part} {took[part]:6.1f} s {took[part] / total:4.0%}" for part in PARTS)
        print(f"  {what:26} {total:6.1f} s   {parts}", flush=True)


@contextmanager
def plain() -> Iterator[None]:
    """Convolutions as torch has them, candidates in turns, test images in large parts as they come."""
    with (
        patch.object(Convolution, "forward", nn.Conv2d.forward),
        patch.object(cores, "_one_core_each", lambda count: None),
        patch.object(expert, "_laid", lambda images, precision: images),
        patch.object(expert, "CHUNK", 250 * 64 * 64),
    ):
        yield


def _one_task(data: Dataset, tasks: int, classes: int, options: RoutedOptions) -> Counter[str]:
    took: Counter[str] = Counter()
    stream = Stream(data, class_order(data, 1, 0), 0, augmentation=Augmentation(4, True))
    method = RoutedFocil("resnet18", data.image_shape, tasks, classes, 0, options)

    def phase(searching: search.Search) -> str:
        return "search" if len(searching.alive) > 1 else "steps"

    with (
        patch.object(search.Search, "step", _timed(search.Search.step, took, phase)),
        patch.object(Router, "observe", _timed(Router.observe, took, lambda router: "router")),
        patch.object(RoutedFocil, "scores", _timed(RoutedFocil.scores, took, lambda method: "evaluation")),
    ):
        method.learn(next(iter(stream)))
        method.scores(stream.prepare(stream.test))
    return took


def _timed(call: Callable, took: Counter[str], part: Callable[[Any], str]) -> Callable:
    """A method that adds its seconds to the part that its object is in when it is called."""

    def timed(self: Any, *arguments: Any) -> Any:
        key, start = part(self), time.perf_counter()
        try:
            return call(self, *arguments)
        finally:
            took[key] += time.perf_counter() - start

    return timed
