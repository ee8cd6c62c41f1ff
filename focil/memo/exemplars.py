"""Stored images of old classes: quotas, herding, eviction.

Every class seen has the same quota, budget // classes. Images are chosen by herding on normalised features
(iCaRL, Rebuffi et al. 2017, algorithm 4) and kept in that order, so a smaller quota keeps the head of the
list.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from focil.base.errors import FocilError


class ExemplarError(FocilError, ValueError):
    """Exemplars that cannot be kept as asked; the message says what to change."""


class Exemplars:
    """At most `budget` stored images, as uint8, of classes 0, 1, ... in the order in which they were seen.

    classes: number of classes that will be seen in the end. training_images: of the whole stream. Raises
    ExemplarError for a budget above 0 that is smaller than one image a class, or larger than the training
    set.
    """

    def __init__(self, budget: int, classes: int, training_images: int):
        if 0 < budget < classes:
            raise ExemplarError(
                f"{budget} exemplars are fewer than one for each of {classes} classes; take at least "
                f"{classes}, or 0 for none"
            )
        if budget > training_images:
            raise ExemplarError(
                f"{budget} exemplars are more than the {training_images} training images; take fewer (joint "
                "training stores all of them)"
            )
        self.budget = budget
        self.images: list[Tensor] = []  # per class (n, C, H, W) uint8, in herding order
        self.quota = budget  # images that a class may keep

    def reduce(self, classes: int) -> None:
        """Make room for `classes` classes in all.

        From now on each may keep budget // classes images, and old ones keep the head of their list.
        """
        self.quota = self.budget // classes
        self.images = [images[: self.quota].clone() for images in self.images]

    def add(self, images: Tensor, features: Tensor) -> None:
        """Choose the exemplars of the next class from all its images (N, C, H, W) uint8 by their features
        (N, F). Call `reduce` first."""
        self.images.append(images[herding(features, self.quota)].clone())

    def all(self) -> tuple[Tensor, Tensor] | None:
        """Every stored image (N, C, H, W) uint8 and its class (N,) int64; None when there is none."""
        if not sum(map(len, self.images)):
            return None
        labels = [
            torch.full((len(images),), number, device=images.device)
            for number, images in enumerate(self.images)
        ]
        return torch.cat(self.images), torch.cat(labels)

    @property
    def nbytes(self) -> int:
        """Bytes of the stored images."""
        return sum(images.nbytes for images in self.images)

    def __len__(self) -> int:
        return sum(map(len, self.images))


def herding(features: Float[Tensor, "N F"], count: int) -> Int64[Tensor, " chosen"]:
    """Positions of the images whose mean feature follows the class mean best, the best head first.

    features: they are L2-normalised here. At most N positions are returned.

    >>> herding(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.9]]), count=2)
    tensor([2, 1])
    """
    features = F.normalize(features.double(), dim=1)
    mean, total = features.mean(0), torch.zeros_like(features[0])
    left = torch.ones(len(features), dtype=torch.bool, device=features.device)
    chosen = []
    for number in range(1, min(count, len(features)) + 1):
        distance = (mean - (total + features) / number).square().sum(1)
        distance[~left] = torch.inf
        best = int(distance.argmin())
        chosen.append(best)
        left[best] = False
        total += features[best]
    return torch.tensor(chosen, dtype=torch.int64, device=features.device)
