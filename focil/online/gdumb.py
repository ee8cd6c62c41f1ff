"""GDumb: keep a balanced sample, and learn from it alone, from the start, when asked."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from focil.data.stream import Task
from focil.online.method import RATES, Replay, ReplayOptions


class GdumbOptions(ReplayOptions):
    """`ReplayOptions`, and how the stored images are learned; images are stored class-balanced."""

    rule: Literal["balanced"] = Field("balanced", description="GDumb's own")
    steps: Literal[1] = Field(1, description="nothing is learned from the stream; see epochs")
    epochs: int = Field(30, ge=1, le=10_000, description="passes over the stored images")
    last_lr: float = Field(5e-4, gt=0, lt=1000, description="learning rate at the end; a cosine leads there")


class Gdumb(Replay):
    """GDumb (Prabhu et al. 2020, "GDumb: A Simple Approach that Questions Our Progress in Continual
    Learning", section 3): nothing is learned from the stream. When asked, which is after each task, a new
    network learns the stored images. Without CutMix."""

    title = "GDumb"
    options_of = GdumbOptions
    choices = {"lr": RATES, "epochs": (10, 30)}

    def learn(self, task: Task) -> None:
        """Store the task's images as the rule has it, then learn what is stored, from the start."""
        self._throw_dice(task.index)
        for images, labels in task.raw_batches():
            self._store(images, labels + task.index * self.classes)
        self._build()
        images, labels, _ = self.buffer.all()
        size, options = self.options.memory_batch, self.options
        batches = -(-len(labels) // size)
        for epoch in range(options.epochs):
            order = torch.randperm(len(labels), generator=self.dice).to(self.device)
            for number, rows in enumerate(order.tensor_split(batches)):
                share = (epoch + number / batches) / options.epochs
                self.rate = (
                    options.last_lr + (options.lr - options.last_lr) * (1 + math.cos(math.pi * share)) / 2
                )
                self._step(images[rows], labels[rows])
        self._finish(task, self.passed)

    def _loss(self, images: Tensor, labels: Tensor, stored: None) -> Tensor:
        return F.cross_entropy(self._forward(images), labels)
