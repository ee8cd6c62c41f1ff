"""Which task, which class? Answers for one image from sums over the stream: fixed patches, and a linear
discriminant on them.

The patches come from the first images that are held; from then on every number is a sum over the stream, so a
router loses nothing that it has seen, and does not depend on the order of tasks. It reads neither task ids
nor labels at test time.
"""

import copy

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from focil.backbones import ImageShape
from focil.base import seeds
from focil.base.errors import FocilError
from focil.base.precision import Precision
from focil.router import discriminant
from focil.router.discriminant import Discriminant, class_offsets
from focil.router.patches import DRAWN, Patches, Recipe

RIDGE = 1e-3


class RouterError(FocilError):
    """A router that cannot be built as asked."""


class Router:
    """Discriminants over all classes of all tasks, as large as a budget of bytes allows.

    image_shape: (C, H, W). tasks, classes: number of tasks, and of classes in each. budget: bytes of all that
    is kept. recipe: of the patches. seed: draws them. Raises RouterError for a budget that is too small.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        tasks: int,
        classes: int,
        *,
        budget: int,
        recipe: Recipe = Recipe(),
        seed: int = 0,
        precision: Precision = "float32",
        device: str | torch.device = "cpu",
    ):
        self.tasks, self.classes, self.recipe = tasks, classes, recipe
        self.seed, self.precision, self.device = seed, precision, torch.device(device)
        self.filters = _filters(budget, image_shape, tasks * classes, recipe)
        self.patches: Patches | None = None
        features = recipe.feature_count(self.filters, image_shape)
        self.discriminant = Discriminant(features, tasks * classes, RIDGE, device, len(recipe.sizes))

    def observe(self, images: Float[Tensor, "N C H W"], task: int, labels: Int64[Tensor, " N"]) -> None:
        """Learn from normalised images of a task with labels inside it.

        The first ones also give the patches.
        """
        if self.patches is None:
            generator = seeds.torch_generator(self.seed, "patches")
            self.patches = Patches.fit(images, self.filters, self.recipe, self.precision, generator)
        self.discriminant.observe(self.patches(images), task * self.classes + labels)

    def features(self, images: Float[Tensor, "N C H W"]) -> Float[Tensor, "N F"]:
        """What the router sees of normalised images; it never changes, so it may be kept."""
        return self.patches(images)

    def scores(self, features: Float[Tensor, "N F"]) -> Float[Tensor, "N tasks classes"]:
        """Log-posterior up to a constant per image, for `features`; -inf for classes not seen."""
        return self.discriminant.scores(features).unflatten(1, (self.tasks, self.classes))

    def scores_and_offsets(
        self, features: Float[Tensor, "N F"], tasks: int
    ) -> tuple[Float[np.ndarray, "N tasks classes"], Float[np.ndarray, "tasks classes"]]:
        """`scores`, and the `class_offsets` that go with them, of the first `tasks` tasks.

        What `answers` takes.
        """
        sums = self.discriminant
        offsets = class_offsets(sums.sums, sums.counts, self.tasks, self.scores)
        return self.scores(features)[:, :tasks].cpu().double().numpy(), offsets[:tasks].cpu().double().numpy()

    def part(self, filters: int) -> tuple["Router", Tensor]:
        """The router that a smaller budget would have given, with `filters` of each size, and the
        positions of its features among all."""
        smaller = copy.copy(self)
        smaller.filters = filters
        smaller.patches, kept = self.patches.part(filters)
        smaller.discriminant = self.discriminant.part(kept)
        return smaller, kept

    @property
    def nbytes(self) -> int:
        """Bytes of all that must be kept."""
        return self.discriminant.nbytes + (self.patches.nbytes if self.patches else 0)

    def state(self) -> dict:
        """Tensors for `load`."""
        return {"patches": self.patches and self.patches.state(), "discriminant": self.discriminant.state()}

    def load(self, state: dict) -> None:
        """Continue from a `state`."""
        if state["patches"]:
            self.patches = Patches.from_state(state["patches"], self.recipe, self.precision, self.device)
        self.discriminant.load(state["discriminant"])


def _filters(budget: int, image_shape: ImageShape, classes: int, recipe: Recipe) -> int:
    """Filters of each size, an even number: the most that a budget of bytes allows.

    Raises RouterError if it allows none.
    """

    def size(filters: int) -> int:
        features = recipe.feature_count(filters, image_shape)
        sums = discriminant.nbytes(features, classes, len(recipe.sizes))
        return sums + recipe.nbytes(filters, image_shape)

    filters = 0
    while size(filters + 2) <= budget and filters + 2 <= DRAWN:
        filters += 2
    if not filters:
        raise RouterError(
            f"the router may take {budget} bytes but needs {size(2)} for {classes} classes; raise "
            "router_megabytes, or choose router: none"
        )
    return filters
