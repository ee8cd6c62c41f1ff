"""Accuracy of every protocol and answerer after every task."""

from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from focil.confidence import Evidence
from focil.data.stream import Stream
from focil.evaluation import metrics, protocols

BATCH = 10  # N of batch-N


@runtime_checkable
class Method(Protocol):
    """What is asked of a method here: what it says of images, by who says it."""

    def evidence(self, images: Tensor) -> dict[str, Evidence]: ...


class Evaluation:
    """Asks a method after every task, as it is then, and never feeds anything back.

    stream: whose test images are asked about. seed: of the groups of batch-N.
    """

    def __init__(self, stream: Stream, seed: int):
        self.stream, self.seed = stream, seed
        self.task, self.label = stream.test_task(), stream.test_label()
        self.groups = protocols.batch_groups(self.task, BATCH, seed)
        self.rows: dict[str, list[list[float]]] = {}

    def after(self, method: Method, task: int) -> None:
        """Add one row for each protocol and answerer: accuracy on the test images of every task so far."""
        seen = self.task <= task
        for name, (_, correct) in self._answers(seen, self._evidence(method, seen)).items():
            row = [float(correct[self.task[seen] == t].mean()) for t in range(task + 1)]
            self.rows.setdefault(name, []).append(row)

    def accuracy(self) -> dict[str, dict]:
        """By name of an accuracy: what `metrics.summarise` says of its rows."""
        return {name: metrics.summarise(rows, self.test_images()) for name, rows in self.rows.items()}

    def test_images(self) -> list[int]:
        """Number of test images of each task."""
        return np.bincount(self.task, minlength=len(self.stream)).tolist()

    def state(self) -> dict:
        """Tensors and plain values for a checkpoint."""
        return {"rows": self.rows}

    def load(self, state: dict, done: int) -> None:
        """Continue from a `state` after `done` tasks; rows of later tasks are dropped."""
        self.rows = {name: rows[:done] for name, rows in state["rows"].items()}

    def _evidence(self, method: Method, chosen: np.ndarray) -> dict[str, Evidence]:
        """Answerer -> its evidence on the chosen test images (flags), among the tasks learned so far."""
        rows = torch.as_tensor(np.flatnonzero(chosen), device=self.stream.device)
        return method.evidence(self.stream.prepare(self.stream.test[rows]))

    def _answers(
        self, chosen: np.ndarray, evidence: dict[str, Evidence]
    ) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """{name: (task answered for, correct)} for the chosen test images, the easiest protocol first."""
        task = self.task[chosen]
        _, groups = np.unique(self.groups[chosen], return_inverse=True)
        ways = {
            "oracle": lambda given: protocols.oracle(given, task),
            f"batch-{BATCH}": lambda given: protocols.batch(given, groups),
            "sample": protocols.sample,
        }
        found = {}
        for protocol, way in ways.items():
            for who, given in evidence.items():
                answered, label = way(given)
                found[protocols.join(protocol, who)] = answered, self._correct(chosen, answered, label)
        return found

    def _correct(self, chosen: np.ndarray, answered: np.ndarray, label: np.ndarray) -> np.ndarray:
        return (answered == self.task[chosen]) & (label == self.label[chosen])

    def _task_average(self, correct: np.ndarray) -> float:
        return float(np.mean([correct[self.task == t].mean() for t in range(len(self.stream))]))
