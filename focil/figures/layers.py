"""Shallow and deep: gradients and shifts by block, and how alike networks or experts of different tasks
see."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from focil.base import words
from focil.figures import parts, style
from focil.memo.table import TITLES
from focil.studies.tables import shallow_and_deep

MEASURES = {
    "gradient": "gradient norm",
    "shift": "shift of the weights",
    "gradient_per_weight": "gradient per weight",
    "shift_per_weight": "shift per weight",
}
Noted = Sequence[Mapping[str, Mapping[str, float]]]  # by task: block -> what was noted, see `layers.Watch`


@style.styled
def blocks(runs: Mapping[str, Sequence[Noted]]) -> style.Picture:
    """Gradient norm and shift by block, raw and per weight (root mean square), mean over later tasks.

    runs: method -> seeds -> tasks.
    """
    figure, axes = style.panels(2, 2, 4.8, sharex=True)
    for axis, (measure, what) in zip(axes, MEASURES.items(), strict=True):
        for index, (method, seeds) in enumerate(runs.items()):
            names, values = _by_block(seeds, measure)
            axis.plot(range(len(names)), values.T, alpha=0.3, lw=0.8, color=parts.look(index)["color"])
            axis.plot(range(len(names)), values.mean(0), label=TITLES[method], lw=1.8, **parts.look(index))
        if any(np.nansum(line.get_ydata()) > 0 for line in axis.lines):  # else there are no decades
            axis.set_yscale("log")
        axis.set_title(what)
        axis.set_xticks(range(len(names)), names)
    for axis in axes[2:]:
        axis.set_xlabel("block, shallow to deep")
    axes[0].legend()
    finding = _blocks_finding(runs)
    parts.headline(axes[0], finding)
    text = "; ".join(
        f"{TITLES[m]}, {what}: "
        + ", ".join(
            f"{name} {value:.2g}"
            for name, value in zip(*means(seeds, measure), strict=True)
            if not np.isnan(value)
        )
        for m, seeds in runs.items()
        for measure, what in MEASURES.items()
    )
    return style.Picture(
        figure, f"{finding}. Four panels on log scales, one line a method, thin lines single tasks. {text}."
    )


@style.styled
def similarity(cka: Mapping[str, Sequence[Mapping[str, Sequence[Sequence[float]]]]]) -> style.Picture:
    """CKA of networks of different tasks, task x task, at a shallow and a deep block (`shallow_and_deep`),
    mean over seeds.

    cka: method -> seeds -> block -> matrix.
    """
    figure, axes = style.panels(len(cka), 2, 0.6 + 2.3 * len(cka))
    text, between = [], {}
    for row, (method, seeds) in enumerate(cka.items()):
        for column, name in enumerate(shallow_and_deep(seeds[0])):
            axis, matrix = axes[2 * row + column], np.mean([found[name] for found in seeds], axis=0)
            image = parts.draw_heatmap(axis, matrix)
            between[method, column] = _off_diagonal(matrix)
            axis.set_title(f"{TITLES[method]}, {name}: {between[method, column]:.2f} between tasks")
            parts.task_axis(axis, len(matrix), "task")
            ticks = parts.task_ticks(len(matrix))
            axis.set_yticks([task - 1 for task in ticks], ticks)
            axis.set_ylabel("task")
            text.append(f"{TITLES[method]} {name} {between[method, column]:.2f}")
        parts.colorbar(axes[2 * row + 1], image, "CKA (%)")
    finding = _similarity_finding(list(cka), between)
    parts.headline(axes[0], finding)
    return style.Picture(
        figure,
        f"{finding}. Heatmaps of linear CKA on test images, task by task, mean over seeds. Between tasks: "
        f"{'; '.join(text)}.",
    )


def _similarity_finding(methods: Sequence[str], between: Mapping[tuple[str, int], float]) -> str:
    """between: of each method the mean CKA between tasks where it is shallow, 0, and deep, 1."""
    shallow, deep = (
        ", ".join(f"{TITLES[method]} {between[method, depth]:.2f}" for method in methods) for depth in (0, 1)
    )
    less = {between[method, 1] < between[method, 0] for method in methods}
    if len(less) > 1:
        return (
            "Methods differ in where networks of different tasks see alike: "
            f"shallow, CKA {shallow}; deep, {deep}"
        )
    if less == {True}:
        how = f"more alike where they are shallow (CKA: {shallow}) than where they are deep ({deep})"
    else:
        how = f"no less alike where they are deep (CKA: {deep}) than where they are shallow ({shallow})"
    return f"Networks of different tasks see {how}"


@style.styled
def experts(cka: Sequence[Mapping[str, Sequence[Sequence[float]]]]) -> style.Picture:
    """Mean CKA between FOCIL's experts, layer by layer. cka: by seed, layer -> task x task."""
    figure, (axis,) = style.panels(1, 1, 4.2)
    draw_experts(axis, cka)
    names = list(cka[0])
    means = np.mean([[_off_diagonal(np.array(found[name])) for name in names] for found in cka], axis=0)
    text = "; ".join(f"{words.layer(name)} {value:.2f}" for name, value in zip(names, means, strict=True))
    return style.Picture(
        figure,
        f"{parts.title_of(axis)}. Line of the mean CKA between experts of different tasks, layer by layer: "
        f"{text}.",
    )


