"""The memory account: what models and stored images take, and how many exemplars each method may keep within
the same bytes.

As published (MEMO, section 5 and the survey that repeats it): float32 parameters of the networks without
their heads, and images as uint8. DER with its exemplars sets the budget after the last task; whoever keeps a
smaller model may keep more exemplars. Everything counted: heads, buffers, labels, teachers, routers too, at
every task; methods say it themselves (`memory()`).
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from focil.base.errors import FocilError

FLOAT = 4  # bytes of a float32 parameter
LABEL = 8  # bytes of a stored label
MIB = 2**20
Growth = Literal["single", "memo", "der"]


class AccountError(FocilError, ValueError):
    """A budget that cannot be divided as asked; the message says what to change."""


class Size(NamedTuple):
    """Parameters of a network, without its head: shared by all tasks, and of one task."""

    generalized: int
    specialised: int

    @property
    def whole(self) -> int:
        """Parameters of one network."""
        return self.generalized + self.specialised


def model_bytes(growth: Growth, size: Size, tasks: int) -> int:
    """Bytes of a method's networks after `tasks` tasks.

    One network, shared blocks and one deep part a task, or a network a task.

    >>> resnet32 = Size(generalized=112_016, specialised=351_488)
    >>> [model_bytes(growth, resnet32, tasks=10) for growth in ("single", "memo", "der")]
    [1854016, 14507584, 18540160]
    """
    count = {
        "single": size.whole,
        "memo": size.generalized + tasks * size.specialised,
        "der": tasks * size.whole,
    }[growth]
    return FLOAT * count


def exemplars_within(budget: int, growth: Growth, size: Size, tasks: int, image_bytes: int) -> int:
    """Whole exemplars that fit in `budget` bytes beside the networks after `tasks` tasks.

    Raises AccountError if the networks alone do not fit.
    """
    left = budget - model_bytes(growth, size, tasks)
    if left < 0:
        raise AccountError(
            f"the networks of {growth!r} take {model_bytes(growth, size, tasks):,} bytes after {tasks} "
            f"tasks, more than the budget of {budget:,}; raise the budget, or take a smaller network for it"
        )
    return left // image_bytes


def budget_of(growth: Growth, size: Size, tasks: int, exemplars: int, image_bytes: int) -> int:
    """Bytes of a method's networks after `tasks` tasks and of its exemplars.

    The budget that others are given.
    """
    return model_bytes(growth, size, tasks) + exemplars * image_bytes


class Costs(NamedTuple):
    """Everything that a network of a method takes.

    buffers: bytes (statistics of BatchNorm) of the shared and of one task's blocks; feature_size: F.
    """

    size: Size
    generalized_buffers: int
    specialised_buffers: int
    feature_size: int


def counted_bytes(growth: Growth, costs: Costs, tasks: int, classes: int, distils: bool) -> dict[str, int]:
    """Bytes after `tasks` tasks with `classes` classes, everything counted but the exemplars: networks,
    buffers, heads, teacher.

    distils: a copy of the network before the task is needed while a later task is learned (iCaRL, WA).
    """
    copies = {"single": (1, 1), "memo": (1, tasks), "der": (tasks, tasks)}[growth]
    networks = model_bytes(growth, costs.size, tasks)
    buffers = copies[0] * costs.generalized_buffers + copies[1] * costs.specialised_buffers
    heads = FLOAT * (copies[1] * costs.feature_size + 1) * classes
    return {
        "networks": networks,
        "buffers": buffers,
        "heads": heads,
        "teacher": networks + buffers + heads if distils and tasks > 1 else 0,
    }


def counted_exemplars(
    budget: int, growth: Growth, costs: Costs, classes: Sequence[int], image_bytes: int, distils: bool
) -> list[int]:
    """Exemplars that fit in `budget` bytes after each task, everything counted; an exemplar has a label of 8
    bytes.

    classes: seen after each task. 0 where the rest alone is more than the budget.
    """
    taken = [
        sum(counted_bytes(growth, costs, task, seen, distils).values())
        for task, seen in enumerate(classes, 1)
    ]
    return [max(0, budget - used) // (image_bytes + LABEL) for used in taken]


def in_exemplars(nbytes: int, image_bytes: int) -> float:
    """Bytes as a number of images.

    >>> round(in_exemplars(FLOAT * 463_504, 3072), 1)  # a ResNet32 in CIFAR images
    603.5
    """
    return nbytes / image_bytes


def auc(megabytes: Sequence[float], accuracies: Sequence[float]) -> float:
    """Area under accuracy (a share) over memory, by trapezoids.

    MEMO, section 5: AUC-A of average, AUC-L of last accuracy.
    """
    return float(np.trapezoid(accuracies, megabytes))
