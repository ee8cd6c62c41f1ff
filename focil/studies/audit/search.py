"""R2: the release's search, twenty trials that each read the task."""

from collections.abc import Sequence

import numpy as np

from focil.search import Candidate, Search
from focil.trainer import Learners

TRIALS = 20
REPORT = 50  # batches from one report of a trial to the next
FACTOR = 4  # of successive halving


class AsynchronousHalving(Search):
    """R2: trials one after the other, each a pass; at 50, 200, 800 ... batches one goes on or stops.

    It stops when it is below the best quarter of the earlier ones. A trial does not depend on the others'
    weights, so here all go on side by side and stop as they would have one by one.
    """

    _rung = REPORT

    @property
    def learns_again(self) -> bool:
        """Every trial has a pass of its own."""
        return True

    def winner(self) -> tuple[Learners, Candidate]:
        """The finished trial of the best accuracy over its pass, with its learners."""
        self._keep([max(range(len(self.alive)), key=lambda i: _score(self.alive[i]))])
        return self.groups[0], self.alive[0]

    def _drop(self) -> None:
        if self.batches == self._rung:
            self._keep(_promoted([_score(trial) for trial in self.alive]))
            self._rung *= FACTOR


def _score(trial: Candidate) -> float:
    return float(np.mean(trial.accuracy))


def _promoted(scores: Sequence[float]) -> list[int]:
    """Positions that go on: each is compared with itself and those before it."""

    def bar(earlier: Sequence[float]) -> float:
        return sorted(earlier, reverse=True)[max(len(earlier) // FACTOR - 1, 0)]

    return [i for i, score in enumerate(scores) if score >= bar(scores[: i + 1])]
