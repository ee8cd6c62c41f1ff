"""WA (Zhao et al. 2020): distillation weighted by the share of old classes, then weight aligning."""

from torch import Tensor

from focil.methods.icarl import Icarl
from focil.methods.offline import Offline
from focil.networks import distillation


class Wa(Icarl):
    """(1 - l) cross-entropy + l distillation with l = old / all classes; after each later task the head is aligned."""

    title = "WA"
    scores = Offline.scores

    def _distilled(self, loss: Tensor, logits: Tensor, taught: Tensor) -> Tensor:
        share = taught.shape[1] / logits.shape[1]
        return (1 - share) * loss + share * distillation(logits, taught)

    def _after(self, images: Tensor, labels: Tensor) -> None:
        self._align()
