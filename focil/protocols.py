"""From scores to answers: who may know what at test time.

oracle: the task is given. batch-N: N unlabelled images known to share one task choose the expert together. sample: one image,
nothing else, all classes seen so far compete; this is class-incremental accuracy, the headline.
"""

import numpy as np

from focil import seeds


def oracle(logits: np.ndarray, task: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The expert of the true task answers. logits (N, experts, classes), task (N,) -> expert (N,), label inside it (N,)."""
    return _answer(logits, task)


def sample(logits: np.ndarray, sureness: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The surest expert answers each image alone. sureness (N, experts); the rest as in `oracle`."""
    return _answer(logits, sureness.argmax(axis=1))


def batch(logits: np.ndarray, sureness: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The expert that is surest on average over a group answers the whole group. groups (N,): group of each image."""
    totals = np.zeros((groups.max() + 1, logits.shape[1]))
    np.add.at(totals, groups, sureness)
    return _answer(logits, totals.argmax(axis=1)[groups])


def batch_groups(task: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Groups of `size` test images of one task each, (N,) int64: a seeded shuffle, consecutive, the last short group kept."""
    groups = np.empty(len(task), dtype=np.int64)
    first = 0
    for t in np.unique(task):
        rows = seeds.numpy_generator(seed, "batch groups", int(t)).permutation(np.flatnonzero(task == t))
        groups[rows] = first + np.arange(len(rows)) // size
        first = groups[rows].max() + 1
    return groups


def _answer(logits: np.ndarray, expert: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return expert, logits[np.arange(len(logits)), expert].argmax(axis=1)
