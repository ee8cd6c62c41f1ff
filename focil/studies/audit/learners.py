"""Sub-networks that learn as in the release.

Logits of all classes (R5, R7), frozen weights in the optimiser (R6), batch statistics at test time (R8).
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from focil import backbones
from focil.base.precision import Precision
from focil.expert import Expert, Store, masked_weights
from focil.trainer import HEAD, Learners, Sgd, Start

TEST_BATCH = 10  # R8: images that are normalised together


class Classified(nn.Module):
    """R5: a backbone with the classifier of all classes on top, so that masks cover it too.

    (B, C, H, W) -> (B, all classes).
    """

    def __init__(self, backbone: nn.Module, features: int, classes: int):
        super().__init__()
        self.backbone = backbone
        self.classifier = nn.Linear(features, classes, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.backbone(images))


class ReleasedLearners(Learners):
    """Learners whose logits may be those of all classes, (C, B, all classes).

    rows: the task's own classes among the logits. rest (R7): head rows of older and of later tasks, which are
    not trained; None where only the own rows count, or where the backbone has the classifier (R5; the heads
    are empty then). everywhere (R7): the accuracy counts over all logits. free: flags by layer; connections
    that are in the optimiser without being free get no gradient (R6).
    """

    def __init__(
        self,
        backbone: nn.Module,
        starts: Sequence[Start],
        sgd: Sgd,
        *,
        rows: slice,
        rest: tuple[Tensor, Tensor] | None,
        everywhere: bool,
        free: dict[str, np.ndarray],
    ):
        self._rows, self._rest, self._everywhere = rows, rest, everywhere
        super().__init__(backbone, starts, sgd)
        flags = [
            torch.from_numpy(free[slot.name][start.mask.new[slot.name]])
            if slot.name in free
            else torch.ones(size)
            for slot in self._slots
            for start, size in zip(self.starts, slot.sizes, strict=True)
        ]
        self._learns = torch.cat([flag.to(self._values.dtype) for flag in flags]).to(self._values.device)

    def keep(self, which: Sequence[int]) -> None:
        self._learns = self._select(self._learns, which)
        super().keep(which)

    def _update(self, gradient: Tensor) -> None:
        super()._update(gradient * self._learns)  # weight decay and momentum come after: they still act

    def _losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        return super()._losses(logits[:, :, self._rows], labels)

    def _accuracy(self, logits: Tensor, labels: Tensor) -> Tensor:
        if self._everywhere:
            return super()._accuracy(logits, labels + self._rows.start)
        return super()._accuracy(logits[:, :, self._rows], labels)

    def _one(self, tensors: dict[str, Tensor], buffers: dict[str, Tensor], images: Tensor) -> Tensor:
        tensors = dict(tensors)
        head = tensors.pop(HEAD)
        found = backbones.compute_features(self.backbone, tensors | buffers, images, self.sgd.precision)
        if not len(head):
            return found  # R5: logits already
        return found @ (head if self._rest is None else torch.cat([self._rest[0], head, self._rest[1]])).T


def normalises(backbone: nn.Module) -> bool:
    """Whether a backbone normalises batches, so that R8 can matter."""
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in backbone.modules())


def batch_normalised(
    backbone: nn.Module,
    store: Store,
    expert: Expert,
    images: Float[Tensor, "N C H W"],
    groups: Sequence[Int64[Tensor, " _"]],
    precision: Precision,
) -> Float[Tensor, "N K"]:
    """R8: logits of normalised images, each group of positions normalised by its own statistics."""
    tensors = masked_weights(store, expert.mask) | {
        name: tensor.clone() for name, tensor in expert.own.items()
    }
    backbone.train()
    logits = torch.empty(len(images), len(expert.head), device=images.device)
    with torch.no_grad():
        for group in groups:
            logits[group] = (
                backbones.compute_features(backbone, tensors, images[group], precision) @ expert.head.T
            )
    return logits
