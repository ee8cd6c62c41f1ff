"""Who owns which connections: by layer and task, by depth, and what a late task still trains.

capacity: one entry per task, as `Ledger.occupancy` returns it: {"owned", "reused", "free": layer ->
connections, "trainable_share"}, layers from shallow to deep. owned + reused is the task's mask; free is what
no task up to it owns.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from focil.base import words
from focil.figures import parts, style
from focil.figures.parts import percent

Capacity = Sequence[Mapping]
PANELS = {
    "owned": "new, trained by the task",
    "reused": "re-used, read only",
    "free": "still free after the task",
}


def sizes(capacity: Capacity) -> dict[str, int]:
    """Connections of each layer."""
    first = capacity[0]
    return {name: first["owned"][name] + first["free"][name] for name in first["owned"]}


def shares(capacity: Capacity, part: str) -> np.ndarray:
    """Share of each layer's connections in 0..1, (layers, tasks). part: "owned", "reused" or "free"."""
    total = sizes(capacity)
    return np.array([[row[part][name] / total[name] for row in capacity] for name in total])


def used(capacity: Capacity) -> np.ndarray:
    """Share of all connections that some task owns, after each task, (tasks,)."""
    return 1 - np.array([sum(row["free"].values()) for row in capacity]) / sum(sizes(capacity).values())


@style.styled
def heatmap(capacity: Capacity) -> style.Picture:
    """New, re-used and free share of every layer (rows) for every task (columns)."""
    names = list(sizes(capacity))
    figure, axes = style.panels(1, 3, 2.5 + 0.22 * len(names), sharey=True)
    for axis, part in zip(axes, PANELS, strict=True):
        draw_heatmap(axis, capacity, part)
        axis.label_outer(remove_inner_ticks=True)
    finding = _occupancy_finding(capacity)
    parts.headline(axes[0], finding)
    ranges = "; ".join(
        f"{words}: {parts.spread(shares(capacity, part))} of a layer" for part, words in PANELS.items()
    )
    alt = (
        f"{finding}. Three heatmaps, {len(names)} layers from shallow to deep by "
        f"{words.count(len(capacity), 'task')}. {ranges}."
    )
    return style.Picture(figure, alt)


def draw_heatmap(axis: Axes, capacity: Capacity, part: str) -> Axes:
    """One share, "owned", "reused" or "free", as layers x tasks with a scale of its own."""
    values = shares(capacity, part)
    image = parts.draw_heatmap(axis, values, top=max(values.max(), 0.01))
    parts.colorbar(axis, image, "% of the layer's connections", "bottom")
    parts.layer_axis(axis, list(sizes(capacity)))
    parts.task_axis(axis, len(capacity), "task", at_most=5 if len(capacity) > parts.CROWDED else 10)
    parts.title(axis, f"{PANELS[part]}:\n{parts.spread(values)}", width=40)
    return axis


