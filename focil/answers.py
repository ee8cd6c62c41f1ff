"""Who answers, and with what: the experts alone, the router alone, or both together.

Whoever answers says two things of each image: how much speaks for each task, and how likely each class would be if the task were
known. A protocol (`protocols`) decides what of it may be used.
"""

from typing import NamedTuple

import numpy as np

from focil.confidence import Rule, sureness

TEMPERATURE = 2.0  # of the router: its Gaussian model is surer than it is right
EXPERT = 0.5  # weight of an expert's log-probabilities beside the router's
# Both were chosen on the development split of 20-task CIFAR-100.


class Evidence(NamedTuple):
    """within: log-probability of each class of a task if it is that task, (N, tasks, classes). task: how much speaks for each task, (N, tasks)."""

    within: np.ndarray
    task: np.ndarray


def experts(logits: np.ndarray, rule: Rule, calibration: np.ndarray | None) -> Evidence:
    """The experts alone: the surest one is taken to be right. logits (N, tasks, classes), calibration: see `confidence.sureness`."""
    return Evidence(_log_softmax(logits), sureness(logits, rule, calibration))


def router(scores: np.ndarray, offsets: np.ndarray) -> Evidence:
    """The router alone. scores (N, tasks, classes): its log-posterior up to a constant. offsets (tasks, classes): see `Router.offsets`."""
    return Evidence(_log_softmax((scores - offsets) / TEMPERATURE), _task_posterior(scores))


def both(scores: np.ndarray, offsets: np.ndarray, logits: np.ndarray) -> Evidence:
    """The router's posterior over tasks; inside a task, its own and the expert's log-probabilities weighted and added."""
    within = (scores - offsets) / TEMPERATURE + EXPERT * _log_softmax(logits)
    return Evidence(_log_softmax(within), _task_posterior(scores))


def routed(scores: np.ndarray, offsets: np.ndarray, logits: np.ndarray) -> dict[str, Evidence]:
    """What a router adds to the experts' evidence: its own, and both together."""
    return {"router": router(scores, offsets), "both": both(scores, offsets, logits)}


def _task_posterior(scores: np.ndarray) -> np.ndarray:
    joint = np.logaddexp.reduce(scores / TEMPERATURE, axis=2)
    return joint - np.logaddexp.reduce(joint, axis=1, keepdims=True)


def _log_softmax(scores: np.ndarray) -> np.ndarray:
    return scores - np.logaddexp.reduce(scores, axis=2, keepdims=True)
