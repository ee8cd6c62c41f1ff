"""What the online methods share: one pass, a step or more for each batch, one network with one head."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from focil.backbones import ImageShape
from focil.base import seeds
from focil.base.precision import Precision, passes
from focil.confidence import Evidence, log_softmax
from focil.data.stream import Stream, Task
from focil.online import networks
from focil.online.buffer import Buffer, Rule, Stored
from focil.search import DivergedError

RATES = (0.01, 0.03, 0.1, 0.3)
TRIALS = 8  # of every method: what a study of them tries before it compares them
CHUNK = 200_000  # pixels scored at a time, whole images: few enough that activations stay in a cache


class OnlineOptions(BaseModel):
    """What every method that trains has; a method that has more says so in a subclass."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    network: networks.NetworkName = Field("mlp", description="body of the network")
    lr: float = Field(0.1, gt=0, lt=1000, description="learning rate of plain SGD")
    steps: int = Field(1, ge=1, le=1000, description="steps for each batch of the stream")
    precision: Precision = Field("float32", description="of the passes through the network")


class ReplayOptions(OnlineOptions):
    """What methods with a buffer have beside `OnlineOptions`."""

    exemplars: int = Field(ge=1, description="images that are stored, of all classes together")
    memory_batch: int = Field(10, ge=1, le=4096, description="stored images that a step learns again")
    rule: Rule = Field("reservoir", description="who stays when the buffer is full")


class OneHead(ABC):
    """What is asked of every method here: scores of all classes, from which evidence follows.

    image_shape: (C, H, W). tasks, classes: number of tasks, and of classes in each. stream: whose training
    images it will be given, for their normalisation and augmentation. `learn` one task after the other.
    """

    title: ClassVar[str]
    options_of: ClassVar[type[BaseModel]]
    choices: ClassVar[dict[str, tuple]]  # values of options whose combinations are its TRIALS

    def __init__(
        self, image_shape: ImageShape, tasks: int, classes: int, seed: int, stream: Stream, options: BaseModel
    ):
        self.image_shape, self.tasks, self.classes, self.seed = image_shape, tasks, classes, seed
        self.stream, self.options, self.device = stream, options, stream.device
        self.done = 0  # tasks learned
        self.report: list[dict] = []
        self._build()

    def evidence(self, images: Float[Tensor, "N C H W"]) -> dict[str, Evidence]:
        """What is said of normalised images: for a task speaks the share of its best class.

        So one image alone gets the class with the largest score of all.
        """
        scores = self.scores(images)[:, : self.done * self.classes].cpu().double().numpy()
        within = scores.reshape(len(images), self.done, self.classes)
        best = within.max(axis=2)
        within = np.where(np.isfinite(best)[:, :, None], within, 0.0)  # of a task nothing is stored
        return {"network": Evidence(log_softmax(within), log_softmax(best))}

    @abstractmethod
    def scores(self, images: Float[Tensor, "N C H W"]) -> Float[Tensor, "N classes"]:
        """Scores of all classes of the stream for normalised images, seen or not."""

    def state(self) -> dict:
        """Tensors and plain values from which `load` goes on after a task."""
        return {"done": self.done, "report": self.report}

    def load(self, state: dict) -> None:
        """Continue from a `state`."""
        self.done, self.report = state["done"], state["report"]

    def _build(self) -> None:  # noqa: B027 (some have nothing to make)
        """Make what learns, as it is at the start."""

    def _finish(self, task: Task, passed: int) -> None:
        """Note that a task is learned. passed: images that the network computed with for it, each as often
        as it did."""
        self.done = task.index + 1
        task.release()  # what a method keeps, it has by now
        self.report.append({"draws_per_sample": task.draws_per_sample, "passes": passed / task.size})


