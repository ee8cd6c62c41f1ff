"""Averaged gradient episodic memory: a step may not go against the stored images."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from focil.online.buffer import Stored
from focil.online.method import Replay


class Agem(Replay):
    """A-GEM (Chaudhry et al. 2019, "Efficient Lifelong Learning with A-GEM", equation 11): where the gradient
    of the new batch points against that of the stored images, the part that does is taken away."""

    title = "A-GEM"

    def _step(self, images: Tensor, labels: Tensor, stored: Stored | None = None) -> None:
        self._against = None
        if stored is not None:
            self._train_on(len(stored.labels))
            loss = F.cross_entropy(self._forward(self._prepared(stored.images)), stored.labels)
            self._against = torch.autograd.grad(loss, list(self.net.parameters()))
        super()._step(images, labels)

    def _descend(self, parameters: Sequence[Tensor], gradients: Sequence[Tensor]) -> None:
        if self._against is not None:
            product = sum(torch.sum(g * a) for g, a in zip(gradients, self._against, strict=True))
            if product < 0:
                share = product / sum(a.square().sum() for a in self._against)
                gradients = [g - share * a for g, a in zip(gradients, self._against, strict=True)]
        super()._descend(parameters, gradients)
