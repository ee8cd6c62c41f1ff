"""From evidence to answers: who may know what at test time.

oracle: the task is given. batch-N: N unlabelled images known to share one task choose the task together.
sample: one image, nothing else, all classes seen so far compete; this is class-incremental accuracy, the
headline.

An accuracy's name says the protocol and who answers: `sample-experts`, `sample-router`, and `sample` for both
together.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Int, Int64

from focil.base import seeds
from focil.confidence import Evidence, answer
from focil.evaluation.names import ANSWERERS, join, split

__all__ = [
    "ANSWERERS",
    "all_together",
    "batch",
    "batch_groups",
    "join",
    "mixed_groups",
    "oracle",
    "sample",
    "split",
]

Answers = tuple[Int[np.ndarray, " N"], Int[np.ndarray, " N"]]  # task, and label inside it, of each image


def oracle(evidence: Evidence, task: Int[np.ndarray, " N"]) -> Answers:
    """The true task is given."""
    return answer(evidence, task)


def sample(evidence: Evidence) -> Answers:
    """Each image alone: the task that most speaks for, then the class inside it."""
    return answer(evidence)


def batch(evidence: Evidence, groups: Int[np.ndarray, " N"]) -> Answers:
    """One task for all images of a group, the one with most evidence over the group.

    groups: of each image.
    """
    totals = np.zeros((groups.max() + 1, evidence.task.shape[1]))
    np.add.at(totals, groups, evidence.task)
    return answer(evidence, totals.argmax(axis=1)[groups])


def all_together(evidence: Mapping[str, Evidence]) -> Evidence:
    """The evidence that a method answers by: of both together, where there are several who answer."""
    return evidence["both"] if "both" in evidence else next(iter(evidence.values()))


def batch_groups(task: Int[np.ndarray, " N"], size: int, seed: int) -> Int64[np.ndarray, " N"]:
    """Groups of `size` test images of one task each.

    A seeded shuffle, consecutive, the last short group kept.
    """
    groups = np.empty(len(task), dtype=np.int64)
    first = 0
    for t in np.unique(task):
        rows = seeds.numpy_generator(seed, "batch groups", int(t)).permutation(np.flatnonzero(task == t))
        groups[rows] = first + np.arange(len(rows)) // size
        first = groups[rows].max() + 1
    return groups


def mixed_groups(count: int, size: int, seed: int) -> Int64[np.ndarray, " count"]:
    """Groups of `size` of `count` test images whatever their task, else as `batch_groups`."""
    return batch_groups(np.zeros(count, dtype=np.int64), size, seed)
