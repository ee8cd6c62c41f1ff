"""A network with a growing head, and what is done to heads: widening, aligning, distillation."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from focil.memo import split

TEMPERATURE = 2.0  # of distillation (iCaRL, WA)


def widened(head: nn.Linear | None, inputs: int, classes: int) -> nn.Linear:
    """A linear layer with more inputs or classes that keeps the old rows x old columns and the old biases.

    The rest is fresh.
    """
    fresh = nn.Linear(inputs, classes)
    if head is not None:
        with torch.no_grad():
            fresh.weight[: head.out_features, : head.in_features] = head.weight
            fresh.bias[: head.out_features] = head.bias
    return fresh


def align(head: nn.Linear, new: int, longest: float = torch.inf) -> None:
    """Weight aligning (WA, Zhao et al. 2020, equation 8): the last `new` rows get the mean norm of the old
    rows, times at most `longest`.

    It is meant for new rows that are longer than the old ones; after a short training they are shorter, and
    would gain by it.
    """
    with torch.no_grad():
        norms = head.weight.norm(dim=1)
        head.weight[-new:] *= (norms[:-new].mean() / norms[-new:].mean()).clamp(max=longest)


def distillation(logits: Tensor, teacher: Tensor) -> Tensor:
    """Cross-entropy between the softened answers of a teacher (B, old classes) and the first logits of its
    pupil, T = 2."""
    old = teacher.shape[1]
    return (
        -(F.softmax(teacher / TEMPERATURE, 1) * F.log_softmax(logits[:, :old] / TEMPERATURE, 1)).sum(1).mean()
    )


class SingleNet(nn.Module):
    """One backbone and one head over all classes seen."""

    def __init__(self, parts: split.Split):
        super().__init__()
        self.generalized, self.specialised, self.size = (
            parts.generalized,
            parts.specialised,
            parts.feature_size,
        )
        self.head: nn.Linear | None = None
        self.to(memory_format=torch.channels_last)

    def widen(self, classes: int) -> None:
        """Add rows for new classes."""
        self.head = widened(self.head, self.size, classes + (self.head.out_features if self.head else 0))

    def features(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, F)."""
        return self.specialised(self.generalized(images))

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images))

    def training_mode(self) -> None:
        """Training behaviour of what is trained."""
        self.train()

    def blocks(self) -> list[nn.Module]:
        """All that the published account counts."""
        return [self.generalized, self.specialised]

    def newest_blocks(self) -> dict[str, nn.Module]:
        """Name -> block on the path that learns the newest task, shallow to deep."""
        return dict([*self.generalized.named_children(), *self.specialised.named_children()])
