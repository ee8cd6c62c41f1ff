"""Offline methods at equal memory.

Accuracy by stage, over memory, and what is confused.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from focil.base import words
from focil.evaluation import metrics
from focil.figures import parts, style
from focil.memo import account
from focil.memo.table import TITLES

Runs = Mapping[str, Sequence[Mapping]]  # method -> one report a seed
KEPT = {"joint": " (keeps every image)", "focil": " (keeps none)"}  # by methods without a budget


@style.styled
def stages(runs: Runs, sizes: Sequence[int]) -> style.Picture:
    """Accuracy over all classes seen, stage by stage, one line a method. sizes: classes of each task."""
    figure, (axis,) = style.panels(1, 1, 3.8)
    seen = np.cumsum(sizes)
    for index, (method, reports) in enumerate(runs.items()):
        found = [
            metrics.mean_interval(values)
            for values in zip(*(report["stages"] for report in reports), strict=True)
        ]
        half = [np.nan if h is None else 100 * h for _, h in found]
        axis.errorbar(
            seen,
            [100 * mean for mean, _ in found],
            yerr=half,
            label=TITLES[method],
            capsize=2,
            lw=1.4,
            **parts.look(index),
        )
    axis.set_xlabel("classes seen")
    axis.set_xticks([seen[task - 1] for task in parts.task_ticks(len(seen), at_most=20)])
    parts.percent_axis(axis, "accuracy over all classes seen")
    axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    last = {
        method: metrics.mean_interval([report["last"] for report in reports])
        for method, reports in runs.items()
    }
    ranked = sorted(last, key=lambda method: -last[method][0])
    reached = {method: words.in_percent(*last[method], sign="±") for method in ranked}
    said = ", ".join(f"{TITLES[method]} {text} %{_alone(runs[method])}" for method, text in reached.items())
    parts.title(axis, f"After the last task: {said}")
    text = "; ".join(
        f"{TITLES[m]}: " + ", ".join(f"{100 * v:.0f}" for v in runs[m][0]["stages"]) for m in runs
    )
    return style.Picture(
        figure,
        f"{parts.title_of(axis)}. Lines of accuracy in percent against classes seen, of the first seed: "
        f"{text}.",
    )


def _alone(reports: Sequence[Mapping]) -> str:
    """What the experts reach alone, where several answer."""
    if "experts" not in reports[0].get("alone", ()):
        return ""
    mean, _ = metrics.mean_interval([report["alone"]["experts"] for report in reports])
    return f" (experts alone {words.in_percent(mean)} %)"


@style.styled
def over_memory(
    lines: Sequence[tuple[str, Sequence[float], Sequence[Sequence[float]], Sequence[Sequence[float]]]],
    others: Mapping[str, Sequence[float]] = {},
) -> style.Picture:
    """Average and last accuracy against bytes, by the published account.

    lines: (method, bytes, average and last by point and seed). others: last accuracy by seed of methods
    without a budget, which the title must not forget.
    """
    figure, axes = style.panels(1, 2, 3.6, sharey=True)
    for axis, which, what in ((axes[0], 2, "average"), (axes[1], 3, "last")):
        for index, line in enumerate(lines):
            found = [metrics.mean_interval(values) for values in line[which]]
            half = [np.nan if h is None else 100 * h for _, h in found]
            axis.errorbar(
                [b / account.MIB for b in line[1]],
                [100 * m for m, _ in found],
                yerr=half,
                label=TITLES[line[0]],
                capsize=2,
                lw=1.4,
                **parts.look(index),
            )
        axis.set_xlabel("networks and exemplars (MiB)")
        axis.set_title(f"{what} accuracy")
        axis.grid(color="0.92")
        axis.set_axisbelow(True)
    axes[0].set_ylabel("accuracy (%)")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(lines))
    finding = _memory_finding(lines) + _better_without(lines, others)
    parts.headline(axes[0], finding)
    text = "; ".join(
        f"{TITLES[m]}: "
        + ", ".join(
            f"{b / account.MIB:.2f} MiB {100 * np.mean(a):.1f} % average, {100 * np.mean(z):.1f} % last"
            for b, a, z in zip(*rest, strict=True)
        )
        for m, *rest in lines
    )
    return style.Picture(
        figure, f"{finding}. Two panels, accuracy against memory, one line a method. {text}."
    )


@style.styled
def confusion(runs: Runs, classes: Sequence[str]) -> style.Picture:
    """Which class is answered for which, of the first seed.

    One heatmap a method, rows are true classes in the order they came. classes: their names in this order.
    """
    columns = min(4, len(runs))
    rows = -(-len(runs) // columns)
    figure, axes = style.panels(rows, columns, 0.7 + 2.2 * rows)
    late = {}
    for axis, (method, reports) in zip(axes, runs.items(), strict=False):  # the last axes may be empty
        counts = np.array(reports[0]["confusion"], dtype=float)
        shares = counts / counts.sum(axis=1, keepdims=True)
        image = axis.imshow(100 * shares, cmap=style.SHADES, vmin=0, vmax=100, interpolation="nearest")
        new = reports[0]["new"]
        late[method] = counts[:-new, -new:].sum() / counts[:-new].sum()
        axis.set_title(f"{TITLES[method]}: {parts.percent(late[method])}")
        ticks = np.linspace(0, len(counts) - 1, 3).astype(int)
        names = [classes[tick] for tick in ticks]
        slanted = {"rotation": 30, "ha": "right"} if max(map(len, names)) > 3 else {}
        axis.set_xticks(ticks, names, **slanted)
        axis.set_yticks(ticks, names)
        axis.set_xlabel("answered class")
    for axis in axes[len(runs) :]:
        axis.set_axis_off()
    axes[0].set_ylabel("true class")
    parts.colorbar(axes[columns - 1], image, "of the class's images (%)")
    worst, best = max(late, key=late.get), min(late, key=late.get)
    finding = (
        f"Images of old classes answered as one of the newest task: {parts.percent(late[worst])} with "
        f"{TITLES[worst]}, {parts.percent(late[best])} with {TITLES[best]}"
    )
    parts.headline(axes[0], finding)
    return style.Picture(
        figure,
        f"{finding}. Confusion matrices after the last task, one a method. "
        + "; ".join(f"{TITLES[m]} {parts.percent(v)}" for m, v in late.items())
        + ".",
    )


def _memory_finding(lines: Sequence[tuple]) -> str:
    if len({len(line[1]) for line in lines}) == 1 and len(lines[0][1]) > 1:
        areas = {}
        for method, used, _, last in lines:
            points = sorted((b / account.MIB, np.mean(values)) for b, values in zip(used, last, strict=True))
            areas[method] = account.auc(*zip(*points, strict=True))
        text = ", ".join(f"{TITLES[method]} {area:.2f}" for method, area in areas.items())
        return f"Area under last accuracy over memory (AUC-L): {text}"
    reached, best, size = max(
        (np.mean(values), method, nbytes)
        for method, used, _, last in lines
        for nbytes, values in zip(used, last, strict=True)
    )
    where = f"with {size / account.MIB:.2f} MiB"
    return f"{TITLES[best]} is best after the last task, {100 * reached:.1f} %, {where}"


def unbounded(method: str) -> str:
    """The title of a method without a budget, with what it keeps."""
    return TITLES[method] + KEPT.get(method, "")


def _better_without(lines: Sequence[tuple], others: Mapping[str, Sequence[float]]) -> str:
    """Who is better than all that have a budget, and what it keeps."""
    best = max(np.mean(values) for line in lines for values in line[3])
    better = [
        f"{unbounded(method)} {100 * np.mean(last):.1f} %"
        for method, last in others.items()
        if np.mean(last) > best
    ]
    return f". Better without a budget: {', '.join(better)}" if better else ""
