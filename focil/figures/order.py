"""What the number of tasks changes: one image alone, the same classes, split in other ways."""

from collections.abc import Mapping

from matplotlib.axes import Axes

from focil.base import words
from focil.evaluation.published import EXPLAINED, UNREAD
from focil.figures import parts, style
from focil.figures.accuracy import ANSWERERS

Curve = Mapping[int, tuple[float, float | None]]  # number of tasks -> share, half-width of the 95 % interval


@style.styled
def by_tasks(ours: Mapping[str, Curve], others: Mapping[str, Mapping[int, float]]) -> style.Picture:
    """Final average accuracy for one image alone over the number of tasks.

    ours: by who answers. others: published by name, in %.
    """
    figure, (axis,) = style.panels(1, 1, 3.6)
    draw_by_tasks(axis, ours, others)
    said = {ANSWERERS[who]: {n: _number(point) for n, point in curve.items()} for who, curve in ours.items()}
    said |= {who: {n: f"{value:g} %" for n, value in curve.items()} for who, curve in others.items()}
    text = [
        f"{who}: {', '.join(f'{number} in {n} tasks' for n, number in curve.items())}"
        for who, curve in said.items()
    ]
    kind = "Plot of the final average accuracy for one image alone against the number of tasks"
    return style.Picture(figure, f"{parts.title_of(axis)}. {kind}. {'; '.join(text)}.")


def draw_by_tasks(axis: Axes, ours: Mapping[str, Curve], others: Mapping[str, Mapping[int, float]]) -> Axes:
    """Ours a line for each who answers, others' dotted with hollow circles."""
    for index, (who, curve) in enumerate(ours.items()):
        means = [100 * mean for mean, _ in curve.values()]
        halves = [100 * (half or 0) for _, half in curve.values()]
        axis.errorbar(
            list(curve), means, yerr=halves, label=ANSWERERS[who], capsize=2, lw=1.5, **parts.look(index)
        )
    for who, curve in others.items():
        axis.plot(list(curve), list(curve.values()), ":o", color=style.MUTED, mfc="white", label=who)
    counts = sorted({tasks for curve in (*ours.values(), *others.values()) for tasks in curve})
    axis.set_xscale("log")
    axis.set_xticks(counts, [str(count) for count in counts])
    axis.minorticks_off()
    axis.set_ylim(bottom=0)
    quoted = any(UNREAD in who for who in others)
    axis.set_xlabel(f"number of tasks{EXPLAINED if quoted else ''}")
    axis.set_ylabel("final average accuracy,\none image alone (%)")
    named = sorted(zip(*axis.get_legend_handles_labels(), strict=True), key=lambda pair: pair[1] in others)
    axis.legend(*zip(*named, strict=True), loc="center left", bbox_to_anchor=(1.01, 0.5))
    parts.title(axis, _finding(ours, others), width=80)
    return axis


def _finding(ours: Mapping[str, Curve], others: Mapping[str, Mapping[int, float]]) -> str:
    curve = ours["router"]
    means = [100 * mean for mean, _ in curve.values()]
    low, high, few, many = min(means), max(means), min(curve), max(curve)
    text = f"From {few} to {many} tasks the router answers {low:.1f} to {high:.1f} %"
    for who, theirs in others.items():
        first, last = (theirs[tasks] for tasks in (min(theirs), max(theirs)))
        text += (
            f"; {who} {'falls' if last < first else 'goes'} from {first:g} % in {min(theirs)} to {last:g} %"
        )
        text += f" in {max(theirs)}"
    return text


def _number(point: tuple[float, float | None]) -> str:
    return f"{words.in_percent(*point, sign='±')} %"
