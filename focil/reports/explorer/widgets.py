"""The explorer: three tabs of widgets. What they show is made by modules that know no widget."""

import gc
import os
from pathlib import Path

import ipywidgets as widgets

from focil.reports.explorer import pieces
from focil.reports.explorer.learner import learner
from focil.reports.explorer.planner import planner
from focil.reports.explorer.serve import OUTPUTS
from focil.reports.explorer.viewer import viewer


def explorer(outputs: str | Path = "outputs") -> widgets.VBox:
    """All tabs; every control has a name and works from the keyboard. outputs: folder of all results."""
    gc.freeze()  # else, every few redraws, a collection looks through all of torch for a quarter of a second
    tabs = widgets.Tab(
        [planner(), learner(), viewer(Path(os.environ.get(OUTPUTS, outputs)))],
        titles=["Play with sparsity", "Watch it learn", "Look into a run"],
    )
    whole = widgets.VBox([widgets.HTML(pieces.STYLE, layout={"display": "none"}), tabs])
    whole.add_class("focil-explorer")
    return whole
