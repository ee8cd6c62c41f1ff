"""What the one-pass search did: the sparsity and learning rate of every task, and how its candidates fared.

search: one entry per task: {"sparsity", "lr", "candidates": [{"sparsity", "lr", "batches", "accuracy",
"loss"}]}; curves are means over blocks of batches, `batches` says where each block ends, and a dropped
candidate's curve ends earlier.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from focil.base import words
from focil.figures import parts, style
from focil.figures.parts import percent

CHOICES = {"sparsity": "sparsity", "lr": "learning rate"}


@style.styled
def chosen(search: Sequence[Mapping]) -> style.Picture:
    """The sparsity and the learning rate that the search chose for every task."""
    figure, axes = style.panels(2, 1, 4.4, sharex=True)
    for axis, what in zip(axes, CHOICES, strict=True):
        draw_chosen(axis, search, what)
        axis.label_outer()
    finding = "Chosen most often: " + ", ".join(_favourite(search, what) for what in CHOICES)
    parts.headline(axes[0], finding)
    listed = "; ".join(f"{CHOICES[what]}: {', '.join(_counts(search, what))}" for what in CHOICES)
    return style.Picture(figure, f"{finding}. Two dot plots over {len(search)} tasks. {listed}.")


def draw_chosen(axis: Axes, search: Sequence[Mapping], what: str) -> Axes:
    """The choice of every task as a dot among the candidates. what: "sparsity" or "lr"."""
    values = sorted({candidate[what] for entry in search for candidate in entry["candidates"]})
    axis.plot(
        range(1, len(search) + 1),
        [values.index(entry[what]) for entry in search],
        "o",
        color=style.COLORS[0],
        ms=5,
    )
    axis.set_yticks(range(len(values)), [f"{value:g}" for value in values])
    axis.set_ylim(-0.5, len(values) - 0.5)
    axis.set_ylabel(CHOICES[what])
    axis.grid(axis="y", color="0.9")
    parts.task_axis(axis, len(search), "task")
    parts.title(axis, _favourite(search, what))
    return axis


@style.styled
def candidates(search: Sequence[Mapping], task: int) -> style.Picture:
    """How the candidates of one task fared. task: 0 is the first."""
    figure, (axis,) = style.panels(1, 1, 3.6)
    draw_candidates(axis, search, task)
    entry = search[task]
    ends = ", ".join(
        f"{count} at batch {batch}"
        for batch, count in sorted(Counter(c["batches"][-1] for c in entry["candidates"]).items())
    )
    alt = (
        f"{parts.title_of(axis)}. Line plot of prequential accuracy against batches, one line per candidate; "
        f"lines end: {ends}."
    )
    return style.Picture(figure, alt)


def draw_candidates(axis: Axes, search: Sequence[Mapping], task: int) -> Axes:
    """Prequential accuracy of every candidate of `task` until it was dropped or the stream ended (x).

    The chosen one is thick and black.
    """
    entry = search[task]
    lrs, sparsities = (
        sorted({candidate[what] for candidate in entry["candidates"]}) for what in ("lr", "sparsity")
    )
    winner = _winner(entry)
    for candidate in entry["candidates"]:
        won = candidate is winner
        color = "black" if won else style.COLORS[lrs.index(candidate["lr"]) % len(style.COLORS)]
        line = "-" if won else style.LINES[sparsities.index(candidate["sparsity"]) % len(style.LINES)]
        accuracy = [100 * value for value in candidate["accuracy"]]
        axis.plot(
            candidate["batches"], accuracy, color=color, ls=line, lw=2 if won else 1, zorder=3 if won else 2
        )
        axis.plot(candidate["batches"][-1], accuracy[-1], "D" if won else "x", color=color, ms=5, zorder=3)
    ends = sorted(
        {
            entry["candidates"][0]["batches"][0],
            *(candidate["batches"][-1] for candidate in entry["candidates"]),
        }
    )
    axis.set_xscale("log", base=2)  # the search halves at doublings
    axis.set_xticks(
        [end for end, after in zip(ends, [*ends[1:], float("inf")], strict=True) if after > 1.2 * end]
    )
    axis.xaxis.set_major_formatter("{x:.0f}")
    axis.set_xlabel("batches of the task's stream (log scale, marked where candidates end)")
    axis.set_ylabel("prequential accuracy (%)")
    _legend(axis, lrs, sparsities)
    parts.title(axis, _candidates_finding(entry, task))
    return axis


def _legend(axis: Axes, lrs: Sequence[float], sparsities: Sequence[float]) -> None:
    colors = [
        Line2D([], [], color=style.COLORS[i % len(style.COLORS)], label=f"learning rate {lr:g}")
        for i, lr in enumerate(lrs)
    ]
    dashes = [style.LINES[i % len(style.LINES)] for i in range(len(sparsities))]
    lines = [
        Line2D([], [], color=style.MUTED, ls=ls, label=f"sparsity {s:g}")
        for ls, s in zip(dashes, sparsities, strict=True)
    ]
    ends = [
        Line2D([], [], color="black", lw=2.4, marker="D", ms=5, label="chosen"),
        Line2D([], [], color=style.MUTED, ls="", marker="x", label="dropped or not chosen"),
    ]
    axis.legend(handles=ends + colors + lines, loc="upper left", bbox_to_anchor=(1, 1))


def _winner(entry: Mapping) -> Mapping:
    return next(
        c for c in entry["candidates"] if (c["sparsity"], c["lr"]) == (entry["sparsity"], entry["lr"])
    )


def _candidates_finding(entry: Mapping, task: int) -> str:
    winner = _winner(entry)
    last = percent(winner["accuracy"][-1])
    choice = (
        f"Task {task + 1} chose sparsity {entry['sparsity']:g}, learning rate {entry['lr']:g} ({last} in its "
        "last batches)"
    )
    others = [candidate["batches"][-1] for candidate in entry["candidates"] if candidate is not winner]
    if not others:
        return f"{choice}; there was no other candidate"
    half = sorted(others)[(len(others) - 1) // 2]
    if half == winner["batches"][-1]:
        return f"{choice}; most of its {words.count(len(others), 'rival')} learned to the end, too"
    return f"{choice}; half of its {len(others)} rivals were gone by batch {half}"


def _favourite(search: Sequence[Mapping], what: str) -> str:
    value, count = Counter(entry[what] for entry in search).most_common(1)[0]
    return f"{CHOICES[what]} {value:g} ({count} of {len(search)} tasks)"


def _counts(search: Sequence[Mapping], what: str) -> list[str]:
    return [
        f"{value:g} in {count}" for value, count in sorted(Counter(entry[what] for entry in search).items())
    ]
