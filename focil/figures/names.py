"""Names of lines beside their last points: they do not touch, and hide no point if they can help it."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from focil.figures import style

End = tuple[float, float, str, str]  # x, y, name and colour of a line's last point
Mark = tuple[float, float]  # x and y of any point


def beside(axis: Axes, ends: Sequence[End], marks: Sequence[Mark]) -> None:
    """Name the ends of lines on an axis whose x is logarithmic, each at the right of its end.

    A name moves down where it would touch another one near by; those that reach the lower edge push the
    others up. It is at the left where only there it covers none of the marks.
    """
    (low, high), left = axis.get_ylim(), axis.get_xlim()[0]
    step, taken = (high - low) / 26, []  # a name's height, about; where names are, and what they are
    width = np.exp(np.ptp(np.log(axis.get_xlim())) * 0.16)  # a name is so many times farther right at its end
    last = {x: max(other for other, *_ in ends if 1 <= other / x < width**0.5) for x, *_ in ends}
    for x, y, name, color in sorted(ends, key=lambda end: -end[1]):
        place = _free(y, [height for other, height, *_ in taken if 1 / width < last[x] / other < width], step)
        level = [mark for mark, height in marks if abs(height - place) < step]
        at_left = (
            any(last[x] < mark < last[x] * width for mark in level)
            and not any(x / width < mark < x for mark in level)
            and x / width > left
        )
        words = x / width**0.2 if at_left else last[x] * width**0.2
        taken.append((x / width if at_left else last[x], place, words, (name, (x, y), at_left, color)))
    risen: list[Mark] = []
    for x, place, words, (name, mark, at_left, color) in sorted(taken, key=lambda one: one[1]):
        near = [height for other, height in risen if 1 / width < x / other < width]
        place = max([place, low + step / 2, *(height + 0.99 * step for height in near)])
        risen.append((x, place))
        _write(axis, name, mark, (words, place), at_left, color)


def _free(y: float, near: Sequence[float], step: float) -> float:
    """The height of a name at y, or so far below that it touches none of the names near by."""
    place = min([y, *(height - step for height in near if height - step < y < height + step)])
    while any(abs(place - height) < 0.99 * step for height in near):
        place -= step / 4
    return place


def _write(axis: Axes, name: str, mark: Mark, words: Mark, at_left: bool, color: str) -> None:
    line = {"arrowstyle": "-", "color": color, "lw": 0.7, "shrinkA": 0, "shrinkB": 3}
    axis.annotate(
        name,
        mark,
        xytext=words,
        fontsize=8,
        va="center",
        ha="right" if at_left else "left",
        color=style.INK,
        zorder=4,
        bbox={"fc": "white", "ec": "none", "alpha": 0.8, "pad": 0.6},  # a name stays legible on a line
        arrowprops=line | {"relpos": (1 if at_left else 0, 0.5)},
    )