class Online(OneHead):
    """One network that takes `steps` steps on each batch and sees nothing again: finetuning, and the base of
    the methods that train."""

    title = "finetune"
    options_of = OnlineOptions
    choices = {"lr": RATES, "steps": (1, 3)}

    def learn(self, task: Task) -> None:
        """Take the steps of every batch of the task, each image drawn once."""
        self._throw_dice(task.index)
        for images, labels in task.raw_batches():
            self._learn_batch(images, labels + task.index * self.classes)
        self._finish(task, self.passed)

    def _finish(self, task: Task, passed: int) -> None:
        for numbers in self.net.state_dict().values():  # the last step has no loss after it
            self._must_be_finite(numbers)
        super()._finish(task, passed)

    def scores(self, images: Float[Tensor, "N C H W"]) -> Float[Tensor, "N classes"]:
        """Scores of all classes of the stream for normalised images, seen or not."""
        return self._in_parts(self.net, images)

    def memory(self) -> dict[str, int]:
        """Bytes that must be kept between tasks and at test time."""
        return {
            "network": sum(parameter.nbytes for parameter in self.net.parameters()),
            "statistics": sum(buffer.nbytes for buffer in self.net.buffers()),
        }

    def state(self) -> dict:
        """As `OneHead.state`, and the network."""
        return super().state() | {"net": self.net.state_dict()}

    def load(self, state: dict) -> None:
        """As `OneHead.load`, and the network."""
        super().load(state)
        self.net.load_state_dict(state["net"])

    # What a method may do differently

    def _build(self) -> None:  # noqa: B027 (some have nothing to make)
        name, count = self.options.network, self.tasks * self.classes
        self.net = networks.build(name, self.image_shape, count, self.seed).to(self.device)
        self.rate = self.options.lr

    def _learn_batch(self, images: UInt8[Tensor, "B C H W"], labels: Int64[Tensor, " B"]) -> None:
        """Learn a batch of the stream."""
        for _ in range(self.options.steps):
            self._step(images, labels)

    def _loss(self, images: Tensor, labels: Tensor, stored: Stored | None) -> Tensor:
        """Of the prepared images of a batch, and of the stored images that were drawn, not prepared yet."""
        return torch.nn.functional.cross_entropy(self._forward(images), labels)

    # Tools for methods

    def _throw_dice(self, task: int) -> None:
        """Draws and crops of a task are the same however often the run was interrupted before it; its images
        are counted anew."""
        self.passed = 0
        self.dice = seeds.torch_generator(self.seed, "replay", task)
        self.crops = seeds.torch_generator(self.seed, "augmentation", task, device=self.device)

    def _step(self, images: Tensor, labels: Tensor, stored: Stored | None = None) -> None:
        self._train_on(len(labels) + (len(stored.labels) if stored else 0))
        loss = self._loss(self._prepared(images), labels, stored)
        self._must_be_finite(loss)
        parameters = list(self.net.parameters())
        self._descend(parameters, torch.autograd.grad(loss, parameters))

    def _train_on(self, images: int) -> None:
        """Normalise by the batch of so many images; one alone has no spread: as at test time."""
        if self.net.training != (images > 1):
            self.net.train(images > 1)

    def _must_be_finite(self, numbers: Tensor) -> None:
        """Raise DivergedError where the loss, or what it is computed from, is not finite any more."""
        if not torch.isfinite(numbers).all():
            raise DivergedError(
                f"{self.title} diverged in task {self.done}: its loss or its weights are not "
                f"finite; lower online.lr (it is {self.options.lr:g})"
            )

    def _descend(self, parameters: Sequence[Tensor], gradients: Sequence[Tensor]) -> None:
        """A step of plain SGD. Torch's optimiser adds a fifth to the time of a small network's step."""
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.add_(gradient, alpha=-self.rate)

    def _prepared(self, images: Tensor) -> Tensor:
        """Images of the stream as the network gets them: augmented anew, and normalised."""
        return self.stream.prepare(self.stream.augmentation(images, self.crops))

    def _forward(self, images: Tensor, function: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Images through the network, or through another function of it."""
        self.passed += len(images)
        laid = images.contiguous(memory_format=torch.channels_last)
        with self._precise():
            return (function or self.net)(laid).float()

    def _in_parts(self, function: torch.nn.Module, images: Tensor) -> Tensor:
        self.net.eval()
        size = max(1, CHUNK // (images.shape[2] * images.shape[3]))
        with torch.no_grad(), self._precise():
            parts: Iterator[Tensor] = (
                part.contiguous(memory_format=torch.channels_last) for part in images.split(size)
            )
            return torch.cat([function(part).float() for part in parts])

    def _precise(self) -> AbstractContextManager[None]:
        return passes(self.device, self.options.precision)


class Replay(Online):
    """The base of the methods that store images: a step learns new and stored ones together."""

    options_of = ReplayOptions
    beside = False  # whether logits are stored with the images

    def __init__(self, *given: Any, **named: Any):
        super().__init__(*given, **named)
        count = self.tasks * self.classes
        self.buffer = Buffer(
            self.options.exemplars,
            count,
            len(self.stream.train),
            self.image_shape,
            rule=self.options.rule,
            beside=count if self.beside else 0,
            device=self.device,
        )

    def memory(self) -> dict[str, int]:
        """As `Online.memory`, and the buffer."""
        return super().memory() | self.buffer.nbytes

    def state(self) -> dict:
        """As `Online.state`, and the buffer."""
        return super().state() | {"buffer": self.buffer.state()}

    def load(self, state: dict) -> None:
        """As `Online.load`, and the buffer."""
        super().load(state)
        self.buffer.load(state["buffer"])

    def _learn_batch(self, images: Tensor, labels: Tensor) -> None:
        for _ in range(self.options.steps):
            self._step(images, labels, self._drawn(images, labels))
        self._store(images, labels)

    def _drawn(self, images: Tensor, labels: Tensor) -> Stored | None:
        return self.buffer.draw(self.options.memory_batch, self.dice)

    def _store(self, images: Tensor, labels: Tensor) -> None:
        self.buffer.add(images, labels, self.dice)

    def _together(self, images: Tensor, labels: Tensor, stored: Stored | None) -> tuple[Tensor, Tensor]:
        """Logits and labels of new and stored images, from one pass: new ones first."""
        if stored is not None:
            images = torch.cat([images, self._prepared(stored.images)])
            labels = torch.cat([labels, stored.labels])
        return self._forward(images), labels
