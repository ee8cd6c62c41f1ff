"""One test image: what every expert and the router say of it."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from focil.base import words
from focil.confidence import Evidence
from focil.figures import parts, style
from focil.figures.parts import percent

ROW = 0.24  # inches of a task


@style.styled
def single(
    pixels: np.ndarray, truth: int, evidence: Mapping[str, Evidence], best: Mapping[str, Sequence[str]]
) -> style.Picture:
    """The image, how sure each expert is of it, and how likely the router thinks each task.

    pixels: (H, W, C) uint8. truth: its task. evidence: by who answers, of this image alone (N = 1). best: by
    who answers, the name of the most likely class inside each task.
    """
    said = {who: given for who, given in evidence.items() if who != "both"}
    tasks = next(iter(evidence.values())).task.shape[1]
    figure = Figure(figsize=(style.WIDTH, max(2.2, 1.1 + ROW * tasks)), dpi=style.DPI, layout="constrained")
    axes = figure.subplots(1, 1 + len(said), width_ratios=[1, *[1.6] * len(said)])
    draw_pixels(axes[0], pixels)
    findings = []
    for axis, (who, given) in zip(axes[1:], said.items(), strict=True):
        draw_tasks(axis, who, given, truth, best[who])
        findings.append(parts.title_of(axis))
    return style.Picture(
        figure,
        f"The test image, of task {truth + 1}, and bars for {words.count(tasks, 'task')}. "
        f"{'. '.join(findings)}.",
    )


def draw_pixels(axis: Axes, pixels: np.ndarray) -> Axes:
    """The image as it is stored, its pixels visible."""
    axis.imshow(pixels.squeeze(), cmap="gray", interpolation="nearest")
    axis.set_axis_off()
    axis.set_title("the image")
    return axis


def draw_tasks(axis: Axes, who: str, given: Evidence, truth: int, best: Sequence[str]) -> Axes:
    """A bar per task: the experts' sureness, or the probability that a router or a network gives.

    The answer is hatched, the true task named.
    """
    values = given.task[0] if who == "experts" else 100 * np.exp(given.task[0])
    answer = int(values.argmax())
    bars = axis.barh(range(len(values)), values, color=style.COLORS[0], edgecolor=style.INK, lw=0.5)
    bars[answer].set(facecolor=style.COLORS[1], hatch="///")
    axis.axvline(0, color=style.INK, lw=0.5)
    axis.set_yticks(
        range(len(values)),
        [f"true: task {t + 1}" if t == truth else f"task {t + 1}" for t in range(len(values))],
    )
    axis.set_ylim(len(values) - 0.5, -0.5)
    for task, name in enumerate(best):  # names come from data: never read as formulas
        axis.annotate(
            name, (1.02, task), xycoords=("axes fraction", "data"), va="center", fontsize=7, parse_math=False
        )
    right = "the right task" if answer == truth else "the wrong task"
    if who == "experts":
        axis.set_xlabel("sureness of each expert\nhatched: the surest; beside: best class")
        parts.title(axis, f"Surest is the expert of task {answer + 1},\n{right}", width=40)
    else:
        axis.set_xlim(0, 100)
        axis.set_xlabel("probability of the task (%)\nhatched: the answer; beside: best class")
        parts.title(
            axis, f"The {who} says task {answer + 1} ({percent(values[answer] / 100)}),\n{right}", width=40
        )
    return axis
