"""Names of lines beside their last points: they do not touch, and hide no point if they can help it."""

from collections.abc import Sequence
from typing import NamedTuple

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
    step = (high - low) / 26  # a name's height, about
    width = np.exp(np.ptp(np.log(axis.get_xlim())) * 0.16)  # a name is so many times farther right at its end
    last = {x: max(other for other, *_ in ends if 1 <= other / x < width**0.5) for x, *_ in ends}
    placed: list[_Name] = []
    for x, y, text, color in sorted(ends, key=lambda end: -end[1]):
        height = _free(y, _near(last[x], placed, width), step)
        level = [mark for mark, other in marks if abs(other - height) < step]
        at_left = (
            any(last[x] < mark < last[x] * width for mark in level)
            and not any(x / width < mark < x for mark in level)
            and x / width > left
        )
        words, x_taken = (x / width**0.2, x / width) if at_left else (last[x] * width**0.2, last[x])
        placed.append(_Name(x_taken, height, text, (x, y), words, at_left, color))
    risen: list[_Name] = []
    for name in sorted(placed, key=lambda name: name.height):
        above = [height + 0.99 * step for height in _near(name.x, risen, width)]
        risen.append(name._replace(height=max([name.height, low + step / 2, *above])))
        _write(axis, risen[-1])


class _Name(NamedTuple):
    """x: where its place begins. words: where its text does. mark: the point that it names."""

    x: float
    height: float
    text: str
    mark: Mark
    words: float
    at_left: bool
    color: str


def _near(x: float, names: Sequence[_Name], width: float) -> list[float]:
    """Heights of the names that one at x could touch."""
    return [name.height for name in names if 1 / width < x / name.x < width]


def _free(y: float, near: Sequence[float], step: float) -> float:
    """The height of a name at y, or so far below that it touches none of the names near by."""
    place = min([y, *(height - step for height in near if height - step < y < height + step)])
    while any(abs(place - height) < 0.99 * step for height in near):
        place -= step / 4
    return place


def _write(axis: Axes, name: _Name) -> None:
    line = {"arrowstyle": "-", "color": name.color, "lw": 0.7, "shrinkA": 0, "shrinkB": 3}
    axis.annotate(
        name.text,
        name.mark,
        xytext=(name.words, name.height),
        fontsize=8,
        va="center",
        ha="right" if name.at_left else "left",
        color=style.INK,
        zorder=4,
        bbox={"fc": "white", "ec": "none", "alpha": 0.8, "pad": 0.6},  # a name stays legible on a line
        arrowprops=line | {"relpos": (1 if name.at_left else 0, 0.5)},
    )
