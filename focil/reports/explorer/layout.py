"""How the explorer's controls and pages lie: side by side where there is room, else one below the other."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import ipywidgets as widgets

from focil.base.errors import FocilError
from focil.reports.explorer import pieces

FULL = {"style": {"description_width": "8em"}, "layout": {"width": "100%", "margin": "1px 0"}}
CONTROLS = {"flex": "1 1 19em", "max_width": "23em", "min_width": "0", "margin": "0 1.2em 0 0"}
PAGES = {"flex": "1 1 32em", "min_width": "0"}
HELP = {
    "sparsity": "The share of connections that a mask leaves out. ERK density is the share of a layer that "
    "the mask keeps: small layers keep more.",
    "allocation": "Who may take what: with planned, each task has an equal part of the connections that are "
    "still free; with independent (as published), masks are drawn as if all were free.",
}


def beside(controls: Sequence[widgets.Widget], pages: Sequence[widgets.Widget]) -> widgets.Box:
    """Controls at the left, the pages that follow them at the right; below one another where it is narrow."""
    return widgets.Box(
        [widgets.VBox(controls, layout=CONTROLS), widgets.VBox(pages, layout=PAGES)],
        layout={"display": "flex", "flex_flow": "row wrap", "align_items": "flex-start"},
    )


def page(content: str = "") -> widgets.HTML:
    """A place for HTML."""
    made = widgets.HTML(content, layout={"width": "100%", "min_width": "0", "margin": "0"})
    made.add_class("focil-page")
    return made


def explained(words: str) -> widgets.HTML:
    """A word of help, in small letters below the control that it is about."""
    made = widgets.HTML(words, layout={"width": "100%", "margin": "0 0 4px"})
    made.add_class("focil-help")
    return made


def with_help(controls: Mapping[str, widgets.Widget]) -> list[widgets.Widget]:
    """Controls by name, each with its word of help below it, where there is one."""
    listed = []
    for name, control in controls.items():
        listed += [control, explained(HELP[name])] if name in HELP else [control]
    return listed


def row(*controls: widgets.Widget) -> widgets.HBox:
    """Controls in a line that wraps."""
    return widgets.HBox(controls, layout={"flex_flow": "row wrap"})


def button(name: str) -> widgets.Button:
    """A button as wide as its name."""
    return widgets.Button(description=name, layout={"width": "auto"})


def call(callback: Callable[[object], None], controls: Iterable[widgets.Widget]) -> None:
    """Call back when one of the controls has another value."""
    for control in controls:
        control.observe(callback, names="value")


def words_of(made: Callable[[], str]) -> str:
    """A page, or why there is none."""
    try:
        return made()
    except FocilError as problem:
        return pieces.error(str(problem))
