"""WA (Zhao et al. 2020): distillation weighted by the share of old classes, then weight aligning."""

from torch import Tensor

from focil.memo.distilling import Distilling
from focil.memo.networks import distillation


class Wa(Distilling):
    """(1 - l) cross-entropy + l distillation with l = old / all classes.

    After each later task the head is aligned.
    """

    title = "WA"

    def _distilled(self, loss: Tensor, logits: Tensor, taught: Tensor) -> Tensor:
        share = taught.shape[1] / logits.shape[1]
        return (1 - share) * loss + share * distillation(logits, taught)

    def _after(self, images: Tensor, labels: Tensor) -> None:
        self._align()
