"""The numbers of a finished run, as result.json holds them: every number behind a figure."""

import numpy as np

from focil.evaluation.evaluation import Evaluation
from focil.evaluation.frozen import FrozenEvaluation
from focil.method import Focil
from focil.online.method import OneHead

CURVE_POINTS = 40  # points kept of each candidate's curve


def numbers(evaluation: Evaluation, method: Focil | OneHead, *, development: bool) -> dict:
    """What a method answered and what it keeps; of FOCIL also its search, its experts, and its router.

    development: whether rules of confidence are compared too.
    """
    found = {
        "accuracy": evaluation.accuracy(),
        "routing": evaluation.routing(method),
        "test_images": evaluation.test_images(),
        "memory_bytes": with_total(method.memory()),
    }
    if not isinstance(evaluation, FrozenEvaluation):
        return found | {"learned": method.report}
    found |= {
        "budgets": evaluation.budgets(method),
        "batches": evaluation.batches(method),
        "search": [_condense(report) for report in method.report],
        "layers": {name: weights.numel() for name, weights in method.store.items()},
        "capacity": method.capacity(),
    }
    return found | ({"rules": evaluation.compare_rules(method)} if development else {})


def with_total(parts: dict) -> dict:
    """Parts, and their sum."""
    return parts | {"total": sum(parts.values())}


def _condense(report: dict) -> dict:
    """A search report with its curves as block means, so that result.json stays small."""
    block = max(1, round(max(len(c["accuracy"]) for c in report["candidates"]) / CURVE_POINTS))
    return report | {"candidates": [_condensed(candidate, block) for candidate in report["candidates"]]}


def _condensed(candidate: dict, block: int) -> dict:
    learned = len(candidate["accuracy"])
    ends = [min(start + block, learned) for start in range(0, learned, block)]
    curves = {key: _block_means(candidate[key], block) for key in ("accuracy", "loss")}
    about = {key: candidate[key] for key in ("sparsity", "lr", "diverged") if key in candidate}
    return about | curves | {"batches": ends}


def _block_means(values: list[float], block: int) -> list[float | None]:
    """Means of blocks; None where one is no number, as the last loss of what diverged."""
    means = (np.mean(values[i : i + block]) for i in range(0, len(values), block))
    return [round(float(mean), 4) if np.isfinite(mean) else None for mean in means]
