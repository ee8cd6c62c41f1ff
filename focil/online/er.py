"""Experience replay: new and stored images are learned together."""

import torch.nn.functional as F
from torch import Tensor

from focil.online.buffer import Stored
from focil.online.method import Replay


class ExperienceReplay(Replay):
    """ER (Chaudhry et al. 2019, "On Tiny Episodic Memories in Continual Learning", algorithm 1): the
    cross-entropy of the batch and of as many stored images, all in one pass."""

    title = "ER"

    def _loss(self, images: Tensor, labels: Tensor, stored: Stored | None) -> Tensor:
        return F.cross_entropy(*self._together(images, labels, stored))
