"""How sure an expert is of an image, and what the experts answer together."""

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int

Rule = Literal["softmax", "entropy", "energy"]
RULES: tuple[Rule, ...] = ("softmax", "entropy", "energy")


class Evidence(NamedTuple):
    """What somebody says of N images; `answer`, and the protocols built on it, decide what of it may be used.

    within: log-probability of each class of a task if it is that task, (N, tasks, classes). task: how much
    speaks for each task, (N, tasks).
    """

    within: Float[np.ndarray, "N tasks classes"]
    task: Float[np.ndarray, "N tasks"]


def evidence(
    logits: Float[np.ndarray, "N experts classes"],
    rule: Rule,
    calibration: Float[np.ndarray, "experts rules 2"] | None = None,
) -> Evidence:
    """What the experts alone say: the surest one is taken to be right. Arguments as of `sureness`."""
    return Evidence(log_softmax(logits), sureness(logits, rule, calibration))


def answer(
    given: Evidence, task: Int[np.ndarray, " N"] | None = None
) -> tuple[Int[np.ndarray, " N"], Int[np.ndarray, " N"]]:
    """Task and label inside it of each image: of the task that is named, else of the one with most evidence.

    >>> import numpy as np
    >>> within, task = np.log([[[0.9, 0.1], [0.2, 0.8]]]), np.array([[0.3, 0.7]])
    >>> answer(Evidence(within, task))
    (array([1]), array([1]))
    >>> answer(Evidence(within, task), task=np.array([0]))
    (array([0]), array([0]))
    """
    chosen = given.task.argmax(axis=1) if task is None else task
    return chosen, given.within[np.arange(len(chosen)), chosen].argmax(axis=1)


def confidence(logits: Float[np.ndarray, "N experts classes"], rule: Rule) -> Float[np.ndarray, "N experts"]:
    """How sure each expert is; higher is surer.

    softmax: the largest softmax probability. entropy: minus the entropy of the softmax. energy: log-sum-exp
    of the logits (Liu et al. 2020, "Energy-based Out-of-distribution Detection").

    >>> import numpy as np
    >>> confidence(np.log([[[0.5, 0.5], [0.9, 0.1]]]), "softmax").round(2)
    array([[0.5, 0.9]])
    """
    energy = np.logaddexp.reduce(logits, axis=2)
    if rule == "energy":
        return energy
    log_probabilities = logits - energy[:, :, None]
    if rule == "softmax":
        return np.exp(log_probabilities.max(axis=2))
    return (np.exp(log_probabilities) * log_probabilities).sum(axis=2)


def calibrate(logits: Float[np.ndarray, "N classes"]) -> Float[np.ndarray, "rules 2"]:
    """Mean and standard deviation of each rule's confidence of one expert on images of its own task.

    Kept with the expert, so that experts that are sure by nature do not outvote the others.
    """
    values = np.stack(
        [confidence(logits[:, None].astype(np.float64), rule)[:, 0] for rule in RULES]
    )  # (rules, N)
    return np.stack([values.mean(axis=1), np.maximum(values.std(axis=1), 1e-6)], axis=1)


def sureness(
    logits: Float[np.ndarray, "N experts classes"],
    rule: Rule,
    calibration: Float[np.ndarray, "experts rules 2"] | None = None,
) -> Float[np.ndarray, "N experts"]:
    """Confidence, in standard deviations from the expert's own mean where `calibration` is given."""
    raw = confidence(logits, rule)
    if calibration is None:
        return raw
    mean, std = calibration[:, RULES.index(rule)].T
    return (raw - mean) / std


def log_softmax(scores: Float[np.ndarray, "*rows classes"]) -> Float[np.ndarray, "*rows classes"]:
    """Logarithm of the softmax over the last axis."""
    return scores - np.logaddexp.reduce(scores, axis=-1, keepdims=True)
