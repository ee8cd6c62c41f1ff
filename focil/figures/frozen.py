"""Freezing, seen: which weights moved while a task was learned, by who owns them."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float32
from matplotlib.axes import Axes

from focil.figures import parts, style

Weights = tuple[Float32[np.ndarray, " n"], Float32[np.ndarray, " n"]]  # before and after


@style.styled
def moved(groups: Mapping[str, Weights]) -> style.Picture:
    """Every weight before (x) and after (y) a task was learned, a panel for each owner.

    What did not move lies on the diagonal. groups: owner in words -> weights before and after.
    """
    figure, axes = style.panels(1, len(groups), 3.5, sharex=True, sharey=True)
    for index, (axis, (owner, weights)) in enumerate(zip(axes, groups.items(), strict=True)):
        draw_moved(axis, owner, weights, index)
        axis.label_outer()
    counts = {owner: int((old != new).sum()) for owner, (old, new) in groups.items()}
    finding = _finding(counts, sum(len(old) for old, _ in groups.values()))
    parts.headline(axes[0], finding)
    panels = "; ".join(parts.title_of(axis) for axis in axes)
    kind = "Scatter plots of each weight after learning against before, one panel an owner"
    return style.Picture(figure, f"{finding}. {kind}. {panels}.")


def draw_moved(axis: Axes, owner: str, weights: Weights, index: int) -> Axes:
    """One owner's weights as dots over the diagonal of those that stay. index: of its colour and marker."""
    old, new = weights
    look = parts.look(index)
    axis.axline((0, 0), slope=1, color=style.MUTED, lw=0.8, ls=":")
    axis.plot(old, new, look["marker"], color=look["color"], ms=2, mew=0)
    axis.set_xlabel("weight before")
    axis.set_ylabel("weight after")
    parts.title(axis, f"owned by {owner}:\n{int((old != new).sum()):,} of {len(old):,} moved", width=36)
    return axis


def _finding(counts: Mapping[str, int], together: int) -> str:
    total = sum(counts.values())
    owners = [owner for owner, count in counts.items() if count]
    if not owners:
        return f"None of {together:,} weights moved"
    whose = f"all owned by {owners[0]}" if len(owners) == 1 else f"owned by {' and '.join(owners)}"
    return f"{total:,} of {together:,} weights moved, {whose}"
