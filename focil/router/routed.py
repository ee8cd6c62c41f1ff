"""FOCIL with a router beside its experts: the router finds the task, and both together find the class."""

from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from focil import confidence
from focil.confidence import Evidence
from focil.data.stream import Task
from focil.method import Focil, FocilOptions
from focil.router import answers
from focil.router.patches import ONE, TWO, Recipe
from focil.router.router import Router


class RoutedOptions(FocilOptions):
    """`FocilOptions`, and what the router may take: all that a params file may say under `focil:`."""

    router: Literal["patches", "none"] = Field(
        "patches", description="what finds an image's task beside the experts"
    )
    router_megabytes: float = Field(
        10, gt=0, le=100_000, description="MB (10^6 bytes) that all of the router may take"
    )
    router_discriminants: Literal[1, 2] = Field(
        1,
        description="that share the router's bytes; 2 are better for photographs, from 10 MB on",
    )
    router_cells: int = Field(2, ge=1, le=64, description="the router pools an image to cells x cells")
    router_mirror: bool = Field(False, description="for the router, a mirrored image shows the same thing")


def recipe_of(options: RoutedOptions) -> Recipe:
    """How the patches are made that these options ask for."""
    sizes = ONE if options.router_discriminants == 1 else TWO
    return Recipe(sizes=sizes, cells=options.router_cells, mirror=options.router_mirror)


class RoutedFocil(Focil):
    """FOCIL with a router beside its experts, which observes, un-augmented, what each task holds while it
    passes.

    Arguments as of `Focil`, with `RoutedOptions`: backbone, image_shape (C, H, W), tasks, classes per task,
    seed, options, device. Raises RouterError for a budget of bytes that is too small.
    """

    options_of = RoutedOptions
    router: Router

    def __init__(self, *arguments: Any, **named: Any):
        super().__init__(*arguments, **named)
        options = self.options
        self.router = Router(
            self.image_shape,
            self.tasks,
            self.classes,
            budget=round(1e6 * options.router_megabytes),
            recipe=recipe_of(options),
            seed=self.seed,
            precision=options.precision,
            device=self.device,
        )
        self._shown = 0  # images of the task that the router has observed

    def learn(self, task: Task) -> None:
        """As `Focil.learn`; the router observes the held images, each once."""
        self._shown = 0
        super().learn(task)

    def evidence(self, images: Float[Tensor, "N C H W"]) -> dict[str, Evidence]:
        """What is said of normalised images: by the experts alone, the router alone, and both together."""
        return self.weigh(self.scores(images).cpu().numpy(), self.router.features(images))

    def weigh(
        self, logits: Float[np.ndarray, "N experts classes"], features: Float[Tensor, "N F"]
    ) -> dict[str, Evidence]:
        """`evidence` from what may be kept of images: the experts' logits and the router's features."""
        known = self.router.scores_and_offsets(features, len(self.experts))
        return super().weigh(logits) | answers.routed(*known, logits.astype(np.float64))

    def answer(self, images: Float[Tensor, "N C H W"]) -> tuple[Int[np.ndarray, " N"], Int[np.ndarray, " N"]]:
        """As `Focil.answer`, by both together; only the expert of the task that the router finds is asked."""
        scores, offsets = self.router.scores_and_offsets(self.router.features(images), len(self.experts))
        found, _ = confidence.answer(answers.router(scores, offsets))
        logits = np.zeros_like(scores)  # an expert that is not asked has no say
        for task in np.unique(found):
            of_task = torch.from_numpy(found == task)
            logits[found == task, task] = self.scores(images[of_task], [int(task)])[:, 0].cpu().numpy()
        return confidence.answer(answers.both(scores, offsets, logits))

    def memory(self) -> dict[str, int]:
        """As `Focil.memory`, and the router."""
        return super().memory() | {"router": self.router.nbytes}

    def state(self) -> dict:
        """As `Focil.state`, and the router."""
        return super().state() | {"router": self.router.state()}

    def load(self, state: dict) -> None:
        """As `Focil.load`, and the router."""
        super().load(state)
        self.router.load(state["router"])

    def _look(self, task: Task, at_the_end: bool = False) -> None:
        new = task.passed - self._shown
        if new >= task.room or at_the_end:  # all that are held are new, or nothing more will come
            images, labels = task.held()
            self.router.observe(images[-new:], task.index, labels[-new:])
            self._shown = task.passed


def kind_of(options: RoutedOptions) -> type[Focil]:
    """The method that these options ask for: `RoutedFocil`, or `Focil` where there is to be no router."""
    return Focil if options.router == "none" else RoutedFocil
