"""Methods that train nothing by gradient and store no image: sums over the stream of fixed features."""

from typing import ClassVar

import torch
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from focil.backbones import ImageShape
from focil.confidence import Evidence, log_softmax
from focil.data.stream import Stream, Task
from focil.router.discriminant import Discriminant


class StreamingOptions(BaseModel):
    """What a discriminant has."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ridge: float = Field(1e-3, gt=0, description="added to the covariance's diagonal, in units of its mean")


class Streaming:
    """Deep SLDA's classifier on raw pixels, and the base of the others: one Gaussian a class, one covariance
    (Hayes and Kanan 2020, "Lifelong Machine Learning with Deep Streaming Linear Discriminant Analysis").

    Arguments as of `method.Online`. Images are observed as they are stored, un-augmented.
    """

    title: ClassVar[str] = "SLDA on pixels"
    options_of: ClassVar[type[BaseModel]] = StreamingOptions

    def __init__(
        self, image_shape: ImageShape, tasks: int, classes: int, seed: int, stream: Stream, options: BaseModel
    ):
        self.image_shape, self.tasks, self.classes, self.seed = image_shape, tasks, classes, seed
        self.stream, self.options, self.device = stream, options, stream.device
        self.done = 0
        self.report: list[dict] = []
        self._build()

    def learn(self, task: Task) -> None:
        """Observe every image of the task once."""
        for images, labels in task.raw_batches():
            features = self._features(self.stream.prepare(images))
            self.known.observe(features, labels + task.index * self.classes)
        self.done = task.index + 1
        task.release()
        self.report.append({"draws_per_sample": task.draws_per_sample, "passes": 1.0})

    def scores(self, images: Float[Tensor, "N C H W"]) -> Float[Tensor, "N classes"]:
        """Log-posterior up to a constant; -inf for classes not seen."""
        return self.known.scores(self._features(images))

    def evidence(self, images: Float[Tensor, "N C H W"]) -> dict[str, Evidence]:
        """What the sums say of normalised images: for a task speaks its largest score."""
        scores = self.scores(images)[:, : self.done * self.classes].cpu().double().numpy()
        within = scores.reshape(len(images), self.done, self.classes)
        return {"network": Evidence(log_softmax(within), within.max(axis=2))}

    def memory(self) -> dict[str, int]:
        """Bytes that must be kept between tasks and at test time."""
        return {"sums": self.known.nbytes}

    def state(self) -> dict:
        """Tensors and plain values from which `load` goes on after a task."""
        return {"done": self.done, "report": self.report, "sums": self.known.state()}

    def load(self, state: dict) -> None:
        """Continue from a `state`."""
        self.done, self.report = state["done"], state["report"]
        self.known.load(state["sums"])

    def _build(self) -> None:
        size = len(self._features(torch.zeros(1, *self.image_shape, device=self.device))[0])
        self.known = Discriminant(size, self.tasks * self.classes, self.options.ridge, self.device)

    def _features(self, images: Float[Tensor, "N C H W"]) -> Float[Tensor, "N F"]:
        """An even number of features of each image: here its pixels."""
        pixels = images.flatten(1)
        return pixels[:, : pixels.shape[1] // 2 * 2]
