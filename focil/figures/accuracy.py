"""Accuracy under each protocol: how it is named, the matrix, and the summary over seeds.

Matrices are (T, T) of shares in 0..1: row i is measured after learning task i, column j is task j's test
images, None or NaN for j > i. They come by the name of an accuracy: protocol and answerer, for example
"sample-experts" (see `protocols`).
"""

from collections.abc import Collection, Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes

from focil.base import words
from focil.evaluation import metrics, protocols
from focil.figures import parts, style
from focil.figures.parts import percent

MANY = 40  # from more tasks than this on, every k-th has a line
ANSWERERS = {
    "both": "both together",
    "experts": "the experts",
    "router": "the router",
    "network": "the network",
}  # whose number comes first, where it exists
Table = Sequence[Sequence[float | None]]


def name(key: str) -> str:
    """A protocol and who answers, as printed: "batch-10-router" -> "batch-10, router".

    "sample" -> "sample, both".
    """
    return ", ".join(protocols.split(key))


def phrase(key: str) -> str:
    """What is known at test time, in words: "batch-10-experts" -> "for 10 images of one task"."""
    protocol, _ = protocols.split(key)
    kind, _, size = protocol.partition("-")
    words = {
        "oracle": "given the task",
        "probe": "given ten labelled test images to choose with",
        "batch": f"for {size} images of one task",
        "sample": "for one image alone",
    }
    return words.get(kind, f"by {protocol}")


def preferred(keys: Collection[str], protocol: str) -> str | None:
    """The accuracy of a protocol that comes first.

    Of both together, else of the experts, else of the router; None where there is none.
    """
    names = (protocols.join(protocol, answerer) for answerer in ANSWERERS)
    return next((key for key in names if key in keys), None)


def draw_tasks(axis: Axes, x: np.ndarray, values: np.ndarray) -> None:
    """A thin line for every task j, from where it is learned on.

    values: (T, T); x: (T,), where row i of it belongs.
    """
    colors = _task_colors(len(values))
    if len(values) > MANY:
        axis.fill_between(
            x, 100 * np.nanmin(values, axis=1), 100 * np.nanmax(values, axis=1), color="0.9", lw=0
        )
    for j in _drawn(len(values)):
        marker = style.MARKERS[j] if len(values) <= parts.CROWDED else ("." if j == len(values) - 1 else None)
        axis.plot(x[j:], 100 * values[j:, j], color=colors[j], marker=marker, ms=4, lw=1, alpha=0.9)


def draw_thick(axis: Axes, x: np.ndarray, shares: Sequence[float]) -> None:
    """The line over the thin ones of `draw_tasks`, black. shares (T,) in 0..1."""
    axis.plot(x, 100 * np.array(shares), color="black", lw=2.2, marker="o" if len(x) == 1 else None, zorder=3)


def name_tasks(axes: Sequence[Axes], tasks: int, thick: str) -> None:
    """Say which line of `draw_tasks` is which task, beside the panels, and that the thick black one is
    `thick`."""
    figure = axes[0].figure
    if tasks <= parts.CROWDED:
        labels = [f"task {j + 1}" for j in range(tasks)] + [thick]
        figure.legend(axes[0].lines[: tasks + 1], labels, loc="outside right center")
        return
    scale = matplotlib.cm.ScalarMappable(matplotlib.colors.Normalize(1, tasks), style.SHADES)
    step = _drawn(tasks).step
    label = (
        f"task; thick black: {thick}"
        if step == 1
        else f"task, every {step}th drawn;\ngrey: range, black: {thick}"
    )
    bar = figure.colorbar(scale, ax=list(axes), label=label, pad=0.02, aspect=25)
    bar.set_ticks(parts.task_ticks(tasks))


@style.styled
def matrix(table: Table, key: str) -> style.Picture:
    """The accuracy matrix of one protocol."""
    figure, (axis,) = style.panels(1, 1, 4.2)
    draw_matrix(axis, table, key)
    values = _array(table)
    return style.Picture(
        figure,
        f"{parts.title_of(axis)}. Heatmap of the accuracy on each of {len(values)} tasks (columns) after "
        f"each task learned (rows); just learned {parts.spread(np.diag(values))}, at the end "
        f"{parts.spread(values[-1])}.",
    )


