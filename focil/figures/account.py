"""Where the bytes of offline methods go: everything counted, beside the published account."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes

from focil.figures import parts, style
from focil.figures.memory import Runs
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


def _megabytes(size: float) -> str:
    return f"{size / 1e6:.2f} MB"
