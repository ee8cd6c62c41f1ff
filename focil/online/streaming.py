"""Methods that train nothing by gradient and store no image: sums over the stream of fixed features."""

import torch
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from focil.data.stream import Task
from focil.online.method import OneHead
from focil.router.discriminant import Discriminant


class StreamingOptions(BaseModel):
    """What a discriminant has."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    ridge: float = Field(
        1e-3, gt=0, le=1e6, description="added to the covariance's diagonal, in units of its mean"
    )


class Streaming(OneHead):
    """Deep SLDA's classifier on raw pixels, and the base of the others: one Gaussian a class, one covariance
    (Hayes and Kanan 2020, "Lifelong Machine Learning with Deep Streaming Linear Discriminant Analysis").

    Images are observed as they are stored, un-augmented.
    """

    title = "SLDA on pixels"
    options_of = StreamingOptions
    choices = {"ridge": (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)}

    def learn(self, task: Task) -> None:
        """Observe every image of the task once."""
        for images, labels in task.raw_batches():
            features = self._features(self.stream.prepare(images))
            self.known.observe(features, labels + task.index * self.classes)
        self._finish(task, task.size)

    def scores(self, images: Float[Tensor, "N C H W"]) -> Float[Tensor, "N classes"]:
        """Log-posterior up to a constant; -inf for classes not seen."""
        return self.known.scores(self._features(images))

    def memory(self) -> dict[str, int]:
        """Bytes that must be kept between tasks and at test time."""
        return {"sums": self.known.nbytes}

    def state(self) -> dict:
        """As `OneHead.state`, and the sums."""
        return super().state() | {"sums": self.known.state()}

    def load(self, state: dict) -> None:
        """As `OneHead.load`, and the sums."""
        super().load(state)
        self.known.load(state["sums"])

    def _build(self) -> None:
        size = len(self._features(torch.zeros(1, *self.image_shape, device=self.device))[0])
        self.known = Discriminant(size, self.tasks * self.classes, self.options.ridge, self.device)

    def _features(self, images: Float[Tensor, "N C H W"]) -> Float[Tensor, "N F"]:
        """An even number of features of each image: here its pixels."""
        pixels = images.flatten(1)
        return pixels[:, : pixels.shape[1] // 2 * 2]
