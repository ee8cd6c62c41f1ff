"""Offline methods at equal memory.

Accuracy by stage, over memory, what is confused, and where the bytes go.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from focil.base import words
from focil.evaluation import metrics
from focil.figures import parts, style
from focil.memo import account
from focil.memo.table import TITLES

PARTS = {
    "networks": "networks",
    "exemplars": "exemplars",
    "heads": "heads",
    "buffers": "buffers",
    "labels": "labels",
    "teacher": "teacher (while learning)",
    "other": "masks, statistics, router, held batches",
}
Runs = Mapping[str, Sequence[Mapping]]  # method -> one report a seed


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
    parts.title(
        axis,
        "After the last task: "
        + ", ".join(f"{TITLES[m]} {words.in_percent(*last[m], sign='±')} %{_alone(runs[m])}" for m in ranked),
    )
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
        axis.set_xticks(ticks, names, rotation=30, ha="right")  # names are long
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


@style.styled
def counted(runs: Runs, image_bytes: int) -> style.Picture:
    """Everything counted, by method and part, beside the published account. image_bytes: of one exemplar."""
    figure, (axis,) = style.panels(1, 1, 1.2 + 0.34 * len(runs))
    totals = draw_counted(axis, runs)
    largest = max(totals, key=totals.get)
    published = {m: sum(reports[0]["memory"][-1]["published"].values()) for m, reports in runs.items()}
    finding = (
        f"Everything counted, {TITLES[largest]} takes {_megabytes(totals[largest])}, as much as "
        f"{totals[largest] / image_bytes:,.0f} stored images; the published account says "
        f"{_megabytes(published[largest])}"
    )
    parts.title(axis, finding)
    text = "; ".join(
        f"{TITLES[m]} {_megabytes(totals[m])} counted ({totals[m] / image_bytes:,.0f} images), "
        f"{_megabytes(published[m])} published"
        for m in runs
    )
    return style.Picture(
        figure, f"{parts.title_of(axis)}. Stacked bars of bytes after the last task. {text}."
    )


def draw_counted(axis: Axes, runs: Runs) -> dict[str, float]:
    """One bar a method, stacked by part, with a tick at the published account.

    Returns the bytes of each method.
    """
    left, totals = np.zeros(len(runs)), {}
    last = {method: _parts(reports[0]["memory"][-1]["counted"]) for method, reports in runs.items()}
    for index, (part, label) in enumerate(PARTS.items()):
        widths = np.array([found.get(part, 0) for found in last.values()]) / 1e6
        if widths.any():
            axis.barh(
                range(len(runs)),
                widths,
                left=left,
                color=style.COLORS[index],
                label=label,
                hatch=("", "//", "..", "xx", "\\\\", "oo", "--")[index],
                ec="white",
                lw=0,
            )
        left += widths
    for row, (method, reports) in enumerate(runs.items()):
        totals[method] = sum(last[method].values())
        x = sum(reports[0]["memory"][-1]["published"].values()) / 1e6
        axis.plot(
            [x, x],
            [row - 0.42, row + 0.42],
            color=style.INK,
            lw=1.5,
            label="published account" if row == 0 else None,
        )
    axis.set_yticks(range(len(runs)), [TITLES[method] for method in runs])
    axis.set_ylim(len(runs) - 0.4, -0.6)
    axis.set_xlabel("memory after the last task (MB)")
    axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return totals


def _parts(counted: Mapping[str, int]) -> dict[str, int]:
    """FOCIL's own parts under the names that the others have."""
    found = {part: counted[part] for part in PARTS if part in counted}
    renamed = {"backbone": "networks"}
    for part, size in counted.items():
        if part not in PARTS:
            found[renamed.get(part, "other")] = found.get(renamed.get(part, "other"), 0) + size
    return found


def _memory_finding(lines: Sequence[tuple]) -> str:
    if len({len(line[1]) for line in lines}) == 1 and len(lines[0][1]) > 1:
        areas = {}
        for method, used, _, last in lines:
            points = sorted((b / account.MIB, np.mean(values)) for b, values in zip(used, last, strict=True))
            areas[method] = account.auc(*zip(*points, strict=True))
        text = ", ".join(f"{TITLES[method]} {area:.2f}" for method, area in areas.items())
        return f"Area under last accuracy over memory (AUC-L): {text}"
    ends = {line[0]: (max(line[1]), np.mean(line[3][np.argmax(line[1])])) for line in lines}
    best = max(ends, key=lambda method: ends[method][1])
    return (
        f"{TITLES[best]} is best after the last task, {100 * ends[best][1]:.1f} %, with "
        f"{ends[best][0] / account.MIB:.2f} MiB"
    )


def _better_without(lines: Sequence[tuple], others: Mapping[str, Sequence[float]]) -> str:
    """Who is better than all that have a budget, and what it keeps."""
    best = max(np.mean(values) for line in lines for values in line[3])
    kept = {"joint": " (keeps every image)", "focil": " (keeps none)"}
    better = [
        f"{TITLES[method]}{kept.get(method, '')} {100 * np.mean(last):.1f} %"
        for method, last in others.items()
        if np.mean(last) > best
    ]
    return f". Better without a budget: {', '.join(better)}" if better else ""


def _megabytes(size: float) -> str:
    return f"{size / 1e6:.2f} MB"
