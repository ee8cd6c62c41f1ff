"""ER with an asymmetric loss: new classes do not push old ones away."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from focil.online.buffer import Stored
from focil.online.method import Replay


class ErAce(Replay):
    """ER-ACE (Caccia et al. 2022, "New Insights on Reducing Abrupt Representation Change in Online Continual
    Learning", equation 4): a new image competes only with the classes of its own batch, a stored one with all
    classes seen."""

    title = "ER-ACE"

    def __init__(self, *given: Any, **named: Any):
        super().__init__(*given, **named)
        self.seen = torch.zeros(self.tasks * self.classes, dtype=torch.bool, device=self.device)

    def _loss(self, images: Tensor, labels: Tensor, stored: Stored | None) -> Tensor:
        self.seen[labels] = True
        present = torch.zeros_like(self.seen)
        present[labels] = True
        logits, _ = self._together(images, labels, stored)
        new, old = logits.tensor_split([len(labels)])
        loss = F.cross_entropy(new.masked_fill(~present, -torch.inf), labels)
        if stored is not None:
            loss = loss + F.cross_entropy(old.masked_fill(~self.seen, -torch.inf), stored.labels)
        return loss

    def load(self, state: dict) -> None:
        """As `Replay.load`."""
        super().load(state)
        self.seen[: self.done * self.classes] = True
