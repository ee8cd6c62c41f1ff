"""How sure an expert is of an image, by three rules, and what is kept of an expert to make several comparable."""

from typing import Literal

import numpy as np

Rule = Literal["softmax", "entropy", "energy"]
RULES: tuple[Rule, ...] = ("softmax", "entropy", "energy")


def confidence(logits: np.ndarray, rule: Rule) -> np.ndarray:
    """How sure each expert is, higher is surer: logits (N, experts, classes) -> (N, experts).

    softmax: the largest softmax probability. entropy: minus the entropy of the softmax. energy: log-sum-exp of the logits
    (Liu et al. 2020, "Energy-based Out-of-distribution Detection").
    """
    energy = np.logaddexp.reduce(logits, axis=2)
    if rule == "energy":
        return energy
    log_probabilities = logits - energy[:, :, None]
    if rule == "softmax":
        return np.exp(log_probabilities.max(axis=2))
    return (np.exp(log_probabilities) * log_probabilities).sum(axis=2)


def calibrate(logits: np.ndarray) -> np.ndarray:
    """Mean and standard deviation of each rule's confidence of one expert on images of its own task.

    logits (N, classes) -> (rules, 2). Kept with the expert, so that experts that are loud by nature do not outvote the others.
    """
    values = np.stack([confidence(logits[:, None].astype(np.float64), rule)[:, 0] for rule in RULES])  # (rules, N)
    return np.stack([values.mean(axis=1), np.maximum(values.std(axis=1), 1e-6)], axis=1)


def sureness(logits: np.ndarray, rule: Rule, calibration: np.ndarray | None = None) -> np.ndarray:
    """Confidence (N, experts), in standard deviations from the expert's own mean where `calibration` (experts, rules, 2) is given."""
    raw = confidence(logits, rule)
    if calibration is None:
        return raw
    mean, std = calibration[:, RULES.index(rule)].T
    return (raw - mean) / std
