"""FOCIL while it learns: accuracy task by task under three protocols, who owns which connection, and what a
sparsity costs.

Both pictures are drawn anew at every step, so their panels have fixed places: measuring texts to lay them out
would take most of the time.
"""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure

from focil.base import words
from focil.figures import occupancy, parts, style
from focil.figures.parts import percent
from focil.masks import FREE

PROTOCOLS = {
    "oracle": "the task is given",
    "batch-10": "10 images of one task",
    "sample": "one image alone",
}
# In inches: the picture, above its panels, their lower edge, and what is left of them and between them.
HEIGHT, TOP, ABOVE, LEFT, GAP = 4.9, 0.75, 2.55, 0.55, 0.25
MAPS = 0.3, 1.35  # lower edge and height of the maps of connections
LINES = {  # of the sweep: name of an accuracy -> what it is called
    "oracle-experts": "experts, task given (oracle)",
    "batch-10-experts": "experts, 10 images (batch-10)",
    "sample-experts": "experts, one image (sample)",
    "sample": "with the router, one image (sample)",
}

BYTES = {"trained": "weights that some task trained", "kept": "all that is kept"}


@style.styled
def learned(
    rows: Mapping[str, Sequence[Sequence[float]]],
    owner: Mapping[str, np.ndarray],
    capacity: occupancy.Capacity,
    tasks: int,
) -> style.Picture:
    """What there is to see after some of `tasks` tasks: above, accuracies by protocol; below, each connection
    by its owner.

    rows: name of an accuracy -> [i][j], share of task j after task i. owner: layer -> (out, in), a task or
    `FREE`. capacity: as `Ledger.occupancy`. tasks: at most ten, which is what there are markers for.
    """
    figure = Figure(figsize=(style.WIDTH, HEIGHT), dpi=style.DPI)
    width = (style.WIDTH - LEFT - 3 * GAP) / 3
    for index, protocol in enumerate(PROTOCOLS):
        place = LEFT + index * (width + GAP), ABOVE, width, HEIGHT - ABOVE - TOP
        draw_accuracy(parts.place(figure, *place), rows, protocol, tasks)
    first, middle, _ = figure.axes
    first.set_ylabel("accuracy (%)")
    means = first.lines[-2:]
    middle.legend(handles=means, loc="upper center", bbox_to_anchor=(0.5, -0.24), ncols=2)
    _draw_layers(figure, owner, tasks)
    used = occupancy.used(capacity)[-1]
    told = _learned_finding(rows, len(capacity), tasks)
    parts.headline(first, told)
    sizes = "; ".join(f"task {t + 1} {sum(row['owned'].values())}" for t, row in enumerate(capacity))
    ends = "; ".join(
        f"{protocol}: tasks are at {parts.spread(np.array(rows[f'{protocol}-experts'][-1]))} by the experts"
        for protocol in PROTOCOLS
    )
    return style.Picture(
        figure,
        f"{told}. Three line plots of accuracy against tasks learned: {ends}. Maps of all connections by "
        f"owner: {percent(used)} are owned, connections trained by {sizes}.",
    )


def draw_accuracy(axis: Axes, rows: Mapping, protocol: str, tasks: int) -> Axes:
    """Every task's accuracy by the experts, thin; their mean, thick and black; with the router, dashed."""
    experts = rows[f"{protocol}-experts"]
    colors = task_colors(tasks)
    for task in range(len(experts)):
        shares = [100 * row[task] for row in experts[task:]]
        axis.plot(
            range(task + 1, len(experts) + 1),
            shares,
            color=colors[task],
            marker=style.MARKERS[task],
            ms=4,
            lw=1,
        )
    learned = range(1, len(experts) + 1)
    means = {
        who: [100 * float(np.mean(row)) for row in rows[key]]
        for who, key in (("experts", f"{protocol}-experts"), ("router", protocol))
    }
    axis.plot(
        learned, means["experts"], color="black", lw=2.2, marker="o", ms=4, label="mean of tasks, the experts"
    )
    axis.plot(
        learned,
        means["router"],
        color=style.COLORS[3],
        lw=1.6,
        ls="--",
        marker="s",
        ms=4,
        label="mean of tasks, with the router",
    )
    parts.percent_axis(axis, "accuracy")
    axis.set_ylabel("")  # the first panel says it for all
    parts.task_axis(axis, tasks, "tasks learned", at_most=6)
    axis.set_title(
        f"{protocol}: {PROTOCOLS[protocol]}\nexperts {means['experts'][-1]:.1f} %, "
        f"router {means['router'][-1]:.1f} %",
        fontsize=9,
    )
    return axis


