"""The tab to play with sparsity: controls of a plan, and the page that follows them."""

import ipywidgets as widgets

from focil.reports.explorer import layout, plans
from focil.reports.explorer.layout import FULL


def planner() -> widgets.Box:
    """Controls of a plan at the left, its page at the right."""
    controls = {
        "network": widgets.Dropdown(options=list(plans.NETWORKS), description="Backbone", **FULL),
        "sparsity": widgets.FloatSlider(
            0.94, min=0.5, max=0.99, step=0.01, description="Sparsity", continuous_update=False, **FULL
        ),
        "tasks": widgets.IntSlider(
            20, min=1, max=100, description="Tasks planned", continuous_update=False, **FULL
        ),
        "allocation": widgets.Dropdown(options=["planned", "independent"], description="Allocation", **FULL),
        "seed": widgets.BoundedIntText(0, min=0, max=2**31 - 1, description="Seed", **FULL),
    }
    page = layout.page()

    def follow(_change: object = None) -> None:
        page.value = plans.planned(**{name: control.value for name, control in controls.items()})

    layout.call(follow, controls.values())
    follow()
    return layout.beside(layout.with_help(controls), [page])
