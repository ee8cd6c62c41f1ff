"""The accuracy matrix and what is computed from it (names as the field uses them)."""

from collections.abc import Sequence

import numpy as np

Matrix = (
    np.ndarray
)  # (T, T) float64; [i, j]: accuracy on task j's test images after learning task i, NaN for j > i


def final_average(matrix: Matrix) -> float:
    """Mean over tasks of the last row."""
    return float(np.mean(matrix[-1]))


def average_incremental(matrix: Matrix, test_sizes: Sequence[int]) -> float:
    """Mean over i of the accuracy over all classes seen after task i; tasks weigh by their test images."""
    sizes = np.asarray(test_sizes, dtype=float)
    rows = [np.average(matrix[i, : i + 1], weights=sizes[: i + 1]) for i in range(len(matrix))]
    return float(np.mean(rows))


def backward_transfer(matrix: Matrix) -> float | None:
    """mean_{j<T-1} (a[T-1, j] - a[j, j]); None for a single task.

    >>> import numpy as np
    >>> backward_transfer(np.array([[0.75, np.nan], [0.5, 1.0]]))
    -0.25
    """
    if len(matrix) < 2:
        return None
    return float(np.mean(matrix[-1, :-1] - np.diag(matrix)[:-1]))


def forgetting(matrix: Matrix) -> float | None:
    """mean_{j<T-1} (max_{j<=i<=T-2} a[i, j] - a[T-1, j]); None for a single task. May be negative.

    The other definition in use takes the maximum over the last row too, so that it cannot be negative.

    >>> import numpy as np
    >>> forgetting(np.array([[0.75, np.nan], [0.5, 1.0]]))
    0.25
    """
    if len(matrix) < 2:
        return None
    best = [np.max(matrix[j:-1, j]) for j in range(len(matrix) - 1)]
    return float(np.mean(np.array(best) - matrix[-1, :-1]))


def summarise(rows: Sequence[Sequence[float]], test_sizes: Sequence[int]) -> dict:
    """The matrix, from its rows a[i, 0..i], and every measure of it; null above the diagonal."""
    matrix = np.full((len(rows), len(rows)), np.nan)
    for i, row in enumerate(rows):
        matrix[i, : i + 1] = row
    return {
        "matrix": [list(row) + [None] * (len(rows) - len(row)) for row in rows],
        "final_average": final_average(matrix),
        "average_incremental": average_incremental(matrix, test_sizes),
        "backward_transfer": backward_transfer(matrix),
        "forgetting": forgetting(matrix),
    }


def mean_interval(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and half-width of the 95 % t interval over seeds; None for one seed.

    >>> [round(value, 3) for value in mean_interval([0.5, 0.52, 0.54])]
    [0.52, 0.05]
    """
    values = np.asarray(values, dtype=float)
    if len(values) < 2:
        return float(values.mean()), None
    from scipy.special import (
        stdtrit,  # here, because its import takes a second that most runs need not wait for
    )

    return float(values.mean()), float(
        stdtrit(len(values) - 1, 0.975) * values.std(ddof=1) / np.sqrt(len(values))
    )