def draw_owners(axis: Axes, name: str, owner: np.ndarray, tasks: int) -> Axes:
    """Every connection of a layer by its owner; white is free. owner: (out, in)."""
    colors = ["white", *task_colors(tasks)]
    edges = np.arange(FREE, tasks + 1) - 0.5
    axis.imshow(
        owner.T,
        cmap=ListedColormap(colors),
        norm=BoundaryNorm(edges, len(colors)),
        aspect="auto",
        interpolation="nearest",
    )
    taken = (owner != FREE).mean()
    axis.set_title(f"{name}: {percent(float(taken))} owned", fontsize=9)
    axis.set_xlabel(f"to {owner.shape[0]} units")
    axis.set_ylabel(f"from {owner.shape[1]} units")
    axis.set_xticks([])
    axis.set_yticks([])
    return axis


@style.styled
def swept(points: Sequence[Mapping]) -> style.Picture:
    """Accuracy, and bytes of the connections that tasks trained, over sparsity.

    points: {"sparsity", "accuracy": {name: share}, "trained", "kept": bytes}, at least one, sparsity rising.
    """
    figure = Figure(figsize=(style.WIDTH, 3.6), dpi=style.DPI)
    left, right = (parts.place(figure, x, 1.1, w, 1.75) for x, w in ((LEFT, 4.1), (5.35, 2.5)))
    kept = [1 - point["sparsity"] for point in points]
    for index, (key, label) in enumerate(LINES.items()):
        left.plot(kept, [100 * p["accuracy"][key] for p in points], label=label, **parts.look(index))
    for index, (key, label) in enumerate(BYTES.items()):
        right.plot(kept, [point[key] / 1e3 for point in points], label=label, **parts.look(index))
    parts.percent_axis(left, "final average accuracy")
    right.set_ylim(0, 1.15 * max(point["kept"] for point in points) / 1e3)
    right.set_ylabel("kB (10^3 bytes)")
    for axis, columns in ((left, 2), (right, 1)):
        _sparsity_axis(axis)
        axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.28), ncols=columns, columnspacing=1)
    left.set_title(f"with the router: {_course(points, 'sample')}", fontsize=9)
    trained = _first_to_last([f"{point['trained'] / 1e3:.0f} kB" for point in points])
    right.set_title(f"trained: {trained}", fontsize=9)
    told = _swept_finding(points)
    parts.headline(left, told)
    text = "; ".join(
        f"sparsity {p['sparsity']:g}: "
        + ", ".join(f"{label} {percent(p['accuracy'][key])}" for key, label in LINES.items())
        + f", {p['trained']:,} bytes trained, {p['kept']:,} kept"
        for p in points
    )
    return style.Picture(figure, f"{told}. Line plots of accuracy and of bytes over sparsity. {text}.")


def task_colors(tasks: int) -> list:
    """A colour for each task, darker to lighter, so that they differ without colour too."""
    return list(matplotlib.colormaps[style.SHADES](np.linspace(0, 0.95, tasks)))


def _draw_layers(figure: Figure, owner: Mapping[str, np.ndarray], tasks: int) -> None:
    width = (style.WIDTH - LEFT - 1.2 - len(owner) * GAP) / len(owner)
    for number, layer in enumerate(owner.values()):
        axis = parts.place(figure, LEFT + number * (width + GAP), MAPS[0], width, MAPS[1])
        draw_owners(axis, f"layer {number + 1}", layer, tasks)
    key = parts.place(figure, style.WIDTH - 0.95, MAPS[0], 0.16, MAPS[1])
    tone = ListedColormap(task_colors(tasks))
    key.imshow(np.arange(tasks)[:, None], cmap=tone, aspect="auto", extent=(0, 1, tasks, 0))
    key.set_xticks([])
    key.yaxis.tick_right()
    key.set_yticks(np.arange(tasks) + 0.5, [f"task {task + 1}" for task in range(tasks)], fontsize=7)
    key.set_title("owner", fontsize=9)


def _learned_finding(rows: Mapping, done: int, tasks: int) -> str:
    given, alone = (float(np.mean(rows[f"{protocol}-experts"][-1])) for protocol in ("oracle", "sample"))
    return (
        f"After {done} of {words.count(tasks, 'task')}, experts: {percent(given)} given the task, "
        f"{percent(alone)} for one image"
    )


def _sparsity_axis(axis: Axes) -> None:
    ticks = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
    axis.set_xscale("log")
    axis.set_xlim(0.56, 0.009)
    axis.set_xticks([1 - tick for tick in ticks], [f"{tick:g}" for tick in ticks])
    axis.minorticks_off()
    axis.set_xlabel("sparsity")


def _swept_finding(points: Sequence[Mapping]) -> str:
    where = _first_to_last([f"{point['sparsity']:g}" for point in points])
    return (
        f"Sparsity {where}, experts: {_course(points, 'sample-experts')} for one image, "
        f"{_course(points, 'oracle-experts')} given the task"
    )


def _course(points: Sequence[Mapping], key: str) -> str:
    return _first_to_last([percent(point["accuracy"][key]) for point in points])


def _first_to_last(values: Sequence[str]) -> str:
    return values[0] if values[0] == values[-1] else f"{values[0]} to {values[-1]}"
