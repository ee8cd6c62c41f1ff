"""What the released code's shortcuts are worth, and why its backward transfer says nothing."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from focil.base import words
from focil.evaluation import metrics
from focil.figures import parts, style
from focil.runs.sections import SHORTCUTS
from focil.studies.audit.shortcuts import DESCRIBED

BASES = {"ours": "switched on in ours", "release": "loss when removed from the release"}
MEASURES = {"answered": "as each code answers", "oracle": "oracle: the task is given"}
Effect = Mapping[
    str, str | float | None
]  # "shortcut", "base", "measure", "mean" and "half" (shares; half None for one seed)


@style.styled
def worth(
    effects: Sequence[Effect], leading: Sequence[str], idle: Mapping[str, str], seeds: int
) -> style.Picture:
    """Points of final average accuracy that each shortcut adds to ours and that the release loses without it,
    as each answers and by `oracle`.

    leading: the shortcuts that matter most, named in the title in this order. idle: shortcuts that cannot act
    here, and why.
    """
    shortcuts = [s for s in SHORTCUTS if any(effect["shortcut"] == s for effect in effects)]
    figure, axes = style.panels(1, 2, 1.6 + 0.33 * len(shortcuts), sharey=True)
    for axis, measure in zip(axes, MEASURES, strict=True):
        draw_worth(axis, [effect for effect in effects if effect["measure"] == measure], shortcuts)
        axis.set_title(MEASURES[measure])
    axes[0].set_yticks(range(len(shortcuts)), [f"{s}: {DESCRIBED[s].name}" for s in shortcuts])
    axes[0].set_ylim(len(shortcuts) - 0.4, -0.6)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower right", ncols=2)
    parts.headline(axes[0], _finding(effects, leading))
    text = "; ".join(
        f"{e['shortcut']} {BASES[e['base']]}, {MEASURES[e['measure']]}: {points(e)}" for e in effects
    )
    unused = "".join(f" {s} cannot act: {why}." for s, why in idle.items())
    return style.Picture(
        figure,
        f"{_finding(effects, leading)}. Dot plot, one row a shortcut, mean and 95 % interval over "
        f"{words.count(seeds, 'seed')}, paired: {text}.{unused}",
    )


def draw_worth(axis: Axes, effects: Sequence[Effect], shortcuts: Sequence[str]) -> Axes:
    """One row a shortcut: what it adds to ours (filled), what the release loses without it (hollow)."""
    axis.axvline(0, color=style.MUTED, lw=0.8)
    for index, (base, label) in enumerate(BASES.items()):
        rows = [effect for effect in effects if effect["base"] == base]
        where = [shortcuts.index(effect["shortcut"]) + (index - 0.5) * 0.3 for effect in rows]
        half = [np.nan if effect["half"] is None else 100 * effect["half"] for effect in rows]
        look = {
            "color": style.COLORS[index],
            "marker": "Ds"[index],
            "mfc": (style.COLORS[index], "white")[index],
        }
        axis.errorbar(
            [100 * effect["mean"] for effect in rows],
            where,
            xerr=half,
            ls="none",
            ms=5,
            capsize=2.5,
            label=label,
            **look,
        )
    axis.grid(axis="x", color="0.92")
    axis.set_axisbelow(True)
    axis.set_xlabel("adds to the final average\naccuracy (points)")
    return axis


@style.styled
def levels(arms: Mapping[str, Sequence[Mapping]]) -> style.Picture:
    """Final average accuracy of every arm, as it answers and by `oracle`. arms: {name: one report a seed}."""
    figure, (axis,) = style.panels(1, 1, 1.1 + 0.24 * len(arms))
    draw_levels(axis, arms)
    text = "; ".join(
        f"{name}: {_level(reports, 'answered')} by {reports[0]['protocol']}, {_level(reports, 'oracle')} by "
        "oracle"
        for name, reports in arms.items()
    )
    return style.Picture(
        figure, f"{parts.title_of(axis)}. Dot plot of the final average accuracy of each code. {text}."
    )


def draw_levels(axis: Axes, arms: Mapping[str, Sequence[Mapping]]) -> Axes:
    """One row an arm: accuracy as it answers (filled) and by `oracle` (hollow)."""
    for index, measure in enumerate(MEASURES):
        found = [_interval(reports, measure) for reports in arms.values()]
        half = [np.nan if h is None else 100 * h for _, h in found]
        look = {
            "color": style.COLORS[index],
            "marker": "Do"[index],
            "mfc": (style.COLORS[index], "white")[index],
        }
        where = np.arange(len(arms)) + (index - 0.5) * 0.25
        axis.errorbar(
            [100 * mean for mean, _ in found],
            where,
            xerr=half,
            ls="none",
            ms=5,
            capsize=2.5,
            label=MEASURES[measure],
            **look,
        )
    axis.set_yticks(
        range(len(arms)), [f"{name} ({reports[0]['protocol']})" for name, reports in arms.items()]
    )
    axis.set_ylim(len(arms) - 0.4, -0.6)
    axis.set_xlim(0, 102)
    axis.grid(axis="x", color="0.92")
    axis.set_axisbelow(True)
    axis.set_xlabel("final average accuracy (%)")
    axis.figure.legend(*axis.get_legend_handles_labels(), loc="outside lower right", ncols=2)
    ours, release = (_level(arms[name], "answered") for name in ("ours", "release"))
    truth = _level(arms["ours"], "oracle"), _level(arms["release"], "oracle")
    parts.title(
        axis,
        f"The release reads {release} and ours {ours}, but by different protocols; given the task it is "
        f"{truth[1]} and {truth[0]}",
    )
    return axis


@style.styled
def backward(rows: Sequence[Sequence[float]], name: str) -> style.Picture:
    """The accuracy matrix as the release builds it (R10), beside the one that was measured after each task.

    rows: a[i, 0..i], measured after task i. name: of the arm.
    """
    tasks = len(rows)
    measured = metrics.summarise(rows, [1] * tasks)
    repeated = metrics.summarise([rows[-1][: i + 1] for i in range(tasks)], [1] * tasks)
    figure, axes = style.panels(1, 2, 1.3 + 0.28 * tasks, sharey=True)
    for axis, found, how in (
        (axes[0], repeated, "as the release builds it"),
        (axes[1], measured, "measured after each task"),
    ):
        image = parts.draw_heatmap(axis, np.array(found["matrix"], dtype=float))
        parts.task_axis(axis, tasks, "test images of task")
        axis.set_yticks(range(tasks), range(1, tasks + 1))
        axis.set_title(
            f"{how}: backward\ntransfer {words.in_percent(found['backward_transfer'], signed=True)} points"
        )
    axes[0].set_ylabel("after task")
    parts.colorbar(axes[1], image, "accuracy (%)")
    finding = (
        f"{name}: one row repeated makes backward transfer 0 by construction; measured, it is "
        f"{words.in_percent(measured['backward_transfer'], signed=True)} points"
    )
    parts.headline(axes[0], finding)
    text = "; ".join(
        f"after task {i + 1}: " + ", ".join(parts.percent(value) for value in row)
        for i, row in enumerate(rows)
    )
    return style.Picture(figure, f"{finding}. Two accuracy matrices side by side. Measured {text}.")


def points(effect: Effect) -> str:
    """An effect in points: "+46.3 ± 11.1"."""
    return words.in_percent(effect["mean"], effect["half"], signed=True, sign="±")


def _finding(effects: Sequence[Effect], leading: Sequence[str]) -> str:
    def both(shortcut: str) -> str:
        found = {e["base"]: e for e in effects if e["shortcut"] == shortcut and e["measure"] == "answered"}
        ours, release = (f"{100 * found[base]['mean']:+.0f}" for base in BASES)
        return f"{shortcut} {DESCRIBED[shortcut].name} ({ours}, {release})"

    ranked = "; ".join(both(shortcut) for shortcut in leading)
    return f"What matters in both codes, by the smaller effect (points in ours, in the release): {ranked}"


def _interval(reports: Sequence[Mapping], measure: str) -> tuple[float, float | None]:
    return metrics.mean_interval([report[measure]["final_average"] for report in reports])


def _level(reports: Sequence[Mapping], measure: str) -> str:
    return f"{words.in_percent(*_interval(reports, measure), sign='±')} %"
