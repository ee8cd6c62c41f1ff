"""The embedded data set: handwritten digits, as scikit-learn brings them."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from focil.data.formats import split_by_content

FILE = "datasets/data/digits.csv.gz"  # of scikit-learn: a row an image, 64 pixels of 0..16 and its label


@cache  # read from text, for each of hundreds of small trainings
def digits() -> dict[str, np.ndarray]:
    """Training and test images, (N, 8, 8, 1) uint8, and their labels; a fifth of each class is for tests."""
    pixels, labels = _table()
    images = (pixels * 255 // 16).astype(np.uint8).reshape(-1, 8, 8, 1)
    return split_by_content(images, labels, np.bincount(labels) // 5)


def _table() -> tuple[np.ndarray, np.ndarray]:
    try:  # its file alone: importing scikit-learn takes seconds, and nothing else here needs it
        path = Path(find_spec("sklearn").origin).parent / FILE
        table = np.loadtxt(path, delimiter=",", dtype=np.int64)
        return table[:, :-1], table[:, -1]
    except OSError:  # a version that keeps it elsewhere
        from sklearn.datasets import load_digits

        pixels, labels = load_digits(return_X_y=True)
        return pixels.astype(np.int64), labels.astype(np.int64)
