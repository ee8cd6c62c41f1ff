"""Why one image alone is hard: batches of one task and of mixed tasks, and classes that compete.

Shares are in 0..1. Who answers: "experts", "router", "both", or the experts by one rule of confidence, such
as "experts, energy".
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from focil.base import words
from focil.evaluation import protocols
from focil.figures import accuracy as accuracies
from focil.figures import parts, style
from focil.figures.parts import percent

TOLD = 10  # images in the batch whose accuracy the finding tells, where it was measured
KINDS = {"one task": "Batches of one task", "mixed": "Batches of mixed tasks"}


@style.styled
def batches(table: Mapping, tasks: int) -> style.Picture:
    """Final average accuracy when N images are answered for one task together: batches of one task beside
    mixed ones.

    table: {"sizes": images, (N,), "one task": {who: shares (N,)}, "mixed": {who: shares (N,)}}. tasks:
    learned; chance is one of them.
    """
    figure, axes = style.panels(1, 2, 4.0, sharey=True)
    lines = {kind: _lines(table, kind) for kind in KINDS}
    for axis, kind in zip(axes, KINDS, strict=True):
        draw_batches(axis, table["sizes"], lines[kind], KINDS[kind])
        axis.label_outer()
    axes[1].axhline(100 / tasks, color=style.INK, ls=":", lw=1, label=f"one task of {tasks}")
    figure.legend(*axes[1].get_legend_handles_labels(), loc="outside lower center", ncols=3, handlelength=4)
    finding = _batches_finding(table)
    parts.headline(axes[0], finding)
    span = " to ".join(words.count(table["sizes"][i], "image") for i in (0, -1))
    text = [
        f"{KINDS[kind]}: {'; '.join(f'{who} {_course(values)}' for who, values in lines[kind].items())}"
        for kind in KINDS
    ]
    plots = (
        f"Two line plots of final average accuracy against images in a batch, {span}, one line per answerer"
    )
    return style.Picture(figure, f"{finding}. {plots}. {'. '.join(text)}.")


def draw_batches(axis: Axes, sizes: Sequence[int], shares: Mapping[str, Sequence[float]], what: str) -> Axes:
    """Final average accuracy (y) against images in a batch (x, log), a line per answerer.

    shares: who -> (N,), the first is named in the title.
    """
    main = next(iter(shares))
    for index, (who, values) in enumerate(shares.items()):
        first = {"lw": 2.2, "zorder": 3} if who == main else {"lw": 1.2}
        axis.plot(sizes, 100 * np.array(values), label=who, **parts.look(index), **first)
    axis.set_xscale("log")
    axis.set_xticks(sizes, [str(size) for size in sizes])
    axis.minorticks_off()
    axis.set_xlabel("images in a batch (log scale)")
    parts.percent_axis(axis, "final average accuracy")
    parts.title(axis, f"{what}:\naccuracy {_course(shares[main])} ({main})", width=52)
    return axis


@style.styled
def competition(accuracy: Mapping[str, Mapping], classes_per_task: int) -> style.Picture:
    """The first task's accuracy among ever more classes: given the task, and for one image alone.

    accuracy: name -> {"matrix": (T, T)}, with `oracle` and `sample` of at least one answerer.
    """
    chosen = [accuracies.preferred(accuracy, protocol) for protocol in ("oracle", "sample")]
    tables = {key: np.array(accuracy[key]["matrix"], dtype=float) for key in chosen}
    figure, axes = style.panels(1, 2, 3.7, sharey=True)
    for axis, (key, values) in zip(axes, tables.items(), strict=True):
        draw_competition(axis, values, classes_per_task, key)
        axis.label_outer()
    given, alone = tables.values()
    accuracies.name_tasks(axes, len(given), "first task")
    finding = _competition_finding(given[:, 0], alone[:, 0], classes_per_task)
    parts.headline(axes[0], finding)
    ends = "; ".join(
        f"{accuracies.name(key)}: tasks end at {parts.spread(values[-1])}" for key, values in tables.items()
    )
    kind = "Two line plots of the accuracy on each task against classes seen, the first task thick"
    return style.Picture(
        figure, f"{finding}. {kind}. {ends}; chance ends at {percent(1 / (classes_per_task * len(given)))}."
    )


def draw_competition(axis: Axes, matrix: accuracies.Table, classes_per_task: int, key: str) -> Axes:
    """Accuracy on every task (y) against classes seen (x), the first task's thick and black.

    Chance dotted where all classes compete.
    """
    values = np.array(matrix, dtype=float)
    seen = classes_per_task * np.arange(1, len(values) + 1)
    accuracies.draw_tasks(axis, seen, values)
    accuracies.draw_thick(axis, seen, values[:, 0])
    if protocols.split(key)[0] == "sample":
        chance = axis.plot(
            seen, 100 / seen, color=style.INK, ls=":", lw=1.6, marker="_" if len(seen) == 1 else None
        )
        axis.legend(chance, ["chance"], loc="best")
    axis.set_xticks([classes_per_task * task for task in parts.task_ticks(len(values), at_most=6)])
    axis.set_xlim(seen[0] - classes_per_task / 2, seen[-1] + classes_per_task / 2)
    axis.set_xlabel("classes seen")
    parts.percent_axis(axis, "accuracy on a task")
    parts.title(axis, f"{accuracies.name(key)}:\nfirst task {_course(values[:, 0])}", width=48)
    return axis


def _lines(table: Mapping, kind: str) -> dict[str, Sequence[float]]:
    """The answerers' shares, the one that is named first in front.

    The experts' own rule is not drawn twice but marked as used.
    """
    names = [who for who in accuracies.ANSWERERS if who in table[kind]] + [
        who for who in table[kind] if who not in accuracies.ANSWERERS
    ]
    same = [
        who
        for who in names
        if who.startswith("experts, ") and all(table[k][who] == table[k].get("experts") for k in KINDS)
    ]
    if len(same) != 1:
        return {who: table[kind][who] for who in names}
    return {
        f"{same[0]} (used)" if who == "experts" else who: table[kind][who] for who in names if who not in same
    }


def _batches_finding(table: Mapping) -> str:
    main = next(who for who in accuracies.ANSWERERS if who in table["mixed"])
    sizes = list(table["sizes"])
    size = TOLD if TOLD in sizes else sizes[-1]
    together, mixed = (percent(table[kind][main][sizes.index(size)]) for kind in KINDS)
    alone = (
        f"; one image alone: {percent(table['mixed'][main][sizes.index(1)])}"
        if 1 in sizes and size != 1
        else ""
    )
    return (
        f"{words.count(size, 'image')} of one task: {together} by {accuracies.ANSWERERS[main]}; the same "
        f"rule on mixed batches: {mixed}{alone}"
    )


def _competition_finding(given: np.ndarray, alone: np.ndarray, classes_per_task: int) -> str:
    """given, alone (T,): the first task's shares after every task."""
    among = (
        f"From {classes_per_task} to {classes_per_task * len(given)} classes"
        if len(given) > 1
        else f"Among {classes_per_task} classes"
    )
    text = f"{among} the first task's accuracy {_course(alone)} by sample and {_course(given)} given the task"
    if len(given) == 1:
        return text
    compete = _direction(alone) < 0 and alone[0] - alone[-1] > given[0] - given[-1]
    kept = "part of it is forgotten" if _direction(given) < 0 else "it is not forgotten"
    return f"{text}: {'classes compete, ' if compete else ''}{kept}"


def _direction(shares: Sequence[float]) -> int:
    """1 where the last is more than the first, -1 where less, 0 where both print alike."""
    return 0 if percent(shares[0]) == percent(shares[-1]) else int(np.sign(shares[-1] - shares[0]))


def _course(shares: Sequence[float]) -> str:
    if len(shares) == 1:
        return f"is {percent(shares[0])}"
    first, last = percent(shares[0]), percent(shares[-1])
    return {0: f"stays at {last}", 1: f"rises from {first} to {last}", -1: f"falls from {first} to {last}"}[
        _direction(shares)
    ]
