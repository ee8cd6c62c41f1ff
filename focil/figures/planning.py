"""A plan at a glance: ERK densities and who would own what, layer by layer, and what each task still trains.

It is drawn anew at every move of a slider, so its panels have fixed places: measuring texts to lay them out
would take most of the time.
"""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from focil.base import words
from focil.figures import occupancy, parts, style
from focil.figures.parts import percent

# In inches, because the height depends on the number of layers.
NAMES, COLUMN, GAP = 1.75, 1.44, 0.12  # room for the names of layers, width of a panel, between panels
LAYER, LINES = 0.18, 1.7  # height of a layer, of the lines below
SCALE, TITLE, AXIS, LEGEND = 0.07, 0.62, 0.42, 0.3
CELLS = 60  # from more cells than this on, a heatmap is not annotated: each text takes a millisecond


@style.styled
def plan(planned: Mapping) -> style.Picture:
    """ERK densities, then new, re-used and free connections by layer and task; below, trained and used shares
    task by task.

    planned: as `focil.reports.explorer.planning.plan` returns it.
    """
    capacity, densities = planned["capacity"], planned["densities"]
    layers = max(1.1, LAYER * len(densities))
    below = LEGEND + AXIS
    above = below + LINES + TITLE + 2 * AXIS + SCALE
    figure = Figure(figsize=(style.WIDTH, above + layers + TITLE), dpi=style.DPI)
    first, *heatmaps = (
        parts.place(figure, NAMES + i * (COLUMN + GAP), above, COLUMN, layers) for i in range(4)
    )
    draw_densities(first, densities)
    for axis, part in zip(heatmaps, occupancy.PANELS, strict=True):
        scale = parts.place(figure, axis.get_position().x0 * style.WIDTH, above - AXIS - SCALE, COLUMN, SCALE)
        _draw_shares(axis, scale, capacity, part)
    lines = parts.place(figure, NAMES, below, style.WIDTH - NAMES - GAP, LINES)
    occupancy.draw_trainable(lines, capacity)
    lines.legend(loc="upper center", bbox_to_anchor=(0.5, -0.25), ncols=2)
    return style.Picture(figure, _alt(planned, parts.title_of(lines)))


def draw_densities(axis: Axes, densities: Mapping[str, float]) -> Axes:
    """ERK density of every layer as a bar, the shallowest on top."""
    values = np.array(list(densities.values()))
    axis.barh(range(len(values)), 100 * values, color=style.COLORS[0], edgecolor=style.INK, lw=0.5)
    parts.layer_axis(axis, list(densities))
    axis.set_xlim(0, 105)
    axis.set_xlabel("% of the layer in a mask")
    parts.title(axis, f"ERK density:\n{parts.spread(values)}", width=40)
    return axis


def _draw_shares(axis: Axes, scale: Axes, capacity: occupancy.Capacity, part: str) -> None:
    """A heatmap of layers x tasks with its scale below; layers are named once, at the left."""
    values = occupancy.shares(capacity, part)
    top = max(values.max(), 0.01)
    image = parts.draw_heatmap(axis, values, top, annotated=values.size <= CELLS)
    ends = [0, 100 * top]
    axis.figure.colorbar(
        image, cax=scale, orientation="horizontal", label="% of the layer", ticks=ends, format="%.3g"
    ).outline.set_visible(False)
    for text, side in zip(scale.get_xticklabels(), ("left", "right"), strict=True):
        text.set_ha(side)  # inside the panel's width, or it meets its neighbour's
    axis.set_yticks([])
    parts.task_axis(axis, len(capacity), "", at_most=5)
    name = occupancy.PANELS[part].split(",")[0].removesuffix(" after the task")
    parts.title(axis, f"{name}, by task:\n{parts.spread(values)}", width=40)


def _alt(planned: Mapping, finding: str) -> str:
    capacity = planned["capacity"]
    densities = planned["densities"].items()
    layers = "; ".join(f"{words.layer(name)} {percent(density)}" for name, density in densities)
    ranges = "; ".join(
        f"{what}: {parts.spread(occupancy.shares(capacity, part))} of a layer"
        for part, what in occupancy.PANELS.items()
    )
    return (
        f"{finding}. ERK density by layer, shallow to deep: {layers}. Three heatmaps of layers by "
        f"{words.count(len(capacity), 'task')}: {ranges}."
    )
