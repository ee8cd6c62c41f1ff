"""What memory buys: accuracy for one image alone against all bytes that are kept, ours and others'."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogLocator

from focil.base import words
from focil.evaluation.published import EXPLAINED, Published
from focil.figures import parts, style
from focil.figures.parts import percent

OTHERS = "others': "  # how their names begin in the legend, where ours come first
CLOSE = 1.5  # points (%); others' accuracies no further apart share a label
Point = Mapping[str, str | float | None]  # "who", "bytes", "accuracy" (share), "half" (share, or None)


@style.styled
def cost(
    points: Sequence[Point], published: Sequence[Published], training_set_bytes: int, image_bytes: int
) -> style.Picture:
    """Final average accuracy for one image alone against all bytes that are kept.

    published: others'; only those with the protocol `sample` are drawn. One that says how many images it
    stores is drawn at as many times `image_bytes`, one that does not at the right edge.
    """
    others = [entry for entry in published if entry.protocol == "sample"]
    figure, (axis,) = style.panels(1, 1, 4.4)
    draw_cost(axis, points, others, training_set_bytes, image_bytes)
    text = [
        f"{who}: " + ", ".join(f"{_percent(point)} with {_megabytes(point['bytes'])}" for point in line)
        for who, line in _by_who(points).items()
    ]
    text += [
        f"{entry.name}: {entry.accuracy:g} % with {_megabytes(entry.stored * image_bytes)} of images"
        for entry in others
        if entry.stored
    ]
    text += [f"{_label(group)} with memory not stated" for group in _unknown(others)]
    kind = (
        "Plot of final average accuracy for one image alone against memory, one line per way of answering, "
        "others' beside it"
    )
    marker = f"The training set has {_megabytes(training_set_bytes)}"
    return style.Picture(figure, f"{parts.title_of(axis)}. {kind}. {marker}. {'; '.join(text)}.")


def draw_cost(
    axis: Axes,
    points: Sequence[Point],
    others: Sequence[Published],
    training_set_bytes: int,
    image_bytes: int,
) -> Axes:
    """Accuracy (y) against memory (x, log).

    Ours a line per `who`, others' hollow circles, or ticks at the right edge (see `cost`).
    """
    for index, (who, line) in enumerate(_by_who(points).items()):
        half = [np.nan if point["half"] is None else 100 * point["half"] for point in line]
        x, y = [point["bytes"] / 1e6 for point in line], [100 * point["accuracy"] for point in line]
        axis.errorbar(x, y, yerr=half, label=who, capsize=2, lw=1.5, zorder=3, **parts.look(index))
    _draw_stored(axis, [entry for entry in others if entry.stored], image_bytes)
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.minorticks_off()
    axis.set_xlabel(f"memory (MB, log scale){'' if all(entry.read for entry in others) else EXPLAINED}")
    axis.set_ylabel("final average accuracy,\none image alone (%)")
    values = [100 * point["accuracy"] for point in points] + [entry.accuracy for entry in others]
    axis.set_ylim(0, 1.25 * max(values))  # room for the marker's words
    axis.set_yticks([tick for tick in axis.get_yticks() if tick <= 100])
    _draw_training_set(axis, training_set_bytes)
    _draw_unknown(axis, _unknown(others))
    named = sorted(
        zip(*axis.get_legend_handles_labels(), strict=True), key=lambda pair: pair[1].startswith(OTHERS)
    )
    axis.legend(
        *zip(*named, strict=True), loc="upper left", bbox_to_anchor=(-0.02, -0.14), ncols=3, handlelength=3.5
    )
    parts.title(axis, _cost_finding(points, others, training_set_bytes))
    return axis


def _draw_stored(axis: Axes, others: Sequence[Published], image_bytes: int) -> None:
    look = {"fmt": "o", "color": style.MUTED, "mfc": "white", "ms": 6, "capsize": 3}
    for entry in others:
        label = None if entry is not others[0] else f"{OTHERS}the images that they store"
        x = entry.stored * image_bytes / 1e6
        axis.errorbar(x, entry.accuracy, yerr=entry.half, label=label, **look)
    place = {"xytext": (7, 0), "textcoords": "offset points", "va": "center", "zorder": 4}
    halo = [withStroke(linewidth=2.5, foreground="white")]  # our lines may pass below
    for stored in {entry.stored for entry in others}:
        for group in _close([entry for entry in others if entry.stored == stored]):
            axis.annotate(
                ", ".join(entry.name for entry in reversed(group)),
                (stored * image_bytes / 1e6, np.mean([entry.accuracy for entry in group])),
                fontsize=8,
                color=style.INK,
                path_effects=halo,
                **place,
            )


def _draw_training_set(axis: Axes, training_set_bytes: int) -> None:
    """The dashed marker, and its words on the side that has more room."""
    x = training_set_bytes / 1e6
    axis.axvline(x, color=style.INK, ls="--", lw=1)
    low, high = axis.get_xlim()
    left = x > np.sqrt(low * high)
    words = f"as many bytes as\nthe training set ({_megabytes(training_set_bytes)})"
    place = {
        "xytext": (-4 if left else 4, -2),
        "textcoords": "offset points",
        "ha": "right" if left else "left",
        "va": "top",
    }
    axis.annotate(words, (x, 1), xycoords=axis.get_xaxis_transform(), fontsize=8, **place)


def _draw_unknown(axis: Axes, groups: Sequence[Sequence[Published]]) -> None:
    """Ticks at the right edge, a label for each group, shifted up where it would touch the one below."""
    ticks = [entry.accuracy for group in groups for entry in group]
    edge = {"transform": axis.get_yaxis_transform(), "color": style.MUTED}
    for i, tick in enumerate(ticks):
        axis.plot([0.97, 1], [tick, tick], lw=2, label=None if i else f"{OTHERS}memory not stated", **edge)
    steps = 0.045 * axis.get_ylim()[1] * np.arange(len(groups))
    heights = (
        np.maximum.accumulate([np.mean([entry.accuracy for entry in group]) for group in groups] - steps)
        + steps
    )
    for group, height in zip(groups, heights, strict=True):
        axis.text(
            1.01, height, _label(group), transform=edge["transform"], va="center", fontsize=7, color=style.INK
        )


def _cost_finding(points: Sequence[Point], others: Sequence[Published], training_set_bytes: int) -> str:
    best = max(points, key=lambda point: point["accuracy"])
    ratio = best["bytes"] / training_set_bytes
    of = f"{percent(ratio)} of" if ratio < 1 else f"{ratio:.3g} times"
    text = (
        f"One image alone: {_percent(best)} by {best['who']} with {_megabytes(best['bytes'])}, {of} the "
        "training set's bytes"
    )
    if not others:
        return text
    rival = max(others, key=lambda entry: entry.accuracy)
    return f"{text}; best of others: {rival.accuracy:g} % ({rival.name_and_memory})"


def _by_who(points: Sequence[Point]) -> dict[str, list[Point]]:
    lines: dict[str, list[Point]] = {}
    for point in sorted(points, key=lambda point: point["bytes"]):
        lines.setdefault(point["who"], []).append(point)
    return {who: lines[who] for who in dict.fromkeys(point["who"] for point in points)}


def _unknown(others: Sequence[Published]) -> list[list[Published]]:
    """Those whose memory is not known, or that store no images, see `_close`."""
    return _close([entry for entry in others if not entry.stored])


def _close(others: Sequence[Published]) -> list[list[Published]]:
    """Others from the lowest up, in groups no wider than `CLOSE`."""
    groups: list[list[Published]] = []
    for entry in sorted(others, key=lambda entry: entry.accuracy):
        if groups and entry.accuracy - groups[-1][0].accuracy <= CLOSE:
            groups[-1].append(entry)
        else:
            groups.append([entry])
    return groups


def _label(group: Sequence[Published]) -> str:
    low, high = (f"{group[i].accuracy:g}" for i in (0, -1))
    return f"{', '.join(entry.name for entry in group)}: {low if low == high else f'{low} to {high}'} %"


def _percent(point: Point) -> str:
    return f"{words.in_percent(point['accuracy'], point['half'], sign='±')} %"


def _megabytes(count: float) -> str:
    value = count / 1e6
    return f"{value:.0f} MB" if value >= 100 else f"{value:.3g} MB"
