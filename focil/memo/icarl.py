"""iCaRL (Rebuffi et al. 2017): distillation, and the nearest mean of exemplars at test time."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from focil.memo.distilling import Distilling
from focil.memo.networks import distillation


class Icarl(Distilling):
    """Cross-entropy and distillation; classes answer by the mean feature of their exemplars."""

    title = "iCaRL"
    _means: tuple[int, Tensor] = (0, torch.empty(0))  # tasks learned then, and the mean of each class

    def scores(self, images: Float[Tensor, "N C H W"]) -> Float[Tensor, "N classes"]:
        """Minus the squared distance of the normalised feature to the mean of each class's exemplars."""
        if self._means[0] != self.done:
            stored = (F.normalize(self._features(images), dim=1) for images in self.exemplars.images)
            means = torch.stack([F.normalize(features.mean(0), dim=0) for features in stored])
            self._means = self.done, means
        features = F.normalize(self._in_chunks(self.net.features, images), dim=1)
        return -torch.cdist(features, self._means[1]).square()

    def _grow(self, task: int) -> None:
        self._means = (0, self._means[1])  # those kept are of the network as it was
        super()._grow(task)

    def _distilled(self, loss: Tensor, logits: Tensor, taught: Tensor) -> Tensor:
        return loss + distillation(logits, taught)
