"""Which task is answered for, and which is the true one.

Tables are (T, T) of shares in 0..1: rows are the true task, columns the one that is answered for.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from focil.evaluation import protocols
from focil.figures import parts, style
from focil.figures.accuracy import Table, finding, name
from focil.figures.parts import percent


@style.styled
def routing(tables: Mapping[str, Table], test_images: Sequence[int]) -> style.Picture:
    """For which task images are answered, and which is theirs, after the last task.

    tables: name of an accuracy -> (T, T) shares, rows true task. test_images: number per task, the weights of
    the average. The router's table is left out where both together have the same: it chooses for both.
    """
    tables = {key: table for key, table in tables.items() if not _is_told(key, tables)}
    figure, axes = _grid(len(tables))
    for axis, (key, table) in zip(axes, tables.items(), strict=True):
        draw_routing(axis, table, test_images, key)
        axis.label_outer()
    bar = figure.colorbar(axes[0].images[0], ax=axes, label="% of the task's images", pad=0.02, aspect=25)
    bar.outline.set_visible(False)
    found = {key: right_task(table, test_images) for key, table in tables.items()}
    told = (
        f"{finding('How often the right task is chosen', found)}; chance is {percent(1 / len(test_images))}"
    )
    parts.headline(axes[0], told)
    own = "; ".join(
        f"{name(key)}: {parts.spread(np.diag(_array(table)))} by task" for key, table in tables.items()
    )
    kind = (
        f"{len(tables)} heatmaps of the true task (rows) against the task answered for (columns), the "
        "diagonal is right"
    )
    return style.Picture(figure, f"{told}. {kind}. {own}.")


def draw_routing(axis: Axes, table: Table, test_images: Sequence[int], key: str) -> Axes:
    """Share of each task's images (row) answered for each task (column); the diagonal is right.

    The scale is 0 to 100 %.
    """
    values = _array(table)
    parts.draw_heatmap(axis, values)
    parts.task_axis(axis, len(values), "answered for task", at_most=6)
    axis.set_yticks([tick - 1 for tick in parts.task_ticks(len(values))], parts.task_ticks(len(values)))
    axis.set_ylabel("true task")
    parts.title(axis, f"{name(key)}:\n{percent(right_task(table, test_images))} find their task", width=40)
    return axis


def right_task(table: Table, test_images: Sequence[int]) -> float:
    """Share of all test images that are answered for their own task, in 0..1."""
    return float(np.average(np.diag(_array(table)), weights=test_images))


def _is_told(key: str, tables: Mapping[str, Table]) -> bool:
    protocol, who = protocols.split(key)
    return who == "router" and tables.get(protocols.join(protocol, "both")) == tables[key]


def _array(table: Table) -> np.ndarray:
    return np.array(table, dtype=float)


def _grid(count: int) -> tuple[Figure, list[Axes]]:
    """Panels in rows of two, or of three for six, so that a row is a protocol, and no empty axis."""
    columns = 1 if count == 1 else 3 if count % 3 == 0 else 2
    rows = -(-count // columns)
    height = 4.0 if rows == 1 else 0.6 + 2.2 * rows
    figure, axes = style.panels(rows, columns, height, sharex=True, sharey=True)
    for axis in axes[count:]:
        axis.remove()
    return figure, axes[:count]
