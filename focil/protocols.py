"""From evidence to answers: who may know what at test time.

oracle: the task is given. batch-N: N unlabelled images known to share one task choose the task together. sample: one image,
nothing else, all classes seen so far compete; this is class-incremental accuracy, the headline.

An accuracy's name says the protocol and who answers: `sample-experts`, `sample-router`, and `sample` for both together.
"""

import numpy as np

from focil import seeds
from focil.answers import Evidence

ANSWERERS = ("experts", "router")  # alone; without a suffix both answer together


def split(name: str) -> tuple[str, str]:
    """Protocol and answerer of an accuracy's name: "batch-10-router" -> ("batch-10", "router"); "sample" -> ("sample", "both")."""
    protocol, _, last = name.rpartition("-")
    return (protocol, last) if last in ANSWERERS else (name, "both")


def join(protocol: str, answerer: str) -> str:
    """The name of an accuracy; the inverse of `split`."""
    return protocol if answerer == "both" else f"{protocol}-{answerer}"


def oracle(evidence: Evidence, task: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The true task (N,) is given -> task (N,), label inside it (N,)."""
    return task, _label(evidence, task)


def sample(evidence: Evidence) -> tuple[np.ndarray, np.ndarray]:
    """Each image alone: the task that most speaks for, then the class inside it."""
    task = evidence.task.argmax(axis=1)
    return task, _label(evidence, task)


def batch(evidence: Evidence, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One task for all images of a group, the one with most evidence over the group. groups (N,): group of each image."""
    totals = np.zeros((groups.max() + 1, evidence.task.shape[1]))
    np.add.at(totals, groups, evidence.task)
    task = totals.argmax(axis=1)[groups]
    return task, _label(evidence, task)


def batch_groups(task: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Groups of `size` test images of one task each, (N,) int64: a seeded shuffle, consecutive, the last short group kept."""
    groups = np.empty(len(task), dtype=np.int64)
    first = 0
    for t in np.unique(task):
        rows = seeds.numpy_generator(seed, "batch groups", int(t)).permutation(np.flatnonzero(task == t))
        groups[rows] = first + np.arange(len(rows)) // size
        first = groups[rows].max() + 1
    return groups


def mixed_groups(count: int, size: int, seed: int) -> np.ndarray:
    """Groups of `size` of `count` test images whatever their task, (N,) int64, else as `batch_groups`."""
    return batch_groups(np.zeros(count, dtype=np.int64), size, seed)


def _label(evidence: Evidence, task: np.ndarray) -> np.ndarray:
    return evidence.within[np.arange(len(task)), task].argmax(axis=1)
