"""The same answers, when more or less is known at test time: bars of accuracy."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes

from focil.figures import parts, style
from focil.figures.accuracy import ANSWERERS
from focil.figures.parts import percent

HATCHES = ("", "///", "...", "xx")
Shares = Mapping[str, Mapping[str, float]]  # who answers -> what is known, in words -> share in 0..1


@style.styled
def known(shares: Shares, chance: float) -> style.Picture:
    """Accuracy by what is known (groups) and who answers (bars), each with its number.

    The finding follows the first answerer. chance: share in 0..1 that guessing one class gets, dotted.
    """
    figure, (axis,) = style.panels(1, 1, 3.4)
    draw_known(axis, shares, chance)
    text = "; ".join(
        f"{who}: " + ", ".join(f"{percent(share)} {what}" for what, share in found.items())
        for who, found in shares.items()
    )
    kind = f"Bars of accuracy by what is known at test time; chance is {percent(chance)}"
    return style.Picture(figure, f"{parts.title_of(axis)}. {kind}. {text}.")


def draw_known(axis: Axes, shares: Shares, chance: float) -> Axes:
    """The bars of `known`; answerers differ in colour and hatching."""
    names = list(next(iter(shares.values())))
    places, width = np.arange(len(names)), 0.8 / len(shares)
    for index, (who, found) in enumerate(shares.items()):
        x = places + (index - (len(shares) - 1) / 2) * width
        look = {"color": style.COLORS[index], "hatch": HATCHES[index], "edgecolor": style.INK, "lw": 0.5}
        bars = axis.bar(x, [100 * found[name] for name in names], 0.92 * width, label=who, **look)
        axis.bar_label(bars, [f"{100 * found[name]:.1f}" for name in names], fontsize=8, padding=1)
    axis.axhline(100 * chance, color=style.INK, ls=":", lw=1, label="chance")
    axis.set_xticks(places, names)
    axis.set_xlabel("what is known at test time")
    parts.percent_axis(axis, "accuracy")
    axis.set_ylim(0, 108)
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
    parts.title(axis, _finding(shares), width=80)
    return axis


def _finding(shares: Shares) -> str:
    said = {ANSWERERS.get(who, who): found for who, found in shares.items()}
    who, found = next(iter(said.items()))
    text = f"By {who}: " + ", ".join(f"{percent(share)} {what}" for what, share in found.items())
    last = list(found)[-1]
    others = [f"{percent(other[last])} by {name}" for name, other in list(said.items())[1:]]
    return text + (f"; {last}: {', '.join(others)}" if others else "")
