"""Evaluation of a method whose experts never change.

Every image is scored once, and that they do not change is verified.
"""

import hashlib
import json
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from focil import confidence
from focil.confidence import RULES, Evidence
from focil.data.stream import Stream
from focil.evaluation import protocols
from focil.evaluation.evaluation import Evaluation, ForgettingError
from focil.method import FocilOptions
from focil.router import answers
from focil.router.router import Router

BATCHES = (1, 2, 5, 10, 20, 50, 100)  # every N for which batch-N is measured at the end


@runtime_checkable
class Experts(Protocol):
    """What is asked of a method whose experts never change once learned, and that may have a router."""

    options: FocilOptions
    router: Router | None

    def scores(self, images: Tensor, experts: list[int]) -> Tensor: ...
    def weigh(self, logits: np.ndarray, *features: Tensor) -> dict[str, Evidence]: ...
    def fingerprint(self, expert: int) -> str: ...
    def calibration(self) -> np.ndarray: ...


class FrozenEvaluation(Evaluation):
    """As `Evaluation`, from scores that are kept: each (expert, test image) pair is computed once.

    The premise is verified after each task: the fingerprint of every older expert, and its logits on 50
    images, must equal the first ones bit for bit.
    """

    def __init__(self, stream: Stream, seed: int):
        super().__init__(stream, seed)
        self.logits = np.empty(
            (len(self.task), 0, stream.order.shape[1]), dtype=np.float32
        )  # (N, experts, classes)
        self.features: Tensor | None = None  # of the test images, as the router sees them
        self.first: list[dict] = []  # per expert: fingerprint and probe logits when it was frozen

    def after(self, method: Experts, task: int) -> None:
        """Verify the older experts, score the one of `task`, and add the rows. Raises ForgettingError."""
        verify(method, self.first, self.stream.prepare(self.probe_images))
        scores = method.scores(self.stream.prepare(self.stream.test), [task]).cpu().numpy()
        self.logits = np.concatenate([self.logits, scores], axis=1)
        self.first.append(identity(method, task, self.stream.prepare(self.probe_images)))
        super().after(method, task)

    def batches(self, method: Experts) -> dict:
        """Final average for batches of N images, all answered for one task, by who answers.

        {"sizes": N, "one task": {who: [...]}, "mixed": {who: [...]}}. one task: what batch-N is. mixed:
        batches drawn from all tasks, where a single task for the batch must fail.
        """
        calibration = method.calibration() if method.options.calibrated else None
        by_rule = {f"experts, {rule}": self._experts(rule, calibration) for rule in RULES}
        evidence = self._evidence(method, self._all()) | by_rule
        groups = {
            "one task": [protocols.batch_groups(self.task, size, self.seed) for size in BATCHES],
            "mixed": [protocols.mixed_groups(len(self.task), size, self.seed) for size in BATCHES],
        }
        return {"sizes": list(BATCHES)} | {
            kind: {
                who: [self._final_average(protocols.batch(given, group)) for group in chosen]
                for who, given in evidence.items()
            }
            for kind, chosen in groups.items()
        }

    def budgets(self, method: Experts) -> list[dict]:
        """Final `sample` average of the router, alone and with the experts, as its filters are halved.

        [{"router_bytes", "sample-router", "sample"}], the largest first.
        """
        if method.router is None:
            return []
        points, filters, logits = [], method.router.filters, self.logits.astype(np.float64)
        while filters >= 2:
            router, kept = method.router.part(filters)
            known = router.scores_and_offsets(self.features[:, kept], logits.shape[1])
            answered = {
                protocols.join("sample", who): self._final_average(protocols.sample(given))
                for who, given in answers.routed(*known, logits).items()
            }
            points.append({"router_bytes": router.nbytes} | answered)
            filters = filters // 4 * 2
        return points

    def compare_rules(self, method: Experts) -> dict[str, dict[str, float]]:
        """Final average of every rule of the experts, raw and calibrated: what a development split is for."""
        table = {}
        for rule in RULES:
            for suffix, calibration in (("", None), ("-calibrated", method.calibration())):
                found = self._answers(self._all(), {"experts": self._experts(rule, calibration)})
                table[rule + suffix] = {
                    name: self._task_average(correct) for name, (_, correct) in found.items()
                }
        return table

    def state(self) -> dict:
        """As `Evaluation.state`, and the scores so far. `first` is kept with the experts."""
        return super().state() | {"logits": torch.from_numpy(self.logits)}

    def digest(self) -> str:
        """As `Evaluation.digest`."""
        digest = hashlib.sha256(json.dumps(self.rows, sort_keys=True).encode())
        digest.update(np.ascontiguousarray(self.logits).tobytes())
        return digest.hexdigest()

    def proof(self, method: Experts) -> dict:
        """As `Evaluation.proof`: every expert as it was when it was frozen, and what the router says."""
        return {
            "first": self.first,
            "probe_images": self.probe_images,
            "router_scores": router_scores(method, self.stream.prepare(self.probe_images)),
        }

    def take_up(self, proof: dict) -> None:
        """As `Evaluation.take_up`."""
        self.first = list(proof["first"])

    @property
    def compared(self) -> dict[str, int]:
        """As `Evaluation.compared`."""
        return {"experts": len(self.first)}

    @staticmethod
    def verify(method: Experts, state: dict, probes: Tensor) -> dict[str, int]:
        """As `Evaluation.verify`: every expert with its first self, and the router's scores."""
        equal = verify(method, state["first"], probes)
        scores = router_scores(method, probes)
        if scores is not None and not torch.equal(scores, state["router_scores"]):
            raise ForgettingError(
                "the router holds its sums but computes other scores; was it saved on another machine or "
                "with another number of threads?"
            )
        return {"experts": equal}

    def load(self, state: dict, done: int) -> None:
        """As `Evaluation.load`; scores of later experts are dropped too."""
        super().load(state, done)
        self.logits = state["logits"].numpy()[:, :done]
        if self.logits.shape != (len(self.task), done, self.stream.order.shape[1]):
            raise ValueError(f"scores have the shape {self.logits.shape}")

    def _evidence(self, method: Experts, chosen: np.ndarray) -> dict[str, Evidence]:
        if method.router is None:
            return method.weigh(self.logits[chosen])
        if self.features is None:
            self.features = method.router.features(self.stream.prepare(self.stream.test))
        return method.weigh(self.logits[chosen], self.features[torch.from_numpy(chosen)])

    def _experts(self, rule: confidence.Rule, calibration: np.ndarray | None) -> Evidence:
        return confidence.evidence(self.logits.astype(np.float64), rule, calibration)

    def _final_average(self, answered: protocols.Answers) -> float:
        return self._task_average(self._correct(self._all(), *answered))


def identity(method: Experts, expert: int, probes: Tensor) -> dict:
    """What must never change of an expert: its fingerprint, and its logits on the normalised probe images."""
    return {"fingerprint": method.fingerprint(expert), "logits": method.scores(probes, [expert])[:, 0].cpu()}


def verify(method: Experts, first: list[dict], probes: Tensor) -> int:
    """Compare every expert in `first` with what it is now, bit for bit; returns how many are equal.

    Raises ForgettingError.
    """
    for expert, then in enumerate(first):
        now = identity(method, expert, probes)
        if now["fingerprint"] != then["fingerprint"]:
            raise ForgettingError(
                f"expert {expert} has changed: its weights, mask, statistics or head are not those that were "
                "frozen"
            )
        if not torch.equal(now["logits"], then["logits"]):
            raise ForgettingError(
                f"expert {expert} holds the frozen numbers but computes other logits; was it frozen on "
                "another machine, with another number of threads, or by another version of focil or torch?"
            )
    return len(first)


def router_scores(method: Experts, probes: Tensor) -> Tensor | None:
    """The router's scores of the normalised probe images, to compare in a new process.

    None without a router.
    """
    return method.router and method.router.scores(method.router.features(probes)).cpu()
