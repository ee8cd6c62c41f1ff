"""RanDumb: random Fourier features of the pixels, and a discriminant on them."""

import math

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from focil.base import seeds
from focil.online.streaming import Streaming, StreamingOptions


class RandumbOptions(StreamingOptions):
    """`StreamingOptions`, and the features."""

    features: int = Field(
        2000, ge=2, le=100_000, multiple_of=2, description="random features; their covariance is kept"
    )
    gamma: float = Field(
        1.0, gt=0, le=1e6, description="of the kernel exp(-gamma |x - y|^2), x of variance 1 / pixels"
    )


class Randumb(Streaming):
    """RanDumb (Prabhu et al. 2024, "RanDumb: Random Representations Outperform Online Continually Learned
    Representations", section 2): features cos(w x + b) of a Gaussian kernel (Rahimi and Recht 2007), and
    classes told apart by the Mahalanobis distance of one covariance. The directions are drawn again from the
    seed."""

    title = "RanDumb"
    options_of = RandumbOptions
    choices = {"gamma": (0.1, 0.3, 1.0, 3.0), "ridge": (1e-3, 1e-1)}

    def _build(self) -> None:
        dice = seeds.torch_generator(self.seed, "patches")
        pixels = math.prod(self.image_shape)
        directions = torch.randn(pixels, self.options.features, generator=dice)
        self.directions = (directions * (2 * self.options.gamma / pixels) ** 0.5).to(self.device)
        self.phases = (2 * math.pi * torch.rand(self.options.features, generator=dice)).to(self.device)
        super()._build()

    def _features(self, images: Float[Tensor, "N C H W"]) -> Float[Tensor, "N F"]:
        return torch.cos(images.flatten(1) @ self.directions + self.phases)
