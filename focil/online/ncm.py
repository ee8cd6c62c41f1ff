"""Nearest class mean of raw pixels: a mean for each class, and nothing else."""

from typing import ClassVar

import torch
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from focil.online.streaming import Streaming


class NcmOptions(BaseModel):
    """Nothing can be chosen."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Sums:
    """Images and pixel sums of each class."""

    def __init__(self, features: int, classes: int, device: torch.device):
        self.counts = torch.zeros(classes, dtype=torch.int64, device=device)
        self.sums = torch.zeros(classes, features, device=device)

    def observe(self, features: Tensor, labels: Tensor) -> None:
        """Add features of classes to the sums."""
        self.sums.index_add_(0, labels, features)
        self.counts += torch.bincount(labels, minlength=len(self.counts))

    def scores(self, features: Float[Tensor, "N F"]) -> Float[Tensor, "N classes"]:
        """Minus half the squared distance from each class's mean; -inf for classes not seen."""
        means = self.sums / self.counts.clamp(min=1)[:, None]
        near = -torch.cdist(features, means).square() / 2
        return near.masked_fill(self.counts == 0, -torch.inf)

    @property
    def nbytes(self) -> int:
        """Bytes of the sums."""
        return self.counts.nbytes + self.sums.nbytes

    def state(self) -> dict:
        """Tensors for `load`."""
        return {"counts": self.counts, "sums": self.sums}

    def load(self, state: dict) -> None:
        """Continue from a `state`."""
        device = self.counts.device
        self.counts, self.sums = state["counts"].to(device).clone(), state["sums"].to(device).clone()


class Ncm(Streaming):
    """Nearest class mean (Mensink et al. 2013, "Distance-Based Image Classification: Generalizing to New
    Classes at Near-Zero Cost") with the distance of raw pixels."""

    title = "NCM on pixels"
    options_of = NcmOptions
    choices: ClassVar = {}

    def _build(self) -> None:
        size = len(self._features(torch.zeros(1, *self.image_shape, device=self.device))[0])
        self.known = Sums(size, self.tasks * self.classes, self.device)
