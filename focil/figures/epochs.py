"""A model or exemplars, and how long one trains.

Accuracy over epochs, over image passes, and who is best at which epochs and bytes.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, NullLocator

from focil.base import words
from focil.evaluation.metrics import mean_interval
from focil.figures import parts, style
from focil.figures.memory import unbounded
from focil.memo.account import MIB
from focil.memo.table import TITLES, has_budget
from focil.studies.verdict import Grown, gaps_to, turn

Map = Mapping[str, Sequence[Grown]]  # method -> what it reaches after each number of epochs


@style.styled
def over_epochs(grown: Map) -> style.Picture:
    """Last and average accuracy over epochs a task, one line a method, at one budget."""
    figure, axes = style.panels(1, 2, 3.8, sharey=True)
    for axis, which in zip(axes, ("last", "average"), strict=True):
        _lines(axis, grown, which, lambda point: point.epochs)
        axis.set_title(f"{which} accuracy")
        _log_axis(axis, sorted({point.epochs for points in grown.values() for point in points}), "{:.0f}")
        axis.set_xlabel("epochs a task")
    return _finished(figure, axes, grown, _by_epochs(grown))


@style.styled
def over_passes(grown: Map) -> style.Picture:
    """Last accuracy over images passed through training: who is best for equal work?"""
    figure, axes = style.panels(1, 1, 3.8)
    _lines(axes[0], grown, "last", lambda point: point.images)
    images = [point.images for points in grown.values() for point in points]
    _log_axis(axes[0], [t for t in (0.3, 1, 3, 10, 30) if min(images) / 2 < t < 2 * max(images)], "{:g}")
    axes[0].set_xlabel("images passed through training (millions, each epoch and exemplar counted)")
    rivals = [(m, point) for m, points in grown.items() if has_budget(m) for point in points]
    method, point = max(rivals, key=lambda pair: np.mean(pair[1].last))
    finding = (
        f"The best of all that have the budget is {TITLES[method]}, {_percent(point.last)}, after "
        f"{point.images:.1f} million images"
    )
    better = [
        f"{unbounded(m)} {_percent(p.last)} after {p.images:.1f}"
        for m, p in _without_budget(grown)
        if np.mean(p.last) > np.mean(point.last)
    ]
    finding += f". Better without one: {', '.join(better)}" if better else ""
    return _finished(figure, axes, grown, finding)


@style.styled
def winners(maps: Sequence[tuple[int | None, Map]]) -> style.Picture:
    """Who has the best last accuracy, over bytes and epochs.

    maps: (budget in bytes, or None for equal exemplars, its map).
    """
    budgets = sorted(maps, key=lambda pair: pair[0] or 0)
    epochs = sorted({number for _, grown in maps for number in _ranked(grown)})
    figure, (axis,) = style.panels(1, 1, 1.4 + 0.75 * len(budgets))
    methods = dict.fromkeys(method for _, grown in maps for method in grown)  # coloured as their lines are
    colours = {method: style.COLORS[index] for index, method in enumerate(methods)}
    told, best_of_all = [], set()
    most = max(len(found) for _, grown in maps for found in _ranked(grown).values())
    for row, (budget, grown) in enumerate(budgets):
        ranked = _ranked(grown)
        for column, number in enumerate(epochs):
            if len(ranked.get(number, [])) < 2:
                axis.text(column, row, "missing", ha="center", va="center", color=style.MUTED)
                continue
            (best, first), (second, next_best) = ranked[number][:2]
            axis.add_patch(_cell(column, row, colours[best]))
            text = f"{TITLES[best]}\n+{100 * (first - next_best):.1f} to {TITLES[second]}"
            if len(ranked[number]) == most:
                best_of_all.add(TITLES[best])
            else:
                text += f"\n(of {len(ranked[number])})"
            axis.text(column, row, text, ha="center", va="center", fontsize=8)
            told.append(f"{_budget(budget)}, {number} epochs: {TITLES[best]}, of {len(ranked[number])}")
    axis.set_xticks(range(len(epochs)), epochs)
    axis.set_yticks(range(len(budgets)), [_budget(budget) for budget, _ in budgets])
    axis.set_xlim(-0.5, len(epochs) - 0.5)
    axis.set_ylim(-0.5, len(budgets) - 0.5)
    axis.set_xlabel("epochs a task")
    axis.set_ylabel("budget")
    finding = (
        "Best of those with a budget after the last task, where all were trained: "
        f"{' and '.join(sorted(best_of_all)) or 'nobody'}"
    )
    parts.title(axis, finding)
    return style.Picture(
        figure, f"{finding}. A cell for each budget and number of epochs. {'; '.join(told)}."
    )


def _lines(axis: Axes, grown: Map, which: str, x: Callable[[Grown], float]) -> None:
    for index, (method, points) in enumerate(grown.items()):
        found = [mean_interval(getattr(point, which)) for point in points]
        half = [np.nan if h is None else 100 * h for _, h in found]
        places, means = [x(point) for point in points], [100 * m for m, _ in found]
        label = f"{TITLES[method]} (n = {_seeds(points)})"
        axis.errorbar(places, means, yerr=half, label=label, capsize=2, lw=1.4, **parts.look(index))
    axis.grid(color="0.92")
    axis.set_axisbelow(True)


def _log_axis(axis: Axes, ticks: Sequence[float], form: str) -> None:
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(FixedLocator(ticks))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_xticklabels([form.format(tick) for tick in ticks])


def _finished(figure: Figure, axes: Sequence[Axes], grown: Map, finding: str) -> style.Picture:
    axes[0].set_ylabel("accuracy (%)")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    parts.headline(axes[0], finding)
    text = "; ".join(
        f"{TITLES[method]}: "
        + ", ".join(
            f"{_percent(p.last)} after {p.epochs} epochs, {p.images:.1f} million images" for p in points
        )
        for method, points in grown.items()
    )
    return style.Picture(figure, f"{finding}. One line a method, last accuracy: {text}.")


def _by_epochs(grown: Map) -> str:
    """Who is best at the fewest and at the most epochs after which all rivals were trained, and who is
    missing."""
    ranked = _ranked(grown)
    whole = _whole(ranked)
    if not whole:
        return "No two methods with a budget were trained equally long"
    best = {number: ranked[number][0] for number in (whole[0], whole[-1])}
    text = ", ".join(
        f"{TITLES[method]} {100 * share:.1f} % after {number} epochs"
        for number, (method, share) in best.items()
    )
    better = ", ".join(
        f"{unbounded(method)} {_percent(point.last)} after {point.epochs}"
        for method, point in _without_budget(grown)
        if point.epochs in best and np.mean(point.last) > best[point.epochs][1]
    )
    more = f". Better without one: {better}" if better else ""
    return f"Best with the budget: {text}{more}{_crossing(grown)}{_missing(grown)}"


def _without_budget(grown: Map) -> list[tuple[str, Grown]]:
    """What a title must not forget: methods whose accuracy depends on no budget."""
    return [(method, point) for method, points in grown.items() if not has_budget(method) for point in points]


def _missing(grown: Map) -> str:
    """Who was not trained after how many epochs."""
    trained = {method: {point.epochs for point in points} for method, points in grown.items()}
    every = sorted(set().union(*trained.values()))
    lacks = {method: [str(n) for n in every if n not in there] for method, there in trained.items()}
    told = "; ".join(f"{TITLES[method]} after {', '.join(ns)}" for method, ns in lacks.items() if ns)
    return f". Missing: {told}" if told else ""


def _crossing(grown: Map) -> str:
    """Where MEMO's line crosses that of replay, if both were trained equally long."""
    gaps = list(gaps_to(grown.get("memo", ()), grown.get("replay", ())))
    return f". MEMO against replay: {turn(gaps)}" if gaps else ""