def draw_matrix(axis: Axes, table: Table, key: str) -> Axes:
    """Accuracy on task j (column) after learning task i (row); blank where task j is not learned yet."""
    values = _array(table)
    parts.colorbar(axis, parts.draw_heatmap(axis, values), "accuracy (%)")
    parts.task_axis(axis, len(values), "tested on task")
    axis.set_yticks([tick - 1 for tick in parts.task_ticks(len(values))], parts.task_ticks(len(values)))
    axis.set_ylabel("after learning task")
    parts.title(axis, f"{_transfer_finding(values)} ({name(key)})", width=70)
    return axis


@style.styled
def summary(runs: Sequence[Mapping[str, Mapping]]) -> style.Picture:
    """Final average accuracy of every protocol and answerer over seeds.

    runs: the "accuracy" part of each seed's result.
    """
    ends = {key: [run[key]["final_average"] for run in runs] for key in runs[0]}
    figure, (axis,) = style.panels(1, 1, 1.3 + 0.34 * len(ends))
    draw_summary(axis, ends)
    rows = "; ".join(f"{name(key)} {_with_interval(values)}" for key, values in ends.items())
    kind = (
        f"Dot plot of the final average accuracy over {words.count(len(runs), 'seed')}, mean and 95 % t "
        "interval"
    )
    return style.Picture(figure, f"{parts.title_of(axis)}. {kind}: {rows}.")


def draw_summary(axis: Axes, ends: Mapping[str, Sequence[float]]) -> Axes:
    """One row per accuracy: every seed as a hollow dot, their mean and 95 % t interval as a diamond with
    whiskers."""
    for row, values in enumerate(ends.values()):
        mean, half = metrics.mean_interval(values)
        axis.plot(100 * np.array(values), [row] * len(values), "o", mfc="none", color=style.MUTED, ms=6)
        axis.errorbar(
            100 * mean,
            row,
            xerr=None if half is None else 100 * half,
            fmt="D",
            color=style.COLORS[0],
            capsize=4,
            ms=5,
        )
        axis.text(
            1.02, row, _with_interval(values), transform=axis.get_yaxis_transform(), va="center", fontsize=8
        )
    axis.set_yticks(range(len(ends)), [name(key) for key in ends])
    axis.set_ylim(len(ends) - 0.5, -0.5)
    axis.set_xlim(0, 100)
    axis.grid(axis="x", color="0.9")
    axis.set_xlabel("final average accuracy (%)")
    axis.set_ylabel("protocol, who answers")
    hard = preferred(ends, "sample") or list(ends)[-1]
    parts.title(
        axis,
        f"Final average {phrase(hard)} ({name(hard)}): {_with_interval(ends[hard])}, n = "
        f"{words.count(len(ends[hard]), 'seed')}",
        width=80,
    )
    return axis


def _array(table: Table) -> np.ndarray:
    return np.array(table, dtype=float)  # None becomes NaN


def _drawn(tasks: int) -> range:
    return range(0, tasks, 1 if tasks <= MANY else -(-tasks // 10))


def _task_colors(tasks: int) -> list:
    if tasks <= parts.CROWDED:
        return style.COLORS[:tasks]
    return list(matplotlib.colormaps[style.SHADES](np.linspace(0, 0.95, tasks)))


def finding(what: str, shares: Mapping[str, float]) -> str:
    """The headline in words: one image alone by every answerer, then what more knowledge gives the first
    of them."""
    main = preferred(shares, "sample") or list(shares)[-1]
    protocol, answerer = protocols.split(main)
    names = {who: protocols.join(protocol, who) for who in ANSWERERS}
    each = ", ".join(
        f"{percent(shares[key])} by {ANSWERERS[who]}" for who, key in names.items() if key in shares
    )
    others = [key for key in shares if key != main and protocols.split(key)[1] == answerer]
    more = ", ".join(f"{percent(shares[key])} {phrase(key)}" for key in others)
    return f"{what} {phrase(main)}: {each}" + (f"; {more}" if more else "")


def _transfer_finding(values: np.ndarray) -> str:
    change = metrics.backward_transfer(values)
    if change is None:
        return f"One task, learned to {percent(values[0, 0])}"
    if abs(change) < 0.0005:
        return "Older tasks keep their accuracy"
    return (
        f"Older tasks {'gain' if change > 0 else 'lose'} {abs(100 * change):.1f} points on average after "
        "they are learned"
    )


def _with_interval(values: Sequence[float]) -> str:
    return f"{words.in_percent(*metrics.mean_interval(values), sign='±')} %"
