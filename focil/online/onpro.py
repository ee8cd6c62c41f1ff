"""Online prototypes: classes are kept apart by the means that they have right now."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor

from focil.base import seeds
from focil.online.buffer import Stored
from focil.online.method import Replay, ReplayOptions
from focil.online.networks import projection
from focil.online.scr import PROJECTED, contrastive, second_view


class OnproOptions(ReplayOptions):
    """`ReplayOptions`, the two temperatures, and how many stored images are mixed."""

    temperature: float = Field(0.07, gt=0, description="of the contrastive loss of images")
    prototype_temperature: float = Field(0.5, gt=0, description="of the contrastive loss of prototypes")
    mixed: float = Field(
        0.25, ge=0, le=1, description="share of the stored images that are mixes of two that are confused"
    )


class Onpro(Replay):
    """OnPro (Wei et al. 2023, "Online Prototype Learning for Online Continual Learning"): beside the
    cross-entropy of stored images, *online prototype equilibrium* (section 3.2), where the mean of a class is
    to be nearer to the mean of its second views than to any other, for new and stored classes apart, with the
    contrastive loss of images; and *adaptive prototypical feedback* (section 3.3), where images of classes
    with close prototypes are mixed. Without the rotated copies of every image that its code adds."""

    title = "OnPro"
    options_of = OnproOptions

    def _build(self) -> None:
        super()._build()
        features = self.net.head.in_features
        with seeds.as_torchs_own(self.seed, "head"):
            self.net.projection = projection(features, PROJECTED).to(self.device)
        self._view = second_view(self.stream, self.image_shape)

    def _loss(self, images: Tensor, labels: Tensor, stored: Stored | None) -> Tensor:
        if stored is None:
            return F.cross_entropy(self._forward(images), labels) + self._apart(images, labels)[0]
        old = self._prepared(stored.images)
        close, projected = self._apart(old, stored.labels)
        mixed, first, second, share = self._mix(old, stored.labels, projected)
        logits = self._forward(mixed)
        answers = (1 - share) * F.cross_entropy(logits, first, reduction="none")
        answers = answers + share * F.cross_entropy(logits, second, reduction="none")
        return answers.mean() + close + self._apart(images, labels)[0]

    def _apart(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Float[Tensor, "N D"]]:
        """The contrastive losses of images and of prototypes, and the projections of the images."""
        pairs = torch.cat([images, self._view(images, self.crops)])
        projected = F.normalize(self._forward(pairs, self._project), dim=1)
        one, other = projected.chunk(2)
        loss = contrastive(projected, labels.repeat(2), self.options.temperature)
        loss = loss + prototype_loss(one, other, labels, self.options.prototype_temperature)
        return loss, ((one + other) / 2).detach()

    def _project(self, images: Tensor) -> Tensor:
        return self.net.projection(self.net.body(images))

    def _mix(
        self, images: Tensor, labels: Int64[Tensor, " N"], projected: Float[Tensor, "N D"]
    ) -> tuple[Tensor, Tensor, Tensor, Float[Tensor, " N"]]:
        """Images of which the last are mixes of two, with their first and second class and the share of the
        second."""
        count = round(self.options.mixed * len(labels)) if len(labels.unique()) > 1 else 0
        share = torch.zeros(len(labels), device=self.device)
        first, second = torch.arange(len(labels)).repeat(2, 1).to(self.device)
        if count:
            chance = confusion(projected, labels).flatten().cpu()
            self._must_be_finite(chance)  # images are drawn by it, before there is a loss
            drawn = torch.multinomial(chance, count, replacement=True, generator=self.dice).to(self.device)
            first[-count:], second[-count:] = drawn // len(labels), drawn % len(labels)
            share[-count:] = torch.rand(count, generator=self.dice).to(self.device)
        weights = share[:, None, None, None]
        mixed = (1 - weights) * images[first] + weights * images[second]
        return mixed, labels[first], labels[second], share


def prototype_loss(
    one: Float[Tensor, "N D"], other: Float[Tensor, "N D"], labels: Int64[Tensor, " N"], temperature: float
) -> Float[Tensor, ""]:
    """Contrastive loss of the classes' means under two views: each is to be nearer to its own second one."""
    means = torch.cat([F.normalize(prototypes(view, labels), dim=1) for view in (one, other)])
    return contrastive(means, torch.arange(len(means) // 2, device=means.device).repeat(2), temperature)


def prototypes(vectors: Float[Tensor, "N D"], labels: Int64[Tensor, " N"]) -> Float[Tensor, "C D"]:
    """The mean of each class that is there, by rising class."""
    present, which = labels.unique(return_inverse=True)
    sums = vectors.new_zeros(len(present), vectors.shape[1]).index_add(0, which, vectors)
    return sums / torch.bincount(which)[:, None]


def confusion(vectors: Float[Tensor, "N D"], labels: Int64[Tensor, " N"]) -> Float[Tensor, "N N"]:
    """How likely two images are mixed: softmax of 1 / the distance of their classes' prototypes, 0 inside a
    class."""
    _, which = labels.unique(return_inverse=True)
    means = prototypes(vectors, labels)[which]
    near = 1 / torch.cdist(means, means).clamp(min=1e-3)
    same = labels[:, None] == labels
    return near.masked_fill(same, -torch.inf).flatten().softmax(0).view_as(near)
