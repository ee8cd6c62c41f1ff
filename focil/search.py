"""Adaptive sparsity and learning rate on one pass: candidates learn side by side and are halved as the stream goes on.

The paper searches per task (FOCIL section 3, "adaptive sparsity level and learning rate"); the released code reads the task
again for every trial. Here every candidate sees each batch once, at the same time, and a batch is drawn once.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from focil.trainer import Learners

Batch = tuple[Tensor, Tensor]  # images (B, C, H, W) and labels (B,)


@dataclass
class Candidate:
    """One pair of sparsity and learning rate. accuracy, loss: prequential, one number per batch it learned."""

    sparsity: float
    lr: float
    accuracy: list[float] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)


def halve(
    groups: Sequence[Learners],
    candidates: Sequence[Candidate],
    batches: Iterable[Batch],
    first_rung: int,
    again: Callable[[], Batch | None] = lambda: None,
) -> tuple[Learners, Candidate]:
    """Train all candidates over the batches and return the last one standing, with its learners.

    groups: learners, the candidates in their order, group after group. After `first_rung` batches, and at every doubling, the
    better half by prequential accuracy since the last rung goes on (ties: lower loss), so the stream's length need not be
    known. If the stream ends first, the best since the last rung is chosen. again: images of held batches and their labels for
    one step; asked for once a single candidate is left, since they cost as much for every candidate as new ones.
    """
    groups, alive = list(groups), list(candidates)
    rung, start, before, number = first_rung, 0, 0, 0
    for number, batch in enumerate(batches, 1):
        held = again() if len(alive) == 1 else None
        scores = [group.step(*batch, held) for group in groups]
        record(alive, scores)
        if number == rung and len(alive) > 1:
            groups, alive = _keep(groups, alive, start, (len(alive) + 1) // 2)
            rung, start, before = 2 * rung, number, start
    # A stream that ends on a rung is judged by what led to that rung.
    groups, alive = _keep(groups, alive, start if start < number else before, 1)
    return groups[0], alive[0]


def record(alive: Sequence[Candidate], scores: Sequence[tuple[Tensor, Tensor]]) -> None:
    """Write down what each candidate scored on a batch: (accuracy, loss) of each group, a number for each of its candidates."""
    accuracies = [value for accuracy, _ in scores for value in accuracy.tolist()]
    losses = [value for _, loss in scores for value in loss.tolist()]
    for candidate, accuracy, loss in zip(alive, accuracies, losses, strict=True):
        candidate.accuracy.append(accuracy)
        candidate.loss.append(loss)


def _keep(groups: list[Learners], alive: list[Candidate], start: int, count: int) -> tuple[list[Learners], list[Candidate]]:
    ranked = sorted(range(len(alive)), key=lambda i: _merit(alive[i], start), reverse=True)
    return select(groups, alive, sorted(ranked[:count]))


def select(groups: Sequence[Learners], alive: Sequence[Candidate], chosen: Sequence[int]) -> tuple[list[Learners], list[Candidate]]:
    """Go on with the chosen candidates only (positions, ascending)."""
    kept, offset = [], 0
    for group in groups:
        inside = [i - offset for i in chosen if offset <= i < offset + len(group)]
        offset += len(group)
        if inside:
            group.keep(inside)
            kept.append(group)
    return kept, [alive[i] for i in chosen]


def _merit(candidate: Candidate, start: int) -> tuple[bool, float, float]:
    loss = float(np.mean(candidate.loss[start:]))
    # One whose loss is no number has diverged: its answers are class 0, which is right by chance.
    return bool(np.isfinite(loss)), float(np.mean(candidate.accuracy[start:])), -loss
