"""Supervised contrastive replay: images of a class are drawn together, and the nearest class mean answers."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor

from focil.backbones import ImageShape
from focil.base import seeds
from focil.data.images import Augmentation
from focil.data.stream import Stream
from focil.online.buffer import Stored
from focil.online.method import Replay, ReplayOptions
from focil.online.networks import projection

PROJECTED = 128  # length of the vectors that are contrasted
SHIFT = 8  # the second view is shifted by up to a SHIFT-th of the image


class ScrOptions(ReplayOptions):
    """`ReplayOptions`, and the temperature of the contrastive loss."""

    temperature: float = Field(0.1, gt=0, description="of the contrastive loss")


class Scr(Replay):
    """SCR (Mai et al. 2021, "Supervised Contrastive Replay", section 3): the supervised contrastive loss
    (Khosla et al. 2020, equation 2) of new and stored images and a second view of each, behind a projection;
    the class whose stored images have the nearest mean feature answers."""

    title = "SCR"
    options_of = ScrOptions

    def _build(self) -> None:
        super()._build()
        features = self.net.head.in_features
        with seeds.as_torchs_own(self.seed, "head"):
            self.net.head = projection(features, PROJECTED).to(self.device)
        self._view = second_view(self.stream, self.image_shape)

    def scores(self, images: Float[Tensor, "N C H W"]) -> Float[Tensor, "N classes"]:
        """Minus the squared distance from the mean feature of each class's stored images; -inf for a class
        that has none."""
        kept, count = self.buffer.all(), self.tasks * self.classes
        features = self._features(self.stream.prepare(kept.images))
        means = features.new_zeros(count, features.shape[1]).index_add_(0, kept.labels, features)
        means = F.normalize(means, dim=1)
        distances = torch.cdist(self._features(images), means).square()
        absent = torch.bincount(kept.labels, minlength=count) == 0
        return -distances.masked_fill(absent, torch.inf)

    def _features(self, images: Tensor) -> Tensor:
        return F.normalize(self._in_parts(self.net.body, images), dim=1)

    def _loss(self, images: Tensor, labels: Tensor, stored: Stored | None) -> Tensor:
        if stored is not None:
            images = torch.cat([images, self._prepared(stored.images)])
            labels = torch.cat([labels, stored.labels])
        projected = F.normalize(self._forward(torch.cat([images, self._view(images, self.crops)])), dim=1)
        return contrastive(projected, labels.repeat(2), self.options.temperature)


def second_view(stream: Stream, image_shape: ImageShape) -> Augmentation:
    """A shift, and a flip where the stream flips."""
    return Augmentation(crop=max(1, image_shape[1] // SHIFT), flip=stream.augmentation.flip)


def contrastive(
    vectors: Float[Tensor, "N D"], labels: Int64[Tensor, " N"], temperature: float
) -> Float[Tensor, ""]:
    """Supervised contrastive loss of vectors of length 1: each is to be nearer to those of its class.

    Mean over the vectors of the mean negative log-probability of another of its class among all others.
    """
    alike = vectors @ vectors.T / temperature
    oneself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    log_share = alike - alike.masked_fill(oneself, -torch.inf).logsumexp(dim=1, keepdim=True)
    same = (labels[:, None] == labels) & ~oneself
    return -(log_share.masked_fill(~same, 0).sum(1) / same.sum(1).clamp(min=1)).mean()
