"""Stored images of the stream, as they came: uint8, un-augmented, every byte counted.

Two rules say who stays when the buffer is full. `reservoir`: every image seen so far is stored with the same
probability (Vitter 1985, algorithm R). `balanced`: an image of the class with most stored images gives way
(Prabhu et al. 2020, "GDumb", algorithm 1).
"""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from focil.base.errors import FocilError

Rule = Literal["reservoir", "balanced"]


class BufferError(FocilError, ValueError):
    """A buffer that cannot be kept as asked; the message says what to change."""


class Stored(NamedTuple):
    """Images that were drawn from a buffer, with their classes and what was stored beside them.

    beside: logits of the network when the image was stored, or None.
    """

    images: UInt8[Tensor, "N C H W"]
    labels: Int64[Tensor, " N"]
    beside: Float[Tensor, "N classes"] | None


class Buffer:
    """At most `size` images of the stream.

    classes: that will be seen in the end. training_images: of the whole stream. beside: numbers stored with
    each image. Raises BufferError for a size that is smaller than one image a class, or larger than the
    stream.
    """

    def __init__(
        self,
        size: int,
        classes: int,
        training_images: int,
        image_shape: tuple[int, int, int],
        *,
        rule: Rule = "reservoir",
        beside: int = 0,
        device: str | torch.device = "cpu",
    ):
        if size < classes:
            raise BufferError(
                f"{size} stored images are fewer than one for each of {classes} classes; set "
                f"online.exemplars to {classes} or more"
            )
        if size > training_images:
            raise BufferError(
                f"{size} stored images are more than the {training_images} that the stream has; set "
                "online.exemplars lower"
            )
        self.size, self.rule = size, rule
        self.images = torch.empty(size, *image_shape, dtype=torch.uint8, device=device)
        self.labels = torch.empty(size, dtype=torch.int64, device=device)
        self.beside = torch.empty(size, beside, device=device) if beside else None
        self.counts = torch.zeros(classes, dtype=torch.int64)  # stored images of each class
        self.filled = 0
        self.seen = 0

    def __len__(self) -> int:
        return self.filled

    def add(
        self,
        images: UInt8[Tensor, "B C H W"],
        labels: Int64[Tensor, " B"],
        generator: torch.Generator,
        beside: Float[Tensor, "B numbers"] | None = None,
    ) -> None:
        """Offer images one by one; the rule says which are stored, and in whose place."""
        for row, label in enumerate(labels.tolist()):
            place = self._place(label, generator)
            self.seen += 1
            if place is None:
                continue
            if place < self.filled:
                self.counts[self.labels[place]] -= 1
            self.filled = max(self.filled, place + 1)
            self.images[place], self.labels[place] = images[row], label
            self.counts[label] += 1
            if self.beside is not None:
                self.beside[place] = beside[row]

    def draw(self, count: int, generator: torch.Generator) -> Stored | None:
        """`count` different images at random, fewer while fewer are stored; None while there is none."""
        if not self.filled:
            return None
        return self._take(torch.randperm(self.filled, generator=generator)[:count].to(self.images.device))

    def all(self) -> Stored:
        """Everything that is stored."""
        return self._take(torch.arange(self.filled, device=self.images.device))

    @property
    def nbytes(self) -> dict[str, int]:
        """Bytes of the full buffer: images, labels of 8 bytes, and what is stored beside them."""
        parts = {"stored_images": self.images.nbytes, "stored_labels": self.labels.nbytes}
        return parts | ({} if self.beside is None else {"stored_logits": self.beside.nbytes})

    def state(self) -> dict:
        """Tensors and plain values for `load`."""
        kept = self.all()
        return {"images": kept.images, "labels": kept.labels, "beside": kept.beside, "seen": self.seen}

    def load(self, state: dict) -> None:
        """Continue from a `state`."""
        self.filled, self.seen = len(state["labels"]), state["seen"]
        self.images[: self.filled], self.labels[: self.filled] = state["images"], state["labels"]
        self.counts = torch.bincount(state["labels"].cpu(), minlength=len(self.counts))
        if self.beside is not None:
            self.beside[: self.filled] = state["beside"]

    def _place(self, label: int, generator: torch.Generator) -> int | None:
        """Where the next image goes; None if it is not stored."""
        if self.filled < self.size:
            return self.filled
        if self.rule == "reservoir":
            place = int(torch.randint(self.seen + 1, (1,), generator=generator))
            return place if place < self.size else None
        largest = int(self.counts.argmax())
        if self.counts[label] >= self.counts[largest]:
            return None
        members = (self.labels == largest).nonzero().flatten()
        return int(members[torch.randint(len(members), (1,), generator=generator)])

    def _take(self, rows: Tensor) -> Stored:
        return Stored(
            self.images[rows], self.labels[rows], None if self.beside is None else self.beside[rows]
        )
