"""iCaRL (Rebuffi et al. 2017): distillation from the network before the task, and the nearest mean of exemplars at test time."""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor

from focil.methods.offline import Offline
from focil.networks import distillation


class Icarl(Offline):
    """Cross-entropy and distillation; classes answer by the mean feature of their exemplars."""

    title = "iCaRL"
    distils = True
    teacher: torch.nn.Module | None = None
    _means: tuple[int, Tensor] = (0, torch.empty(0))  # tasks learned then, and the mean of each class

    def scores(self, images: Tensor) -> Tensor:
        """Minus the squared distance (N, classes seen) of the normalised feature to the mean of each class's exemplars."""
        if self._means[0] != self.done:
            stored = (F.normalize(self._features(images), dim=1) for images in self.exemplars.images)
            self._means = self.done, torch.stack([F.normalize(features.mean(0), dim=0) for features in stored])
        features = F.normalize(self._in_chunks(self.net.features, images), dim=1)
        return -torch.cdist(features, self._means[1]).square()

    def memory(self) -> dict[str, int]:
        found = super().memory()
        return found | {"teacher": found["networks"] + found["buffers"] + found["heads"] if self.done > 1 else 0}

    def _grow(self, task: int) -> None:
        self._means = (0, self._means[1])  # of the network as it was
        self.teacher = copy.deepcopy(self.net).requires_grad_(False).eval() if task else None
        super()._grow(task)

    def _loss(self, images: Tensor, labels: Tensor) -> Tensor:
        logits = self.net(images).float()
        loss = F.cross_entropy(logits, labels)
        return loss if self.teacher is None else self._distilled(loss, logits, self._taught(images))

    def _distilled(self, loss: Tensor, logits: Tensor, taught: Tensor) -> Tensor:
        return loss + distillation(logits, taught)

    def _taught(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            return self.teacher(images).float()

    def state(self) -> dict:
        return super().state() | {"teacher": self.teacher and self.teacher.state_dict()}

    def load(self, state: dict) -> None:
        super().load(state)
        if state["epoch"] and state["teacher"]:
            self.teacher.load_state_dict(state["teacher"])
