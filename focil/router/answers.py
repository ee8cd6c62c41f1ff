"""What a router says, alone and together with the experts; the experts alone speak in `focil.confidence`."""

import numpy as np
from jaxtyping import Float

from focil.confidence import Evidence, log_softmax

TEMPERATURE = 2.0  # of the router: its Gaussian model is surer than it is right
EXPERT = 0.5  # weight of an expert's log-probabilities beside the router's
# Both were chosen on the development split of 20-task CIFAR-100.


def router(
    scores: Float[np.ndarray, "N tasks classes"], offsets: Float[np.ndarray, "tasks classes"]
) -> Evidence:
    """The router alone.

    scores: its log-posterior up to a constant. offsets: see `discriminant.class_offsets`.
    """
    return Evidence(log_softmax((scores - offsets) / TEMPERATURE), _task_posterior(scores))


def both(
    scores: Float[np.ndarray, "N tasks classes"],
    offsets: Float[np.ndarray, "tasks classes"],
    logits: Float[np.ndarray, "N tasks classes"],
) -> Evidence:
    """The router's posterior over tasks.

    Inside a task, its own and the expert's log-probabilities weighted and added.
    """
    within = (scores - offsets) / TEMPERATURE + EXPERT * log_softmax(logits)
    return Evidence(log_softmax(within), _task_posterior(scores))


def routed(
    scores: Float[np.ndarray, "N tasks classes"],
    offsets: Float[np.ndarray, "tasks classes"],
    logits: Float[np.ndarray, "N tasks classes"],
) -> dict[str, Evidence]:
    """What a router adds to the experts' evidence: its own, and both together."""
    return {"router": router(scores, offsets), "both": both(scores, offsets, logits)}


def _task_posterior(scores: Float[np.ndarray, "N tasks classes"]) -> Float[np.ndarray, "N tasks"]:
    return log_softmax(np.logaddexp.reduce(scores / TEMPERATURE, axis=2))
