"""The look of every picture, and its two ways out: a notebook cell or a PNG file."""

import io
from pathlib import Path
from typing import NamedTuple

import matplotlib
import seaborn
from IPython.display import Image, display
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image as Pixels
from PIL.PngImagePlugin import PngInfo

from focil.base.files import atomic_path

DPI = 144
WIDTH = 8.0  # inches
INK = "#222222"
MUTED = "#767676"  # the lightest grey that is still 4.5:1 on white
COLORS = seaborn.color_palette("colorblind").as_hex()
SHADES = "cividis"  # lightness grows with the value, so it reads without colour too
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")
LINES = ("-", "--", "-.", ":", (0, (6, 1.5, 1, 1.5, 1, 1.5)), (0, (8, 3)))
LOOK = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.prop_cycle": matplotlib.cycler(color=COLORS),
    "figure.titlesize": 11,
    "figure.titleweight": "bold",
    "hatch.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
}
styled = matplotlib.rc_context(LOOK)  # decorates what builds a picture


class Picture(NamedTuple):
    """A finished figure and its alternative text (plain sentences; the first is the figure's finding)."""

    figure: Figure
    alt: str


def panels(rows: int, columns: int, height: float, **shared: bool) -> tuple[Figure, list[Axes]]:
    """A figure `WIDTH` inches wide, `height` inches high, and its axes row by row. shared: `sharex`, `sharey`
    of Matplotlib.

    The figure belongs to no pyplot state, so a notebook shows it once, where `show` is called, and nothing
    has to be closed.
    """
    figure = Figure(figsize=(WIDTH, height), dpi=DPI, layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False, **shared).flat)


def png(picture: Picture, optimized: bool = False) -> bytes:
    """The picture as PNG bytes; the same input gives the same bytes. The alternative text travels inside, as
    `Description`.

    128 colours are enough for every picture here and make it four times smaller. optimized: a tenth smaller
    still, but slow to write.
    """
    canvas = FigureCanvasAgg(picture.figure)
    with matplotlib.rc_context(LOOK):
        canvas.draw()
    pixels = Pixels.frombuffer("RGBA", canvas.get_width_height(), canvas.buffer_rgba()).convert("RGB")
    info, buffer = PngInfo(), io.BytesIO()
    info.add_text("Description", picture.alt)
    pixels.quantize(128, Pixels.Quantize.MAXCOVERAGE, dither=Pixels.Dither.NONE).save(
        buffer, "PNG", pnginfo=info, dpi=(DPI, DPI), optimize=optimized
    )
    return buffer.getvalue()


def save(picture: Picture, path: Path) -> Path:
    """Write the picture to `path` (PNG, whole or not at all; its folder is created) and return the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as part:
        part.write_bytes(png(picture, optimized=True))
    return path


def show(picture: Picture, keep: Path | None = None) -> None:
    """Display the picture in a notebook, with its alternative text, which `reports.pages` keeps
    (of nbconvert's templates `classic` and `basic` do, `lab` does not).

    keep: a file that the same PNG is saved to; drawing takes long, so both share one.
    """
    drawn = save(picture, keep).read_bytes() if keep else png(picture)
    display(Image(data=drawn, format="png", alt=picture.alt))


def alt_of(path: Path) -> str:
    """The alternative text of a picture that was saved."""
    with Pixels.open(path) as picture:
        return picture.info.get("Description", path.stem)
