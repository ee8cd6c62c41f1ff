"""Ours beside what others published, sorted by what each protocol knows at test time."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes

from focil.base import words
from focil.evaluation import metrics, protocols
from focil.evaluation.published import EXPLAINED, UNREAD, Published
from focil.figures import parts, style
from focil.figures.accuracy import ANSWERERS, phrase

KINDS = (
    "oracle",
    "probe",
    "batch",
    "sample",
)  # how names of protocols begin, from the one that knows most to the honest one


class Row(NamedTuple):
    """mean and half-width as shares; answerer.

    Who answers where the row is ours, None where it is others'.
    """

    who: str
    mean: float
    half: float | None
    answerer: str | None = None


@style.styled
def comparison(runs: Sequence[Mapping[str, Mapping]], published: Sequence[Published]) -> style.Picture:
    """Final average accuracy by protocol, ours and others'.

    runs: the "accuracy" part of each seed's result.
    """
    groups = _groups(runs, published)
    rows = sum(len(group) + 1 for group in groups.values())
    figure, (axis,) = style.panels(1, 1, 0.9 + 0.2 * rows)
    draw_comparison(axis, groups)
    listed = "; ".join(
        f"{phrase(key)}: " + ", ".join(f"{row.who} {_number(row)}" for row in group)
        for key, group in groups.items()
    )
    return style.Picture(
        figure,
        f"{parts.title_of(axis)}. Dot plot of the final average accuracy, grouped by what is known at test "
        f"time. {listed}.",
    )


def draw_comparison(axis: Axes, groups: Mapping[str, Sequence[Row]]) -> Axes:
    """One row per method: ours as filled diamonds, others' as hollow circles, below the name of their
    protocol."""
    ticks, row = [], 0
    for protocol, group in groups.items():
        axis.text(0, row, f"{protocol}: {phrase(protocol)}", weight="bold", va="center", fontsize=8)
        for entry in group:
            row += 1
            look = (
                {"fmt": "D", "color": style.COLORS[0]}
                if entry.answerer
                else {"fmt": "o", "color": style.MUTED, "mfc": "white"}
            )
            half = None if entry.half is None else 100 * entry.half
            axis.errorbar(100 * entry.mean, row, xerr=half, capsize=3, ms=6, **look)
            axis.text(
                1.01,
                row,
                _number(entry),
                transform=axis.get_yaxis_transform(),
                va="center",
                fontsize=8,
                color=style.INK,
            )
            ticks.append(row)
        row += 1
    axis.set_yticks(ticks, [entry.who for group in groups.values() for entry in group])
    axis.set_ylim(row - 0.4, -0.8)
    axis.set_xlim(0, 100)
    axis.grid(axis="x", color="0.92")
    axis.set_axisbelow(True)
    quoted = any(UNREAD in row.who for group in groups.values() for row in group)
    axis.set_xlabel(f"final average accuracy (%); filled: ours, hollow: others'{EXPLAINED if quoted else ''}")
    parts.title(axis, _finding(groups), width=74)
    return axis


def _groups(runs: Sequence[Mapping[str, Mapping]], published: Sequence[Published]) -> dict[str, list[Row]]:
    """Rows by protocol, best first, the protocol that knows most on top."""
    groups: dict[str, list[Row]] = {}
    for key in runs[0]:
        mean, half = metrics.mean_interval([run[key]["final_average"] for run in runs])
        protocol, answerer = protocols.split(key)
        row = Row(f"ours, {answerer} (n = {len(runs)})", mean, half, answerer)
        groups.setdefault(protocol, []).append(row)
    for entry in published:
        groups.setdefault(entry.protocol, []).append(_theirs(entry))
    easiest_first = sorted(groups, key=lambda protocol: KINDS.index(protocol.split("-")[0]))
    return {protocol: sorted(groups[protocol], key=lambda row: -row.mean) for protocol in easiest_first}


def _theirs(entry: Published) -> Row:
    who = f"{entry.name}, replay" if entry.stored is None else entry.name_and_memory
    return Row(who, entry.accuracy / 100, None if entry.half is None else entry.half / 100)


def _finding(groups: Mapping[str, Sequence[Row]]) -> str:
    """Ours in each protocol, by one answerer and not by whoever is best there.

    A fair comparison stays inside a protocol.
    """
    ours = [(protocol, row) for protocol, group in groups.items() for row in group if row.answerer]
    answerer = next(who for who in ANSWERERS if any(row.answerer == who for _, row in ours))
    text = ", ".join(
        f"{100 * row.mean:.1f} % by {protocol}" for protocol, row in ours if row.answerer == answerer
    )
    return f"Ours ({answerer}) reads {text}; only rows of one protocol can be compared"


def _number(row: Row) -> str:
    return f"{words.in_percent(row.mean, row.half, sign='±')} %"
