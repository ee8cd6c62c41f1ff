"""Joint training: every task is learned with all images seen so far.

The upper bound, and no continual learning.
"""

import torch
from torch import Tensor

from focil.memo.method import Offline


class Joint(Offline):
    """One network; the images of old tasks are simply kept."""

    title = "joint"
    keeps_exemplars = False

    def _with_exemplars(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        tasks = list(self.stream)[: self.done]
        parts = [task.images() for task in tasks]
        firsts = [sum(self.sizes[:t]) for t in range(len(tasks))]
        old = [inside + first for (_, inside), first in zip(parts, firsts, strict=True)]
        return torch.cat([images, *(part for part, _ in parts)]), torch.cat([labels, *old])

    def published_memory(self) -> dict[str, int]:
        return super().published_memory() | {"exemplars": self.memory()["exemplars"]}

    def memory(self) -> dict[str, int]:
        kept = [task.images() for task in list(self.stream)[: self.done]]
        return super().memory() | {
            "exemplars": sum(images.nbytes for images, _ in kept),
            "labels": sum(8 * len(labels) for _, labels in kept),
        }
