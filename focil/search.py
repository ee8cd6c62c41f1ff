"""Adaptive sparsity and learning rate on one pass: candidates learn side by side and are halved on the way.

The paper searches per task (FOCIL section 3, "adaptive sparsity level and learning rate"); the released code
reads the task again for every trial. Here every candidate sees each batch once, at the same time, and a batch
is drawn once.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int64
from torch import Tensor

from focil.base.cores import Cores
from focil.base.errors import FocilError
from focil.trainer import Learners

Batch = tuple[Tensor, Tensor]  # images (B, C, H, W) and labels (B,)


@dataclass
class Candidate:
    """One pair of sparsity and learning rate.

    accuracy, loss: prequential, one number per batch it learned.
    """

    sparsity: float
    lr: float
    accuracy: list[float] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    diverged: bool = False  # its numbers became infinite, or none at all


class DivergedError(FocilError):
    """Every candidate has diverged; the message says which were tried."""


class Search(ABC):
    """Candidates that learn the same batches side by side; a subclass says who goes on.

    groups: learners, the candidates in their order, group after group.
    """

    def __init__(self, groups: Sequence[Learners], candidates: Sequence[Candidate]):
        self.groups, self.candidates = list(groups), list(candidates)
        self.alive = list(candidates)
        self.batches = 0  # learned so far
        self.passed = 0  # images computed with, once for each candidate
        self._cores = Cores()

    @property
    @abstractmethod
    def learns_again(self) -> bool:
        """Whether a step should get images of held batches beside the new ones."""

    def step(
        self, images: Float[Tensor, "B C H W"], labels: Int64[Tensor, " B"], again: Batch | None = None
    ) -> None:
        """Let every candidate score the batch and then train on it, together with images of held batches."""
        self.passed += len(self.alive) * (len(images) + (len(again[0]) if again else 0))
        scores = self._cores.map(lambda group: group.step(images, labels, again), self.groups)
        accuracies = [value for accuracy, _ in scores for value in accuracy.tolist()]
        losses = [value for _, loss in scores for value in loss.tolist()]
        for candidate, accuracy, loss in zip(self.alive, accuracies, losses, strict=True):
            candidate.accuracy.append(accuracy)
            candidate.loss.append(loss)
        self.batches += 1
        self._drop()

    @abstractmethod
    def winner(self) -> tuple[Learners, Candidate]:
        """The candidate that is chosen at the end of the stream, with its learners."""

    @abstractmethod
    def _drop(self) -> None:
        """Drop candidates, if it is time to."""

    def _drop_diverged(self, finite: Sequence[bool]) -> None:
        """Drop the candidates that have diverged. finite: by candidate.

        Raises DivergedError if none is left.
        """
        for candidate, sound in zip(self.alive, finite, strict=True):
            candidate.diverged = not sound
        if not any(finite):
            rates = sorted({candidate.lr for candidate in self.candidates})
            raise DivergedError(
                f"training diverged with every candidate, after {self.batches} batches of the task; the "
                f"learning rates tried were {', '.join(f'{rate:g}' for rate in rates)}. Lower "
                "focil.learning_rates, or take larger batches."
            )
        if not all(finite):
            self._keep([i for i, sound in enumerate(finite) if sound])

    def _keep(self, chosen: Sequence[int]) -> None:
        """Go on with the chosen candidates only (positions, ascending)."""
        kept, offset = [], 0
        for group in self.groups:
            inside = [i - offset for i in chosen if offset <= i < offset + len(group)]
            offset += len(group)
            if inside:
                group.keep(inside)
                kept.append(group)
        self.groups, self.alive = kept, [self.alive[i] for i in chosen]


class Halving(Search):
    """After `first_rung` batches, and at every doubling, the better half goes on.

    "Better" is the prequential accuracy since the last rung (ties: lower loss), so the stream's length need
    not be known. If the stream ends first, the best since the last rung is chosen.
    """

    def __init__(self, groups: Sequence[Learners], candidates: Sequence[Candidate], first_rung: int):
        super().__init__(groups, candidates)
        self._rung = first_rung  # batches after which the next half is dropped
        self._standing = len(self.alive)  # at the last rung, whoever has diverged since
        self._start, self._before = 0, 0  # batches learned at the last rung, and at the one before

    @property
    def learns_again(self) -> bool:
        """Once a single candidate is left: held images cost as much for every candidate as new ones."""
        return len(self.alive) == 1

    def winner(self) -> tuple[Learners, Candidate]:
        # The last step may have gone too far, which its loss, measured before it, does not show.
        self._drop_diverged([sound for group in self.groups for sound in group.finite()])
        # A stream that ends on a rung is judged by what led to that rung.
        self._keep_best(1, since=self._start if self._start < self.batches else self._before)
        return self.groups[0], self.alive[0]

    def _drop(self) -> None:
        self._drop_diverged([bool(np.isfinite(candidate.loss[-1])) for candidate in self.alive])
        if self.batches == self._rung and len(self.alive) > 1:
            self._standing = (self._standing + 1) // 2
            self._keep_best(self._standing, since=self._start)
            self._rung, self._start, self._before = 2 * self._rung, self.batches, self._start

    def _keep_best(self, count: int, since: int) -> None:
        by_merit = sorted(range(len(self.alive)), key=lambda i: _merit(self.alive[i], since), reverse=True)
        self._keep(sorted(by_merit[:count]))


def _merit(candidate: Candidate, since: int) -> tuple[float, float]:
    return float(np.mean(candidate.accuracy[since:])), -float(np.mean(candidate.loss[since:]))
