"""Online methods on one stream: accuracy over bytes, task by task, less ours, and what each costs.

Shares are in 0..1. Ours is drawn thick and filled, others' thin and hollow.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator

from focil.base import words
from focil.figures import names, parts, style

OURS = "FOCIL"  # how names of ours begin
PROTOCOLS = {"sample": "one image alone", "oracle": "the task given"}
COSTS = {
    "forgetting": ("forgetting by sample\n(points)", 100),
    "seconds": ("seconds of training\n(one core)", 1),
    "passes": ("images computed with,\nfor each of the stream", 1),
}
Point = Mapping[str, object]  # of `runs.online.points`
Gap = Mapping[str, object]  # of `runs.online.differences`


@style.styled
def over_bytes(points: Sequence[Point], protocol: str) -> style.Picture:
    """Final average accuracy by `sample` or `oracle` against all bytes that are kept, one line a method."""
    found = [_by(point, protocol) for point in points if protocol == "sample" or point["oracle"]]
    figure, (axis,) = style.panels(1, 1, 5.4)
    draw_over_bytes(axis, found)
    axis.set_ylabel(f"final average accuracy (%),\n{PROTOCOLS[protocol]}")
    finding = (
        f"{PROTOCOLS[protocol].capitalize()}: no method with fewer bytes is better than {_best_at(found)}"
    )
    parts.title(axis, finding)
    text = "; ".join(
        f"{who} "
        + ", ".join(f"{_percent(point['accuracy'])} with {_megabytes(point['bytes'])}" for point in line)
        for who, line in _by_who(found).items()
    )
    kind = "Plot of final average accuracy against memory, one line a method"
    return style.Picture(figure, f"{finding}. {kind}: {text}.")


def draw_over_bytes(axis: Axes, points: Sequence[Point]) -> Axes:
    """Accuracy (y) against MB (x, log), a line a method, named beside its last point."""
    ends, marks = [], []
    for index, (who, line) in enumerate(_by_who(points).items()):
        x = [point["bytes"] / 1e6 for point in line]
        y = [100 * point["accuracy"] for point in line]
        half = [np.nan if point["half"] is None else 100 * point["half"] for point in line]
        look = _look(index, who)
        axis.errorbar(x, y, yerr=half, capsize=2, **look)
        ends.append((x[-1], y[-1], who, look["color"]))
        marks.extend(zip(x, y, strict=True))
    axis.set_xscale("log")
    low, high = axis.get_xlim()
    axis.set_xlim(low, high * (high / low) ** 0.2)  # room for the names
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 3), numticks=12))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.minorticks_off()
    axis.set_xlabel("everything that is kept (MB, log scale)")
    axis.set_ylim(0 if min(y for _, y, *_ in ends) < 50 else None, 101)
    axis.grid(color="0.92")
    axis.set_axisbelow(True)
    names.beside(axis, ends, marks)
    return axis


def _by(point: Point, protocol: str) -> Point:
    """A point with its accuracy by a protocol."""
    if protocol == "sample":
        return point
    accuracy, half = point["oracle"]
    return {**point, "accuracy": accuracy, "half": half}


@style.styled
def by_task(courses: Mapping[str, Sequence[Sequence[float]]]) -> style.Picture:
    """Average accuracy over the tasks so far by `sample`, as tasks are learned, one line a method.

    courses: who -> one course a seed.
    """
    figure, (axis,) = style.panels(1, 1, 4.2)
    ends = {}
    for index, (who, seeds) in enumerate(courses.items()):
        mean = np.mean(seeds, axis=0)
        ends[who] = float(mean[-1])
        axis.plot(range(1, len(mean) + 1), 100 * mean, label=who, **_look(index, who))
    parts.task_axis(axis, len(mean), "tasks learned")
    parts.percent_axis(axis, "accuracy so far, one image alone")
    axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    ranked = sorted(ends, key=ends.get, reverse=True)
    first = float(np.mean([np.mean(seeds, axis=0)[0] for seeds in courses.values()]))
    parts.title(
        axis,
        f"From {_percent(first)} after the first task, on average over methods, to "
        f"{_percent(ends[ranked[0]])} ({ranked[0]}) and {_percent(ends[ranked[-1]])} ({ranked[-1]}) after "
        "the last",
    )
    text = "; ".join(
        f"{who}: " + ", ".join(f"{100 * share:.0f}" for share in np.mean(seeds, axis=0))
        for who, seeds in courses.items()
    )
    kind = "Lines of the average accuracy over the tasks so far, in percent by task"
    return style.Picture(figure, f"{parts.title_of(axis)}. {kind}. {text}.")


@style.styled
def less_ours(gaps: Sequence[Gap], names: Mapping[str, str]) -> style.Picture:
    """Ours less each other run by `sample`, paired by seed. names: of the runs, in words."""
    ordered = sorted(gaps, key=lambda gap: gap["mean"])
    figure, (axis,) = style.panels(1, 1, 1.2 + 0.24 * len(ordered))
    axis.axvline(0, color=style.INK, lw=0.8)
    for row, gap in enumerate(ordered):
        half = None if gap["half"] is None else 100 * gap["half"]
        axis.errorbar(100 * gap["mean"], row, xerr=half, fmt="D", color=style.COLORS[0], ms=5, capsize=3)
        number = words.in_percent(gap["mean"], gap["half"], signed=True, sign="±")
        axis.text(1.01, row, number, transform=axis.get_yaxis_transform(), va="center", fontsize=8)
    axis.set_yticks(range(len(ordered)), [names[gap["run"]] for gap in ordered])
    axis.set_ylim(len(ordered) - 0.4, -0.6)
    axis.grid(axis="x", color="0.92")
    axis.set_axisbelow(True)
    axis.set_xlabel("ours less theirs, one image alone (points); right of the line: ours is better")
    parts.title(axis, _gaps_finding(ordered, names), width=80)
    text = "; ".join(
        f"{names[gap['run']]} {words.in_percent(gap['mean'], gap['half'], signed=True)}" for gap in ordered
    )
    kind = "Dot plot of the paired difference of final average accuracy, in points with 95 % intervals"
    return style.Picture(figure, f"{parts.title_of(axis)}. {kind}: {text}.")


@style.styled
def costs(rows: Mapping[str, Mapping[str, float]]) -> style.Picture:
    """Forgetting, seconds and passes of every run, as bars. rows: name in words -> what `COSTS` names."""
    figure, axes = style.panels(1, 3, 1.4 + 0.22 * len(rows), sharey=True)
    for index, (axis, (what, (label, scale))) in enumerate(zip(axes, COSTS.items(), strict=True)):
        values = [scale * row[what] for row in rows.values()]
        axis.barh(
            range(len(rows)), values, color=style.COLORS[index], hatch=("", "//", "..")[index], ec="white"
        )
        for place, value in enumerate(values):
            axis.text(max(value, 0), place, f" {value:.3g}", va="center", fontsize=7)
        axis.set_xlabel(label)
        axis.margins(x=0.18)
    axes[0].set_yticks(range(len(rows)), list(rows))
    axes[0].set_ylim(len(rows) - 0.4, -0.6)
    slowest, least = (pick(rows, key=lambda name: rows[name]["seconds"]) for pick in (max, min))
    finding = (
        f"Training takes from {rows[least]['seconds']:.3g} s ({least}) to {rows[slowest]['seconds']:.3g} s "
        f"({slowest})"
    )
    parts.headline(axes[0], finding)
    text = "; ".join(
        f"{name}: forgetting {100 * row['forgetting']:.1f} points, {row['seconds']:.3g} s, "
        f"{row['passes']:.3g} passes"
        for name, row in rows.items()
    )
    return style.Picture(figure, f"{finding}. Three bar charts, one bar a run. {text}.")


def _by_who(points: Sequence[Point]) -> dict[str, list[Point]]:
    """Lines, ours first, each from few bytes to many."""
    found: dict[str, list[Point]] = {}
    for point in sorted(points, key=lambda point: (not _is_ours(point["who"]), point["bytes"])):
        found.setdefault(point["who"], []).append(point)
    return found


def _is_ours(who: object) -> bool:
    return str(who).startswith(OURS)


def _look(index: int, who: str) -> dict:
    look = parts.look(index)
    turn = index // len(style.COLORS)  # the second ten have the first ten's markers in other colours
    look["color"] = style.COLORS[(index + 3 * turn) % len(style.COLORS)]
    if _is_ours(who):
        return look | {"lw": 2.2, "zorder": 3}
    return look | {"lw": 1.0, "mfc": "white"}


def _best_at(points: Sequence[Point]) -> str:
    """Who beats all with fewer bytes, each once: at its largest such memory."""
    most, largest = -1.0, {}
    for point in sorted(points, key=lambda point: (point["bytes"], -point["accuracy"])):
        if point["accuracy"] > most:
            most = point["accuracy"]
            largest.pop(point["who"], None)  # so that they stand from few bytes to many
            largest[point["who"]] = point
    return ", ".join(
        f"{who} ({_percent(point['accuracy'])} with {_megabytes(point['bytes'])})"
        for who, point in largest.items()
    )


def _gaps_finding(gaps: Sequence[Gap], names: Mapping[str, str]) -> str:
    def certain(gap: Gap, sign: int) -> bool:
        return sign * gap["mean"] > (gap["half"] or 0)

    better = sum(certain(gap, 1) for gap in gaps)
    worse = [names[gap["run"]] for gap in gaps if certain(gap, -1)]
    known = [gap["half"] is not None for gap in gaps]
    beyond = "beyond the interval" if any(known) else "in the seeds there are"
    if any(known) and not all(known):
        beyond += " where there is one"
    text = f"Ours is better than {better} of {words.count(len(gaps), 'run')} {beyond}"
    return text + (f"; better than ours: {', '.join(worse)}" if worse else "; none is better than ours")


def _percent(share: object) -> str:
    return parts.percent(float(share))


def _megabytes(size: object) -> str:
    number = float(size)
    if number < 1e5:
        return f"{number / 1e3:.2g} kB" if number < 1e4 else f"{number / 1e3:.0f} kB"
    return f"{number / 1e6:.2g} MB" if number < 1e7 else f"{number / 1e6:.0f} MB"
