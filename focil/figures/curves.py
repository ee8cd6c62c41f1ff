"""How accuracy goes as tasks are learned: a panel a protocol, a line for each who answers, drawn where they
differ."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from focil.evaluation import protocols
from focil.figures import parts, style
from focil.figures.accuracy import ANSWERERS, phrase
from focil.figures.parts import percent

DRAWN = ("router", "experts", "both", "network")  # the router below, where both together hide it
ROOM = 0.08  # of the drawn range, above and below
NARROWEST = 2.0  # points that an axis shows at least: less is noise
ALIKE = 0.005  # answerers that end this close to each other are told as one


@style.styled
def curves(accuracy: Mapping[str, Mapping]) -> style.Picture:
    """One panel per protocol: the mean over the tasks learned so far, by who answers, and their lowest and
    highest task as a band.

    accuracy: name -> {"matrix": (T, T), ...}. The axes begin where the lowest task is, not at 0.
    """
    grouped: dict[str, dict[str, np.ndarray]] = {}
    for key, entry in accuracy.items():
        protocol, who = protocols.split(key)
        grouped.setdefault(protocol, {})[who] = np.array(entry["matrix"], dtype=float)
    figure, axes = style.panels(1, len(grouped), 3.9)
    for axis, (protocol, tables) in zip(axes, grouped.items(), strict=True):
        draw_protocol(axis, tables, protocol)
    axes[0].set_ylabel("accuracy (%), each panel on its own scale")
    handles = {line.get_label(): line for axis in axes for line in axis.lines}
    handles["lowest to highest task"] = Patch(facecolor=style.MUTED, alpha=0.3)
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=4, handlelength=4)
    found = _finding(grouped)
    parts.headline(axes[0], found)
    ends = "; ".join(
        f"{protocol}, {who}: mean {_course(_means(table))}, tasks end at {parts.spread(table[-1])}"
        for protocol, tables in grouped.items()
        for who, table in tables.items()
    )
    kind = "Line plots of the mean accuracy over the tasks learned so far, one panel a protocol"
    return style.Picture(figure, f"{found}. {kind}. {ends}.")


def draw_protocol(axis: Axes, tables: Mapping[str, np.ndarray], protocol: str) -> Axes:
    """The mean of the tasks so far, a line for each who answers, over a band from the lowest task to the
    highest.

    tables: who -> (T, T) in 0..1.
    """
    learned = np.arange(1, len(next(iter(tables.values()))) + 1)
    for who in sorted(tables, key=DRAWN.index):
        look = parts.look(DRAWN.index(who)) | ({"ms": 9, "mfc": "none"} if who == "router" else {})
        low, high = 100 * np.nanmin(tables[who], axis=1), 100 * np.nanmax(tables[who], axis=1)
        axis.fill_between(learned, low, high, color=look["color"], alpha=0.12, lw=0)
        every = -(-len(learned) // 10)
        axis.plot(learned, 100 * _means(tables[who]), label=ANSWERERS[who], lw=1.8, markevery=every, **look)
    parts.task_axis(axis, len(learned), "tasks learned", at_most=6)
    _show_where_they_differ(axis, np.concatenate([table.ravel() for table in tables.values()]))
    axis.grid(axis="y", color="0.92")
    ends = {who: _means(table)[-1] for who, table in tables.items()}
    parts.title(axis, f"{protocol}:\n{_told(ends)}", width=28)
    return axis


def _show_where_they_differ(axis: Axes, shares: np.ndarray) -> None:
    low, high = 100 * np.nanmin(shares), 100 * np.nanmax(shares)
    room = max(ROOM * (high - low), (NARROWEST - (high - low)) / 2)
    axis.set_ylim(max(low - room, 0 if low > 0 else -room), high + ROOM * max(high - low, NARROWEST))


def _told(ends: Mapping[str, float]) -> str:
    """One finding: all alike, or the lowest beside the best of the others.

    ends: who -> share, in the order of an evaluation.
    """
    low, best = min(ends, key=ends.get), max(ends.values())
    high = next(who for who in ANSWERERS if ends.get(who, 0) > best - ALIKE)
    if len(ends) == 1:
        return f"{percent(ends[low])} at the end"
    if best - ends[low] < ALIKE:
        return f"all end alike, at {parts.spread(np.array(list(ends.values())))}"
    end = "end" if low == "experts" else "ends"
    return f"{ANSWERERS[low]} {end} at {percent(ends[low])},\n{ANSWERERS[high]} at {percent(ends[high])}"


def _finding(grouped: Mapping[str, Mapping[str, np.ndarray]]) -> str:
    """What is reached for one image alone, or else under the last protocol, by everyone who answers."""
    protocol = "sample" if "sample" in grouped else list(grouped)[-1]
    tables = grouped[protocol]
    each = ", ".join(
        f"{percent(_means(tables[who])[-1])} by {words}" for who, words in ANSWERERS.items() if who in tables
    )
    return f"Final average accuracy {phrase(protocol)}: {each}"


def _means(table: np.ndarray) -> np.ndarray:
    """Mean over the tasks learned so far, after each, (T,)."""
    return np.nanmean(table, axis=1)


def _course(shares: np.ndarray) -> str:
    first, last = percent(shares[0]), percent(shares[-1])
    return f"stays at {last}" if first == last else f"goes from {first} to {last}"
