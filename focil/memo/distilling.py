"""What iCaRL and WA share: while a task is learned, the network before it is kept and teaches what it
knew."""

import copy
from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor

from focil.memo.method import Offline


class Distilling(Offline, ABC):
    """Cross-entropy, and from the second task on distillation from the network before the task."""

    distils = True
    teacher: torch.nn.Module | None = None

    def memory(self) -> dict[str, int]:
        """As `Offline.memory`, and the teacher."""
        found = super().memory()
        teacher = found["networks"] + found["buffers"] + found["heads"] if self.done > 1 else 0
        return found | {"teacher": teacher}

    def state(self) -> dict:
        """As `Offline.state`, and the teacher."""
        return super().state() | {"teacher": self.teacher and self.teacher.state_dict()}

    def load(self, state: dict) -> None:
        """As `Offline.load`, and the teacher."""
        super().load(state)
        if state["epoch"] and state["teacher"]:
            self.teacher.load_state_dict(state["teacher"])

    def _grow(self, task: int) -> None:
        self.teacher = copy.deepcopy(self.net).requires_grad_(False).eval() if task else None
        super()._grow(task)

    def _loss(self, images: Tensor, labels: Tensor) -> Tensor:
        logits = self.net(images).float()
        loss = F.cross_entropy(logits, labels)
        if self.teacher is None:
            return loss
        with torch.no_grad():
            taught = self.teacher(images).float()
        return self._distilled(loss, logits, taught)

    @abstractmethod
    def _distilled(self, loss: Tensor, logits: Tensor, taught: Tensor) -> Tensor:
        """The loss of a later task. taught: logits (B, old classes) of the network before it."""
