"""Accuracy of every protocol and answerer after every task."""

import hashlib
import json
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from focil.base.errors import FocilError
from focil.confidence import Evidence
from focil.data.stream import Stream
from focil.evaluation import metrics, protocols

BATCH = 10  # N of batch-N
PROBES = 50  # test images by which a method that was rebuilt is compared bit for bit


class ForgettingError(FocilError):
    """What must not change has changed: a frozen expert, or a method on its way through a checkpoint."""


@runtime_checkable
class Method(Protocol):
    """What is asked of a method here: what it says of images, by who says it."""

    def evidence(self, images: Tensor) -> dict[str, Evidence]: ...


@runtime_checkable
class Scoring(Protocol):
    """What is asked of a method that is to be verified: scores of all classes."""

    def scores(self, images: Tensor) -> Tensor: ...


class Evaluation:
    """Asks a method after every task, as it is then, and never feeds anything back.

    stream: whose test images are asked about. seed: of the groups of batch-N.
    """

    def __init__(self, stream: Stream, seed: int):
        self.stream, self.seed = stream, seed
        self.task, self.label = stream.test_task(), stream.test_label()
        self.groups = protocols.batch_groups(self.task, BATCH, seed)
        probes = np.linspace(0, len(self.task) - 1, min(PROBES, len(self.task))).astype(int)
        self.probe_images = stream.test[torch.as_tensor(probes, device=stream.device)]
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

    def routing(self, method: Method) -> dict[str, list[list[float]]]:
        """Which task is answered for after the last task, by name of an accuracy.

        True task x answered task, shares of the true task's test images.
        """
        count = len(self.stream)

        def shares(answered: np.ndarray, true: int) -> list[float]:
            return (
                np.bincount(answered[self.task == true], minlength=count) / (self.task == true).sum()
            ).tolist()

        found = self._answers(self._all(), self._evidence(method, self._all()))
        return {
            name: [shares(answered, t) for t in range(count)]
            for name, (answered, _) in found.items()
            if not name.startswith("oracle")
        }

    def proof(self, method: Scoring) -> dict:
        """What a checkpoint keeps so that `verify` can tell whether a method rebuilt from it is the same."""
        return {
            "probe_images": self.probe_images,
            "probe_scores": method.scores(self.stream.prepare(self.probe_images)).cpu(),
        }

    def take_up(self, proof: dict) -> None:
        """Go on with the `proof` in a checkpoint."""

    @property
    def compared(self) -> dict[str, int]:
        """What `verify` compares."""
        return {"images": len(self.probe_images)}

    @staticmethod
    def verify(method: Scoring, state: dict, probes: Tensor) -> dict[str, int]:
        """Compare a rebuilt method with the `proof` in a checkpoint, bit for bit; returns what was compared.

        probes: the probe images, normalised. Raises ForgettingError.
        """
        if not torch.equal(method.scores(probes).cpu(), state["probe_scores"]):
            raise ForgettingError(
                "the method holds what was saved but computes other scores; was it saved on another machine "
                "or with another number of threads?"
            )
        return {"images": len(probes)}

    def digest(self) -> str:
        """SHA-256 of what `state` holds: what a checkpoint says of the file beside it."""
        return hashlib.sha256(json.dumps(self.rows, sort_keys=True).encode()).hexdigest()

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

    def _all(self) -> np.ndarray:
        return np.ones(len(self.task), dtype=bool)

    def _correct(self, chosen: np.ndarray, answered: np.ndarray, label: np.ndarray) -> np.ndarray:
        return (answered == self.task[chosen]) & (label == self.label[chosen])

    def _task_average(self, correct: np.ndarray) -> float:
        return float(np.mean([correct[self.task == t].mean() for t in range(len(self.stream))]))
