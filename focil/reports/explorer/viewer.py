"""The tab to look into finished runs: a result, a second one to compare it with, single test images."""

from functools import partial
from pathlib import Path

import ipywidgets as widgets

from focil.reports.explorer import images, layout, pieces, results
from focil.reports.explorer.layout import FULL
from focil.reports.explorer.saved import SavedRun, find

NONE = "(choose one)"
YOURS, REFERENCE = "--- yours ---", "--- reference ---"
HEADINGS = (NONE, YOURS, REFERENCE)  # what a list says that is no result


def grouped(folders: list[str]) -> tuple[str, ...]:
    """The entries of a list of results: the user's own, then the published ones, each under a heading."""
    published = [folder for folder in folders if folder.startswith("reference/")]
    own = [folder for folder in folders if folder not in published]
    groups = ((YOURS, own), (REFERENCE, published))
    return (NONE, *(entry for heading, group in groups if group for entry in (heading, *group)))


def viewer(outputs: Path) -> widgets.Box:
    """A choice among the results in `outputs`, and one to compare it with; their pages.

    And, where its experts are kept, single test images.
    """
    entries = grouped(find(outputs))
    choice = widgets.Dropdown(options=entries, description="Result", **FULL)
    second = widgets.Dropdown(options=entries, description="Compare with", **FULL)
    index = widgets.BoundedIntText(0, min=0, max=0, description="Test image", disabled=True, **FULL)
    mistake = layout.button("Next mistake")
    mistake.disabled = True
    again = layout.button("Look for new results")
    both, page, image = (layout.page() for _ in range(3))
    shown: list[SavedRun] = []  # the run whose images can be asked about, if there is one

    def choose(_change: object = None) -> None:
        shown.clear()
        page.value = image.value = ""
        if choice.value not in HEADINGS:
            path = outputs / choice.value
            page.value = layout.words_of(partial(results.folder, path))
            if path.name.startswith("seed-"):
                image.value = layout.words_of(lambda: shown.append(SavedRun(path)) or "")
        index.disabled = mistake.disabled = not shown
        index.max = len(shown[0]) - 1 if shown else 0
        ask()

    def compare(_change: object = None) -> None:
        both.value = ""
        if not {choice.value, second.value} & set(HEADINGS):
            paths = (outputs / chosen.value for chosen in (choice, second))
            both.value = layout.words_of(partial(results.compared, *paths))

    def ask(_change: object = None) -> None:
        if shown:
            image.value = layout.words_of(partial(images.asked, shown[0], index.value))

    def skip(_button: object) -> None:
        found = shown[0].next_mistake(index.value)
        if found is None:
            image.value = pieces.error(f"No mistake after test image {index.value}; start again at 0.")
        else:
            index.value = found

    def refresh(_button: object) -> None:
        fresh = grouped(find(outputs))
        for chosen in (choice, second):
            kept = chosen.value
            chosen.options = fresh
            chosen.value = kept if kept in fresh else NONE

    layout.call(choose, [choice])
    layout.call(compare, [choice, second])
    layout.call(ask, [index])
    mistake.on_click(skip)
    again.on_click(refresh)
    return layout.beside([choice, second, again, index, mistake], [both, page, image])
