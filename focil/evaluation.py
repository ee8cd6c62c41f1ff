"""After every task: the new expert scores the test images once, older experts are verified, each protocol and answerer gets its row."""

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from focil import answers, metrics, protocols
from focil.answers import Evidence
from focil.confidence import RULES, Rule
from focil.errors import FocilError
from focil.router import Router
from focil.stream import Stream

BATCH = 10  # N of batch-N
BATCHES = (1, 2, 5, 10, 20, 50, 100)  # every N for which the last row is measured too
PROBES = 50  # test images on which frozen experts are compared bit for bit


class ForgettingError(FocilError):
    """An expert that must be frozen has changed."""


class Experts(Protocol):
    """What is asked of a method whose experts never change once learned, and that may have a router."""

    router: Router | None

    def scores(self, images: Tensor, experts: list[int]) -> Tensor: ...
    def fingerprint(self, expert: int) -> str: ...
    def calibration(self) -> np.ndarray: ...


class Evaluation:
    """Accuracy of every protocol and answerer after every task.

    An expert never changes, so each (expert, test image) pair is scored once and kept; that it does not change is verified
    after each task: its fingerprint and its logits on 50 images must equal the first ones bit for bit.
    """

    def __init__(self, stream: Stream, seed: int, rule: Rule, calibrated: bool):
        self.stream, self.seed, self.rule, self.calibrated = stream, seed, rule, calibrated
        self.task, self.label = stream.test_task(), stream.test_label()
        self.groups = protocols.batch_groups(self.task, BATCH, seed)
        probes = np.linspace(0, len(self.task) - 1, min(PROBES, len(self.task))).astype(int)
        self.probe_images = stream.test[torch.as_tensor(probes, device=stream.device)]
        self.logits = np.empty((len(self.task), 0, stream.order.shape[1]), dtype=np.float32)  # (N, experts, classes)
        self.features: Tensor | None = None  # of the test images, as the router sees them; they never change
        self.rows: dict[str, list[list[float]]] = {}
        self.first: list[dict] = []  # per expert: fingerprint and probe logits when it was frozen

    def after(self, method: Experts, task: int) -> None:
        """Score the expert of `task`, verify the older ones, add one row per protocol and answerer. Raises ForgettingError."""
        verify(method, self.first, self.stream.prepare(self.probe_images))
        scores = method.scores(self.stream.prepare(self.stream.test), [task]).cpu().numpy()
        self.logits = np.concatenate([self.logits, scores], axis=1)
        self.first.append(identity(method, task, self.stream.prepare(self.probe_images)))
        seen = self.task <= task
        for name, (_, correct) in self._answers(seen, self._evidence(method, seen)).items():
            row = [float(correct[self.task[seen] == t].mean()) for t in range(task + 1)]
            self.rows.setdefault(name, []).append(row)

    def accuracy(self) -> dict[str, dict]:
        """{name: {matrix, final_average, average_incremental, backward_transfer, forgetting}}, null above the diagonal."""
        return {name: metrics.summarise(rows, self.test_images()) for name, rows in self.rows.items()}

    def routing(self, method: Experts) -> dict[str, list[list[float]]]:
        """Which task is answered for after the last task: {name: true task x answered}, shares of the task's test images."""
        everything = np.ones(len(self.task), dtype=bool)
        count = self.logits.shape[1]
        return {
            name: [(np.bincount(answered[self.task == t], minlength=count) / (self.task == t).sum()).tolist() for t in range(count)]
            for name, (answered, _) in self._answers(everything, self._evidence(method, everything)).items()
            if not name.startswith("oracle")
        }

    def batches(self, method: Experts) -> dict:
        """Final average for batches of N images, all answered for one task: {"sizes": N, "one task": {who: [...]}, "mixed": {who: [...]}}.

        one task: what batch-N is. mixed: batches drawn from all tasks, where a single task for the batch must fail.
        """
        everything = np.ones(len(self.task), dtype=bool)
        evidence = self._evidence(method, everything) | {
            f"experts, {rule}": answers.experts(self.logits.astype(np.float64), rule, self._calibration(method)) for rule in RULES
        }
        groups = {
            "one task": [protocols.batch_groups(self.task, size, self.seed) for size in BATCHES],
            "mixed": [protocols.mixed_groups(len(self.task), size, self.seed) for size in BATCHES],
        }
        return {"sizes": list(BATCHES)} | {
            kind: {
                who: [self._task_average(self._correct(everything, *protocols.batch(given, group))) for group in chosen]
                for who, given in evidence.items()
            }
            for kind, chosen in groups.items()
        }

    def budgets(self, method: Experts) -> list[dict]:
        """Final `sample` average of the router, alone and with the experts, as its filters are halved: [{"router_bytes", "sample-router", "sample"}]."""
        if method.router is None:
            return []
        points, everything, filters = [], np.ones(len(self.task), dtype=bool), method.router.filters
        while filters >= 2:
            router, kept = method.router.part(filters)
            evidence = self._routed(router, self.features[:, kept], self.logits.astype(np.float64))
            answered = {protocols.join("sample", who): protocols.sample(given) for who, given in evidence.items()}
            shares = {name: self._task_average(self._correct(everything, *answer)) for name, answer in answered.items()}
            points.append({"router_bytes": router.nbytes} | shares)
            filters = filters // 4 * 2
        return points

    def compare_rules(self, method: Experts) -> dict[str, dict[str, float]]:
        """Final average of every rule of the experts, raw and calibrated: what a development split is for."""
        everything = np.ones(len(self.task), dtype=bool)
        table = {}
        for rule in RULES:
            for suffix, given in (("", None), ("-calibrated", method.calibration())):
                found = self._answers(everything, {"experts": answers.experts(self.logits.astype(np.float64), rule, given)})
                table[rule + suffix] = {name: self._task_average(correct) for name, (_, correct) in found.items()}
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

    def _evidence(self, method: Experts, chosen: np.ndarray) -> dict[str, Evidence]:
        """Answerer -> its evidence on the chosen test images, among the tasks learned so far."""
        logits = self.logits[chosen].astype(np.float64)
        found = {"experts": answers.experts(logits, self.rule, self._calibration(method))}
        if method.router is None:
            return found
        if self.features is None:
            self.features = method.router.features(self.stream.prepare(self.stream.test))
        return found | self._routed(method.router, self.features[torch.from_numpy(chosen)], logits)

    def _routed(self, router: Router, features: Tensor, logits: np.ndarray) -> dict[str, Evidence]:
        return answers.routed(*router.heard(features, logits.shape[1]), logits)

    def _answers(self, chosen: np.ndarray, evidence: dict[str, Evidence]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """{name: (task answered for, correct)} for the chosen test images, from the easiest protocol to the honest one."""
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


def router_scores(method: Experts, probes: Tensor) -> Tensor | None:
    """The router's scores of the normalised probe images, to compare in a new process; None without a router."""
    return method.router and method.router.scores(method.router.features(probes)).cpu()
