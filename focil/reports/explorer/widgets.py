"""The explorer's widgets: a tab to play with sparsity, and a tab to look into finished runs.

What they show is made by `views`.
"""

import gc
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import ipywidgets as widgets

from focil.base.errors import FocilError
from focil.reports.explorer import views
from focil.reports.explorer.saved import SavedRun, find
from focil.reports.explorer.serve import OUTPUTS

WIDE = {"style": {"description_width": "9em"}, "layout": {"width": "32em", "max_width": "100%"}}
NONE = "(choose one)"


def explorer(outputs: str | Path = "outputs") -> widgets.VBox:
    """Both tabs; every control has a name and works from the keyboard. outputs: folder of all results."""
    gc.freeze()  # else, every few redraws, a collection looks through all of torch for a quarter of a second
    tabs = widgets.Tab(
        [planner(), viewer(Path(os.environ.get(OUTPUTS, outputs)))],
        titles=["Play with sparsity", "Look into a run"],
    )
    return widgets.VBox([widgets.HTML(views.STYLE), tabs])


def planner() -> widgets.VBox:
    """Controls of a plan, and the page that follows them."""
    controls = {
        "network": widgets.Dropdown(options=list(views.NETWORKS), description="Backbone", **WIDE),
        "sparsity": widgets.FloatSlider(
            0.94, min=0.5, max=0.99, step=0.01, description="Sparsity", continuous_update=False, **WIDE
        ),
        "tasks": widgets.IntSlider(
            20, min=1, max=100, description="Tasks planned", continuous_update=False, **WIDE
        ),
        "allocation": widgets.Dropdown(options=["planned", "independent"], description="Allocation", **WIDE),
        "seed": widgets.BoundedIntText(0, min=0, max=2**31 - 1, description="Seed", **WIDE),
    }
    page = _page()

    def follow(_change: object = None) -> None:
        page.value = views.planned(**{name: control.value for name, control in controls.items()})

    _call(follow, controls.values())
    follow()
    return widgets.VBox([*controls.values(), page])


def viewer(outputs: Path) -> widgets.VBox:
    """A choice among the results in `outputs`; its page.

    And, where its experts are kept, single test images.
    """
    choice = widgets.Dropdown(options=[NONE, *find(outputs)], description="Result", **WIDE)
    index = widgets.BoundedIntText(0, min=0, max=0, description="Test image", disabled=True, **WIDE)
    mistake = widgets.Button(description="Next mistake", disabled=True, layout={"width": "auto"})
    again = widgets.Button(description="Look for new results", layout={"width": "auto"})
    page, image = _page(), _page()
    shown: list[SavedRun] = []  # the run whose images can be asked about, if there is one

    def choose(_change: object = None) -> None:
        shown.clear()
        page.value = image.value = ""
        if choice.value != NONE:
            path = outputs / choice.value
            page.value = _words(partial(views.folder, path))
            if path.name.startswith("seed-"):
                image.value = _words(lambda: shown.append(SavedRun(path)) or "")
        index.disabled = mistake.disabled = not shown
        index.max = len(shown[0]) - 1 if shown else 0
        ask()

    def ask(_change: object = None) -> None:
        if shown:
            image.value = _words(partial(views.asked, shown[0], index.value))

    def skip(_button: object) -> None:
        found = shown[0].next_mistake(index.value)
        if found is None:
            image.value = views.error(f"No mistake after test image {index.value}; start again at 0.")
        else:
            index.value = found

    def refresh(_button: object) -> None:
        kept = choice.value
        choice.options = [NONE, *find(outputs)]
        choice.value = kept if kept in choice.options else NONE

    _call(choose, [choice])
    _call(ask, [index])
    mistake.on_click(skip)
    again.on_click(refresh)
    return widgets.VBox([_row(choice, again), page, _row(index, mistake), image])


def _page() -> widgets.HTML:
    page = widgets.HTML(layout={"width": "100%", "min_width": "0"})
    page.add_class("focil-page")
    return page


def _row(*controls: widgets.Widget) -> widgets.HBox:
    return widgets.HBox(controls, layout={"flex_flow": "row wrap"})


def _call(callback: Callable[[object], None], controls: object) -> None:
    for control in controls:
        control.observe(callback, names="value")


def _words(page: Callable[[], str]) -> str:
    """A page, or why there is none."""
    try:
        return page()
    except FocilError as problem:
        return views.error(str(problem))