def _ranked(grown: Map) -> dict[int, list[tuple[str, float]]]:
    """Number of epochs -> (method, mean last accuracy) of all that have a budget, the best first."""
    found: dict[int, list[tuple[str, float]]] = {}
    for method, points in grown.items():
        for point in points if has_budget(method) else ():
            found.setdefault(point.epochs, []).append((method, float(np.mean(point.last))))
    return {number: sorted(found[number], key=lambda pair: -pair[1]) for number in sorted(found)}


def _whole(ranked: Mapping[int, Sequence]) -> list[int]:
    """The numbers of epochs after which most rivals are there, and there are some."""
    most = max(map(len, ranked.values()), default=0)
    return [number for number, found in ranked.items() if len(found) == most > 1]


def _budget(budget: int | None) -> str:
    return "equal exemplars" if budget is None else f"{budget / MIB:.1f} MiB"


def _cell(column: int, row: int, colour: str) -> Rectangle:
    return Rectangle((column - 0.48, row - 0.45), 0.96, 0.9, facecolor=colour, alpha=0.35, lw=0)


def _seeds(points: Sequence[Grown]) -> str:
    counts = sorted({len(point.last) for point in points})
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def _percent(values: Sequence[float]) -> str:
    return f"{words.in_percent(*mean_interval(values), sign='±')} %"
