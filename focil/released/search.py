"""R2: the release's search, twenty trials that each read the task."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from focil.search import Batch, Candidate, record, select
from focil.trainer import Learners

TRIALS = 20
REPORT = 50  # batches from one report of a trial to the next
FACTOR = 4  # of successive halving


def asynchronous_halving(
    groups: Sequence[Learners], trials: Sequence[Candidate], batches: Iterable[Batch], again: Callable[[], Batch | None]
) -> tuple[Learners, Candidate]:
    """R2: trials one after the other, each a pass; those below the best quarter of the earlier ones at 50, 200, 800 ... batches stop.

    A trial does not depend on the others' weights, so here all go on side by side and stop as they would have one by one.
    Returns the finished trial of the best accuracy over its pass, with its learners.
    """
    groups, alive, rung = list(groups), list(trials), REPORT
    for number, batch in enumerate(batches, 1):
        held = again()
        record(alive, [group.step(*batch, held) for group in groups])
        if number == rung:
            groups, alive = select(groups, alive, _promoted([_score(trial) for trial in alive]))
            rung *= FACTOR
    best = max(range(len(alive)), key=lambda i: _score(alive[i]))
    groups, (trial,) = select(groups, alive, [best])
    return groups[0], trial


def _score(trial: Candidate) -> float:
    return float(np.mean(trial.accuracy))


def _promoted(scores: Sequence[float]) -> list[int]:
    """Positions that go on: each is compared with itself and those before it."""
    return [i for i, score in enumerate(scores) if score >= sorted(scores[: i + 1], reverse=True)[max((i + 1) // FACTOR - 1, 0)]]