def draw_experts(axis: Axes, cka: Sequence[Mapping[str, Sequence[Sequence[float]]]]) -> Axes:
    """One thin line a seed, the mean thick."""
    names = list(cka[0])
    values = np.array([[_off_diagonal(np.array(found[name])) for name in names] for found in cka])
    axis.plot(range(len(names)), values.T, lw=0.8, alpha=0.4, color=style.COLORS[0])
    axis.plot(range(len(names)), values.mean(0), lw=1.8, marker="o", ms=4, color=style.COLORS[0])
    step = -(-len(names) // parts.LAYERS_NAMED)
    axis.set_xticks(
        range(0, len(names), step), [words.layer(name) for name in names[::step]], rotation=60, ha="right"
    )
    axis.set_ylim(0, 1.03)
    axis.set_ylabel("CKA between experts")
    axis.set_xlabel("masked layer, shallow to deep")
    first, last = values[:, 0].mean(), values[:, -1].mean()
    parts.title(
        axis,
        f"FOCIL's experts see {'more' if first > last else 'no more'} alike in the first layer (CKA "
        f"{first:.2f}) than in the last ({last:.2f})",
    )
    return axis


@style.styled
def curves(lines: Mapping[str, Mapping[str, float]], what: str) -> style.Picture:
    """CKA from shallow to deep, a line for each pair of things compared.

    lines: what is compared, in words -> block or layer -> CKA. what: the name of the x axis.
    """
    figure, (axis,) = style.panels(1, 1, 3.6)
    names = list(next(iter(lines.values())))
    for index, (label, found) in enumerate(lines.items()):
        axis.plot(range(len(names)), [found[name] for name in names], label=label, **parts.look(index))
    crowded = {"rotation": 60, "ha": "right"} if len(names) > 5 else {}
    axis.set_xticks(range(len(names)), [words.layer(name) for name in names], **crowded)
    axis.set_ylim(0, 1.03)
    axis.set_ylabel("CKA")
    axis.set_xlabel(what)
    axis.legend(loc="lower left")
    parts.title(axis, _curves_finding(lines, names[0], names[-1]))
    values = "; ".join(
        f"{label}: " + ", ".join(f"{words.layer(name)} {found[name]:.2f}" for name in names)
        for label, found in lines.items()
    )
    return style.Picture(figure, f"{parts.title_of(axis)}. Lines of the mean CKA, {what}. {values}.")


def _curves_finding(lines: Mapping[str, Mapping[str, float]], first: str, last: str) -> str:
    starts, ends = ({label: found[name] for label, found in lines.items()} for name in (first, last))
    low, high = (f"{pick(starts.values()):.2f}" for pick in (min, max))
    start = low if low == high else f"{low} to {high}"
    ranked = sorted(ends, key=ends.get, reverse=True)
    order = ", ".join(f"{ends[label]:.2f} ({label})" for label in ranked)
    return f"CKA is {start} at {words.layer(first)}, but at {words.layer(last)} {order}"


def _by_block(seeds: Sequence[Noted], measure: str) -> tuple[list[str], np.ndarray]:
    """Names of blocks, and values (seeds x later tasks, blocks), NaN where a block was frozen."""
    names = list(seeds[0][0])
    rows = [
        [task.get(name, {}).get(measure, np.nan) for name in names] for tasks in seeds for task in tasks[1:]
    ]
    return names, np.array(rows, dtype=float)


def means(seeds: Sequence[Noted], measure: str) -> tuple[list[str], np.ndarray]:
    """Names of the blocks, shallow to deep, and the mean of a measure over seeds and later tasks."""
    names, values = _by_block(seeds, measure)
    return names, values.mean(0)


def _blocks_finding(runs: Mapping[str, Sequence[Noted]]) -> str:
    method = next(iter(runs))
    names, raw = means(runs[method], "shift")
    _, each = means(runs[method], "shift_per_weight")
    trained = ~np.isnan(raw)
    if not raw[trained].all():
        return f"{TITLES[method]} learns a task in one epoch, and shift is counted from the first epoch on"
    if trained.sum() < 2:
        return f"While {TITLES[method]} learns a later task, only {names[-1]} is trained"
    names, raw, each = (
        [name for name, is_trained in zip(names, trained, strict=True) if is_trained],
        raw[trained],
        each[trained],
    )
    ratios = raw[-1] / raw[0], each[-1] / each[0]

    def words(ratio: float) -> str:
        return f"{ratio:.1f} times as far as {names[0]}" if ratio >= 1 else f"{1 / ratio:.1f} times less far"

    link = "and" if (ratios[0] > 1) == (ratios[1] > 1) else "but"
    return (
        f"While {TITLES[method]} learns a later task, {names[-1]} moves {words(ratios[0])} in all, {link} "
        f"per weight {words(ratios[1])}"
    )


def _off_diagonal(matrix: np.ndarray) -> float:
    return float(matrix[~np.eye(len(matrix), dtype=bool)].mean())
