"""Dark experience replay: the stored images keep what the network once said of them."""

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from focil.online.buffer import Stored
from focil.online.method import Replay, ReplayOptions


class DerppOptions(ReplayOptions):
    """`ReplayOptions`, and the weights of the two terms of DER++."""

    alpha: float = Field(0.1, ge=0, description="weight of the squared error to stored logits")
    beta: float = Field(0.5, ge=0, description="weight of the cross-entropy on stored labels")


class Derpp(Replay):
    """DER++ (Buzzega et al. 2020, "Dark Experience for General Continual Learning", equation 6): beside the
    new batch, the squared error to the logits of one draw of stored images, and the cross-entropy of another.
    Logits are stored as they were when the image was learned."""

    title = "DER++"
    options_of = DerppOptions
    beside = True

    def _loss(self, images: Tensor, labels: Tensor, stored: Stored | None) -> Tensor:
        logits, _ = self._together(images, labels, stored)
        new, old = logits.tensor_split([len(labels)])
        self._said = new.detach()
        loss = F.cross_entropy(new, labels)
        if stored is not None:
            half = self._first_draw
            loss = loss + self.options.alpha * F.mse_loss(old[:half], stored.beside[:half])
            loss = loss + self.options.beta * F.cross_entropy(old[half:], stored.labels[half:])
        return loss

    def _drawn(self, images: Tensor, labels: Tensor) -> Stored | None:
        draws = [self.buffer.draw(self.options.memory_batch, self.dice) for _ in range(2)]
        if draws[0] is None:
            return None
        self._first_draw = len(draws[0].labels)
        return Stored(*(torch.cat(parts) for parts in zip(*draws, strict=True)))

    def _store(self, images: Tensor, labels: Tensor) -> None:
        self.buffer.add(images, labels, self.dice, self._said)