@style.styled
def by_depth(capacity: Capacity) -> style.Picture:
    """What the last task found and left in every layer, shallow to deep."""
    stack = _depth_stack(capacity)
    figure, (axis,) = style.panels(1, 1, 1.9 + 0.22 * len(stack["free"]))
    draw_by_depth(axis, capacity)
    finding = parts.title_of(axis)
    rows = [
        f"{words.layer(name)}: " + ", ".join(f"{percent(stack[part][i])} {part}" for part in stack)
        for i, name in enumerate(sizes(capacity))
    ]
    shown = rows if len(rows) <= 4 else [rows[0], rows[len(rows) // 2], rows[-1]]
    kind = f"Stacked bars, one per layer ({len(rows)}), after {words.count(len(capacity), 'task')}"
    return style.Picture(figure, f"{finding}. {kind}. {'; '.join(shown)}.")


def draw_by_depth(axis: Axes, capacity: Capacity) -> Axes:
    """Stacked shares of every layer after the last task; kinds differ in colour and hatching."""
    stack = _depth_stack(capacity)
    left = np.zeros(len(stack["free"]))
    looks = zip(
        (style.COLORS[0], style.COLORS[1], style.COLORS[7], "white"), ("", "///", "...", ""), strict=True
    )
    for (part, values), (color, hatch) in zip(stack.items(), looks, strict=True):
        look = {"color": color, "hatch": hatch, "edgecolor": style.INK, "lw": 0.5, "clip_on": False}
        axis.barh(range(len(values)), 100 * values, left=100 * left, label=part, **look)
        for row, (share, start) in enumerate(zip(values, left, strict=True)):
            if share >= 0.06:
                box = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}
                parts.label(axis, 100 * (start + share / 2), row, share, bbox=box)
        left += values
    parts.layer_axis(axis, list(sizes(capacity)))
    axis.set_xlim(0, 100)
    axis.set_xlabel("share of the layer's connections (%)")
    axis.legend(
        loc="upper left",
        bbox_to_anchor=(1, 1),
        title=f"after {words.count(len(capacity), 'task')}",
        alignment="left",
    )
    parts.title(axis, _depth_finding(capacity))
    return axis


@style.styled
def trainable(capacity: Capacity) -> style.Picture:
    """How much of its mask each task trains, and how much of the network is used by then."""
    figure, (axis,) = style.panels(1, 1, 3.2)
    draw_trainable(axis, capacity)
    share, owned = [row["trainable_share"] for row in capacity], used(capacity)
    mask = (
        f"the trained share of the mask goes from {percent(share[0])} to {percent(share[-1])} (lowest "
        f"{percent(min(share))})"
    )
    network = f"the used share of the network from {percent(owned[0])} to {percent(owned[-1])}"
    return style.Picture(
        figure,
        f"{parts.title_of(axis)}. Two lines over {words.count(len(capacity), 'task')}: {mask}, {network}.",
    )


def draw_trainable(axis: Axes, capacity: Capacity) -> Axes:
    """Trainable share of each task's mask, and the share of all connections that are owned after it."""
    tasks = np.arange(1, len(capacity) + 1)
    trained, owned = np.array([row["trainable_share"] for row in capacity]), used(capacity)
    every = max(1, len(tasks) // 10)
    axis.plot(
        tasks, 100 * trained, "-o", markevery=every, color=style.COLORS[0], label="of its mask, a task trains"
    )
    axis.plot(
        tasks,
        100 * owned,
        "--s",
        markevery=every,
        color=style.COLORS[3],
        label="of the network, some task owns",
    )
    parts.percent_axis(axis, "share of connections")
    parts.task_axis(axis, len(tasks), "task")
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2)
    trains = "still trains" if len(tasks) > 1 else "trains"
    parts.title(
        axis,
        f"Task {len(tasks)} {trains} {percent(trained[-1])} of its mask; {percent(owned[-1])} of the network "
        "is used",
    )
    return axis


def _depth_stack(capacity: Capacity) -> dict[str, np.ndarray]:
    new, reused, free = (shares(capacity, part)[:, -1] for part in PANELS)
    kinds = {
        "new in the last task": new,
        "re-used by the last task": reused,
        "of older tasks only": 1 - new - reused - free,
        "free": free,
    }
    return {kind: np.clip(values, 0, 1) for kind, values in kinds.items()}


def _depth_finding(capacity: Capacity) -> str:
    free = [capacity[-1]["free"][name] for name in sizes(capacity)]
    total = list(sizes(capacity).values())
    middle = (len(total) + 1) // 2
    if len(total) == 1:
        return f"{percent(free[0] / total[0])} of the only layer is free"
    shallow, deep = sum(free[:middle]) / sum(total[:middle]), sum(free[middle:]) / sum(total[middle:])
    if abs(shallow - deep) < 0.01:
        return f"Shallow and deep layers fill up alike: {percent(shallow)} and {percent(deep)} are free"
    if deep > shallow:
        return (
            f"Deep layers stay freer: {percent(deep)} free in the deeper half, {percent(shallow)} in the "
            "shallower"
        )
    return (
        f"Shallow layers stay freer: {percent(shallow)} free in the shallower half, {percent(deep)} in the "
        "deeper"
    )


def _occupancy_finding(capacity: Capacity) -> str:
    left = shares(capacity, "free")[:, -1]
    start = (
        f"After {words.count(len(capacity), 'task')} {percent(1 - used(capacity)[-1])} of the connections "
        "are free"
    )
    if not left.all():
        return f"{start}; {(left == 0).sum()} of {len(left)} layers are full"
    fullest = words.layer(list(sizes(capacity))[left.argmin()])
    return f"{start}; fullest is {fullest} with {percent(left.min())} left"
