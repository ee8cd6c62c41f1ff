"""Ours beside what others published, sorted by what each protocol knows at test time."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from focil import metrics
from focil.figures import parts, style
from focil.published import Published

KNOWN = {  # from the protocol that knows most to the honest one
    "oracle": "the task is given",
    "probe-labelled": "ten labelled test images choose",
    "batch": "ten unlabelled images share a task",
    "sample": "one image alone",
}
Row = tuple[str, float, float | None, bool]  # who, mean %, half-width %, ours


@style.styled
def comparison(runs: Sequence[Mapping[str, Mapping]], published: Sequence[Published]) -> style.Picture:
    """Final average accuracy by protocol, ours and others'. runs: the "accuracy" part of each seed's result."""
    groups = _groups(runs, published)
    rows = sum(len(group) + 1 for group in groups.values())
    figure, (axis,) = style.panels(1, 1, 0.9 + 0.2 * rows)
    draw_comparison(axis, groups)
    listed = "; ".join(f"{KNOWN[kind]}: " + ", ".join(f"{who} {_number(mean, half)}" for who, mean, half, _ in group) for kind, group in groups.items())
    return style.Picture(figure, f"{parts.title_of(axis)}. Dot plot of the final average accuracy, grouped by what is known at test time. {listed}.")


def draw_comparison(axis: Axes, groups: Mapping[str, Sequence[Row]]) -> Axes:
    """One row per method: ours as filled diamonds, others' as hollow circles, below the name of their protocol."""
    ticks, labels, row = [], [], 0
    for kind, group in groups.items():
        axis.text(0, row, f"{kind}: {KNOWN[kind]}", weight="bold", va="center", fontsize=8)
        for who, mean, half, ours in group:
            row += 1
            look = {"fmt": "D", "color": style.COLORS[0], "ms": 6} if ours else {"fmt": "o", "color": style.MUTED, "mfc": "white", "ms": 6}
            axis.errorbar(mean, row, xerr=half, capsize=3, **look)
            axis.text(1.01, row, _number(mean, half), transform=axis.get_yaxis_transform(), va="center", fontsize=8, color=style.INK)
            ticks.append(row)
            labels.append(who)
        row += 1
    axis.set_yticks(ticks, labels)
    axis.set_ylim(row - 0.4, -0.8)
    axis.set_xlim(0, 100)
    axis.grid(axis="x", color="0.92")
    axis.set_axisbelow(True)
    axis.set_xlabel("final average accuracy (%); filled: ours, hollow: others'")
    parts.title(axis, _finding(groups), width=88)
    return axis


def _groups(runs: Sequence[Mapping[str, Mapping]], published: Sequence[Published]) -> dict[str, list[Row]]:
    """Rows by protocol, best first, the protocol that knows most on top."""
    groups: dict[str, list[Row]] = {kind: [] for kind in KNOWN}
    for key in runs[0]:
        mean, half = metrics.mean_interval([run[key]["final_average"] for run in runs])
        kind, answerer = key.split("-")[0], key.rsplit("-", 1)[1]
        groups[kind].append((f"ours, {answerer} (n = {len(runs)})", 100 * mean, None if half is None else 100 * half, True))
    for entry in published:
        groups[entry.protocol].append((_who(entry), entry.accuracy, entry.half, False))
    return {kind: sorted(group, key=lambda row: -row[1]) for kind, group in groups.items() if group}


def _who(entry: Published) -> str:
    if entry.stored == 0:
        return entry.method
    return f"{entry.method}, {entry.stored} images stored" if entry.stored else f"{entry.method}, replay"


def _finding(groups: Mapping[str, Sequence[Row]]) -> str:
    """Our best in each protocol; a fair comparison stays inside one."""
    best = {kind: max((mean for _, mean, _, ours in group if ours), default=np.nan) for kind, group in groups.items()}
    told = ", ".join(f"{value:.1f} % by {kind}" for kind, value in best.items() if not np.isnan(value))
    return f"Ours reads {told}; only rows of one protocol can be compared"


def _number(mean: float, half: float | None) -> str:
    return f"{mean:.1f} %" if half is None else f"{mean:.1f} ± {half:.1f} %"
