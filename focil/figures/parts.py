"""What several pictures share: percentages in words, ticks that stay readable from 1 to 100 tasks,
heatmaps."""

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from focil.base import words
from focil.figures import style

CROWDED = 10  # from more tasks than this on, cells are not annotated and lines have no names of their own
LAYERS_NAMED = 24


def percent(share: float) -> str:
    """A share (0..1) in words that never rounds a little to none or almost all to all.

    0.9996 -> '> 99.9 %'.
    """
    value = 100 * share
    if 0 < value < 0.05:
        return "< 0.1 %"
    if 99.95 <= value < 100:
        return "> 99.9 %"
    return f"{value:.1f}".removesuffix(".0") + " %"


def spread(values: np.ndarray) -> str:
    """Lowest to highest share (0..1, NaN left out) in words."""
    low, high = percent(np.nanmin(values)), percent(np.nanmax(values))
    return low if low == high else f"{low} to {high}"


def title(axis: Axes, finding: str, width: int = 85) -> None:
    """Title an axis with its finding, broken into lines of at most `width` characters."""
    axis.set_title("\n".join(textwrap.fill(line, width) for line in finding.split("\n")))


def title_of(axis: Axes) -> str:
    """The finding of an axis on one line, for an alternative text."""
    return axis.get_title(loc="left").replace("\n", " ")


def headline(axis: Axes, finding: str) -> None:
    """Title the whole figure that `axis` is part of."""
    axis.figure.suptitle(textwrap.fill(finding, 84), x=0.01, ha="left")


def look(index: int) -> dict:
    """Colour, marker and dashes of the line number `index`, which differ without colour too."""
    options = {"color": style.COLORS, "marker": style.MARKERS, "ls": style.LINES}
    return {what: choices[index % len(choices)] for what, choices in options.items()} | {"ms": 5}


def task_ticks(count: int, at_most: int = 10) -> list[int]:
    """Task numbers to print on an axis of tasks 1..`count`: the first, and multiples of a round step."""
    step = next((s for s in (1, 5, 10, 20, 25, 50) if count / s <= at_most), -(-count // at_most))
    return [1, *range(step if step > 1 else 2, count + 1, step)]


def task_axis(axis: Axes, count: int, label: str, at_most: int = 10) -> None:
    """Make x an axis of tasks 1..`count`."""
    axis.set_xticks(task_ticks(count, at_most))
    axis.set_xlim(0.5, count + 0.5)
    axis.set_xlabel(label)


def layer_axis(axis: Axes, names: Sequence[str]) -> None:
    """Make y an axis of layers, the shallowest on top; every k-th is named when there are many."""
    step = -(-len(names) // LAYERS_NAMED)
    axis.set_yticks(range(0, len(names), step), [words.layer(name) for name in names[::step]])
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.set_ylabel("layer, shallow (top) to deep")


def percent_axis(axis: Axes, label: str) -> None:
    """Make y an axis from 0 to 100 %."""
    axis.set_ylim(-3, 103)
    axis.set_yticks(range(0, 101, 20))
    axis.set_ylabel(f"{label} (%)")


def draw_heatmap(axis: Axes, shares: np.ndarray, top: float = 1.0, annotated: bool = True) -> AxesImage:
    """Shares (rows, columns) in 0..1, NaN where there is nothing, as lightness from 0 to `top`.

    Cells carry their percentage while there are few columns, if `annotated`; otherwise the colour bar must
    do.
    """
    rows, columns = shares.shape
    image = axis.imshow(
        100 * shares, cmap=style.SHADES, vmin=0, vmax=100 * top, aspect="auto", interpolation="nearest"
    )
    image.set_extent((0.5, columns + 0.5, rows - 0.5, -0.5))
    if annotated and columns <= CROWDED:
        for (row, column), share in np.ndenumerate(shares):
            if not np.isnan(share):
                label(axis, column + 1, row, share, color="white" if share < 0.5 * top else "black")
    return image


def label(axis: Axes, x: float, y: float, share: float, **look: object) -> None:
    """A percentage inside a cell or a bar.

    Left out of the layout, which would otherwise measure hundreds of them.
    """
    axis.text(x, y, f"{100 * share:.0f}", ha="center", va="center", fontsize=7, in_layout=False, **look)


def place(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """New axes at a place given in inches."""
    across, up = figure.get_size_inches()
    return figure.add_axes((left / across, bottom / up, width / across, height / up))


def colorbar(axis: Axes, image: AxesImage, what: str, location: str = "right") -> None:
    """The scale of a heatmap, at its right or its bottom."""
    axis.figure.colorbar(
        image, ax=axis, label=what, pad=0.02, location=location, aspect=25
    ).outline.set_visible(False)
