"""Two runs side by side: each accuracy of the first beside the same of the second, and the bytes it needs."""

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes

from focil.figures import parts, style
from focil.figures.parts import percent


class Pair(NamedTuple):
    """One question that both runs answer.

    name: protocol, and who answers. shares: final average accuracies in 0..1. sizes: bytes kept.
    """

    name: str
    shares: tuple[float, float]
    sizes: tuple[int, int]


@style.styled
def paired(pairs: Sequence[Pair], names: Sequence[str]) -> style.Picture:
    """Accuracy and megabytes of two runs, one row a question.

    pairs: the headline comes last. names: of the two runs.
    """
    figure, axes = style.panels(1, 2, 1.7 + 0.3 * len(pairs), sharey=True)
    draw_pairs(axes[0], [[100 * share for share in pair.shares] for pair in pairs], names)
    draw_pairs(axes[1], [[size / 1e6 for size in pair.sizes] for pair in pairs], names)
    axes[0].set_yticks(range(len(pairs)), [pair.name for pair in pairs])
    axes[0].set_ylim(len(pairs) - 0.5, -0.5)
    axes[0].set_xlabel("final average accuracy (%)")
    axes[1].set_xlabel("MB kept (10^6 bytes)")
    axes[1].set_xlim(left=0)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    parts.headline(axes[0], _finding(pairs[-1], names))
    rows = "; ".join(
        f"{pair.name} {percent(pair.shares[0])} and {percent(pair.shares[1])}, "
        f"{pair.sizes[0] / 1e6:.2f} and {pair.sizes[1] / 1e6:.2f} MB"
        for pair in pairs
    )
    return style.Picture(
        figure, f"{_finding(pairs[-1], names)}. Two dot plots, first {names[0]}, then {names[1]}: {rows}."
    )


def draw_pairs(axis: Axes, values: Sequence[Sequence[float]], names: Sequence[str]) -> Axes:
    """A line from the first value (filled) to the second (hollow), one row a pair."""
    for row, (first, second) in enumerate(values):
        axis.plot([first, second], [row, row], color="0.75", lw=2, zorder=1)
    for index, name in enumerate(names):
        face = (style.COLORS[0], "white")[index]
        look = {"color": style.COLORS[index], "marker": "oD"[index], "mfc": face, "ms": 7, "ls": "none"}
        axis.plot([pair[index] for pair in values], range(len(values)), label=name, **look)
    axis.grid(axis="x", color="0.9")
    return axis


def _finding(pair: Pair, names: Sequence[str]) -> str:
    gap = 100 * (pair.shares[1] - pair.shares[0])
    change = f"{abs(gap):.1f} points {'more' if gap > 0 else 'less'}" if round(gap, 1) else "the same"
    return (
        f"{names[1]} reads {change} than {names[0]} ({pair.name}) with "
        f"{pair.sizes[1] / 1e6:.2f} instead of {pair.sizes[0] / 1e6:.2f} MB"
    ).replace("the same than", "the same as")
