"""A training step on a GPU, recorded once and replayed: small networks wait for Python otherwise.

A step of ConvNet2 launches some hundred kernels of a few microseconds each; a CUDA graph launches them at
once.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

WARM = 3  # steps of a batch size before it is recorded: buffers must exist, and libraries have chosen

Step = Callable[[Tensor, Tensor], Tensor]


class _Graph(NamedTuple):
    graph: torch.cuda.CUDAGraph
    images: Tensor
    labels: Tensor
    loss: Tensor


class Recorded:
    """A step as a CUDA graph, one for each batch size.

    step: images and labels to the loss; whatever it changes, it changes in place. To be called inside
    `own_stream`.
    """

    def __init__(self, step: Step):
        self.step = step
        self._calls: Counter = Counter()
        self._graphs: dict[int, _Graph] = {}

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        """One step; the loss is overwritten by the next one."""
        size = len(images)
        self._calls[size] += 1
        if self._calls[size] <= WARM:
            return self.step(images, labels)
        if size not in self._graphs:
            self._graphs[size] = self._record(images, labels)
        recorded = self._graphs[size]
        recorded.images.copy_(images)
        recorded.labels.copy_(labels)
        recorded.graph.replay()
        return recorded.loss

    def _record(self, images: Tensor, labels: Tensor) -> _Graph:
        """Recording computes nothing: the step is done by its first replay."""
        graph, images, labels = torch.cuda.CUDAGraph(), images.clone(), labels.clone()
        with torch.cuda.graph(graph, stream=torch.cuda.current_stream()):
            loss = self.step(images, labels)
        return _Graph(graph, images, labels, loss)


def give_back(device: torch.device) -> None:
    """Memory that the recorded steps of a task took, back to a card that other trainings share."""
    if device.type == "cuda":
        torch.cuda.empty_cache()


@contextmanager
def own_stream(device: torch.device) -> Iterator[None]:
    """On a GPU, work on a stream of its own, as recording asks for; elsewhere nothing."""
    if device.type != "cuda":
        yield
        return
    stream, outside = torch.cuda.Stream(device), torch.cuda.current_stream(device)
    stream.wait_stream(outside)
    with torch.cuda.stream(stream):
        yield
    outside.wait_stream(stream)
