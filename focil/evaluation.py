"""After every task: the new expert scores the test images once, older experts are verified, each protocol gets its row."""

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from focil import metrics, protocols
from focil.confidence import RULES, Rule, sureness
from focil.errors import FocilError
from focil.stream import Stream

BATCH = 10  # N of batch-N
PROBES = 50  # test images on which frozen experts are compared bit for bit


class ForgettingError(FocilError):
    """An expert that must be frozen has changed."""


class Experts(Protocol):
    """What is asked of a method whose experts never change once learned."""

    def scores(self, images: Tensor, experts: list[int]) -> Tensor: ...
    def fingerprint(self, expert: int) -> str: ...
    def calibration(self) -> np.ndarray: ...


class Evaluation:
    """Accuracy of every protocol after every task.

    An expert never changes, so each (expert, test image) pair is scored once and kept; that it does not change is verified
    after each task: its fingerprint and its logits on 50 images must equal the first ones bit for bit.
    """

    def __init__(self, stream: Stream, seed: int, rule: Rule, calibrated: bool):
        self.stream, self.rule, self.calibrated = stream, rule, calibrated
        self.task, self.label = stream.test_task(), stream.test_label()
        self.groups = protocols.batch_groups(self.task, BATCH, seed)
        probes = np.linspace(0, len(self.task) - 1, min(PROBES, len(self.task))).astype(int)
        self.probe_images = stream.test[torch.as_tensor(probes, device=stream.device)]
        self.logits = np.empty((len(self.task), 0, stream.order.shape[1]), dtype=np.float32)  # (N, experts, classes)
        self.rows: dict[str, list[list[float]]] = {}
        self.first: list[dict] = []  # per expert: fingerprint and probe logits when it was frozen

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the accuracies, from the easiest protocol to the honest one."""
        return ("oracle-experts", f"batch-{BATCH}-experts", "sample-experts")

    def after(self, method: Experts, task: int) -> None:
        """Score the expert of `task`, verify the older ones, add one row per protocol. Raises ForgettingError."""
        verify(method, self.first, self.stream.prepare(self.probe_images))
        scores = method.scores(self.stream.prepare(self.stream.test), [task]).cpu().numpy()
        self.logits = np.concatenate([self.logits, scores], axis=1)
        self.first.append(identity(method, task, self.stream.prepare(self.probe_images)))
        seen = self.task <= task
        for name, (_, correct) in self._answers(seen, self.rule, self._calibration(method)).items():
            row = [float(correct[self.task[seen] == t].mean()) for t in range(task + 1)]
            self.rows.setdefault(name, []).append(row)

    def accuracy(self) -> dict[str, dict]:
        """{name: {matrix, final_average, average_incremental, backward_transfer, forgetting}}, null above the diagonal."""
        sizes = self.test_images()
        report = {}
        for name, rows in self.rows.items():
            matrix = np.full((len(rows), len(rows)), np.nan)
            for i, row in enumerate(rows):
                matrix[i, : i + 1] = row
            report[name] = {
                "matrix": [row + [None] * (len(rows) - len(row)) for row in rows],
                "final_average": metrics.final_average(matrix),
                "average_incremental": metrics.average_incremental(matrix, sizes),
                "backward_transfer": metrics.backward_transfer(matrix),
                "forgetting": metrics.forgetting(matrix),
            }
        return report

    def routing(self, method: Experts) -> dict[str, list[list[float]]]:
        """Which expert answers after the last task: {name: true task x expert}, shares of the task's test images."""
        everything = np.ones(len(self.task), dtype=bool)
        answers = self._answers(everything, self.rule, self._calibration(method))
        count = self.logits.shape[1]
        return {
            name: [(np.bincount(expert[self.task == t], minlength=count) / (self.task == t).sum()).tolist() for t in range(count)]
            for name, (expert, _) in answers.items()
            if not name.startswith("oracle")
        }

    def compare_rules(self, method: Experts) -> dict[str, dict[str, float]]:
        """Final average of every rule, raw and calibrated: what a development split is for."""
        everything = np.ones(len(self.task), dtype=bool)
        table = {}
        for rule in RULES:
            for suffix, given in (("", None), ("-calibrated", method.calibration())):
                answers = self._answers(everything, rule, given)
                table[rule + suffix] = {name: self._task_average(correct) for name, (_, correct) in answers.items()}
        return table

    def test_images(self) -> list[int]:
        """Number of test images of each task."""
        return np.bincount(self.task, minlength=len(self.stream)).tolist()

    def state(self) -> dict:
        """The scores so far: tensors and plain values for a checkpoint. `first` is kept with the experts."""
        return {"logits": torch.from_numpy(self.logits), "rows": self.rows}

    def load(self, state: dict, first: list[dict]) -> None:
        """Continue from a `state` and the experts' first selves; scores of experts beyond those are dropped."""
        self.first = list(first)
        self.logits = state["logits"].numpy()[:, : len(first)]
        self.rows = {name: rows[: len(first)] for name, rows in state["rows"].items()}

    def _calibration(self, method: Experts) -> np.ndarray | None:
        return method.calibration() if self.calibrated else None

    def _answers(self, chosen: np.ndarray, rule: Rule, calibration: np.ndarray | None) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """{name: (answering expert, correct)} for the chosen test images, among the experts there are."""
        logits, task = self.logits[chosen].astype(np.float64), self.task[chosen]
        sure = sureness(logits, rule, calibration)
        _, groups = np.unique(self.groups[chosen], return_inverse=True)
        answers = (protocols.oracle(logits, task), protocols.batch(logits, sure, groups), protocols.sample(logits, sure))
        return {
            name: (expert, (expert == task) & (label == self.label[chosen]))
            for name, (expert, label) in zip(self.names, answers, strict=True)
        }

    def _task_average(self, correct: np.ndarray) -> float:
        return float(np.mean([correct[self.task == t].mean() for t in range(len(self.stream))]))


def identity(method: Experts, expert: int, probes: Tensor) -> dict:
    """What must never change of an expert: its fingerprint, and its logits on the normalised probe images (50, C, H, W)."""
    return {"fingerprint": method.fingerprint(expert), "logits": method.scores(probes, [expert])[:, 0].cpu()}


def verify(method: Experts, first: list[dict], probes: Tensor) -> int:
    """Compare every expert in `first` with what it is now, bit for bit; returns how many are equal. Raises ForgettingError."""
    for expert, then in enumerate(first):
        now = identity(method, expert, probes)
        if now["fingerprint"] != then["fingerprint"]:
            raise ForgettingError(f"expert {expert} has changed: its weights, mask, statistics or head are not those that were frozen")
        if not torch.equal(now["logits"], then["logits"]):
            raise ForgettingError(
                f"expert {expert} holds the frozen numbers but computes other logits; was it frozen on another machine or with another number of threads?"
            )
    return len(first)
