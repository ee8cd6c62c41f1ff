"""Maximally interfered retrieval: the stored images that the next step would hurt most are learned again."""

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor
from torch.func import functional_call

from focil.online.buffer import Stored
from focil.online.er import ExperienceReplay
from focil.online.method import ReplayOptions


class MirOptions(ReplayOptions):
    """`ReplayOptions`, and how many stored images are looked at."""

    candidates: int = Field(50, ge=1, description="stored images among which the most hurt are looked for")


class Mir(ExperienceReplay):
    """ER-MIR (Aljundi et al. 2019, "Online Continual Learning with Maximally Interfered Retrieval", section
    3.1): of some stored images, those whose loss a step on the new batch alone would raise most."""

    title = "MIR"
    options_of = MirOptions

    def _drawn(self, images: Tensor, labels: Tensor) -> Stored | None:
        found = self.buffer.draw(self.options.candidates, self.dice)
        if found is None or len(found.labels) <= self.options.memory_batch:
            return found
        rise = self._losses(found, self._after_a_step(images, labels)) - self._losses(found, {})
        most = rise.argsort(descending=True, stable=True)[: self.options.memory_batch]
        return Stored(found.images[most], found.labels[most], None)

    def _after_a_step(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Parameters after a step on the new batch alone, which is not taken."""
        self._train_on(len(labels))
        kept = {name: buffer.clone() for name, buffer in self.net.named_buffers()}
        parameters = dict(self.net.named_parameters())
        loss = F.cross_entropy(self._forward(self._prepared(images)), labels)
        gradients = torch.autograd.grad(loss, list(parameters.values()))
        for name, buffer in self.net.named_buffers():  # what the pass has changed of the statistics
            buffer.copy_(kept[name])
        return {
            name: (parameter - self.options.lr * gradient).detach()
            for (name, parameter), gradient in zip(parameters.items(), gradients, strict=True)
        }

    def _losses(self, found: Stored, parameters: dict[str, Tensor]) -> Tensor:
        self.net.eval()
        self.passed += len(found.labels)
        images = self.stream.prepare(found.images).contiguous(memory_format=torch.channels_last)
        with torch.no_grad(), self._precise():
            logits = functional_call(self.net, parameters, (images,)).float()
        return F.cross_entropy(logits, found.labels, reduction="none")
