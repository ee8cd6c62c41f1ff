"""The tab that learns while somebody watches: controls, a run in a thread, and the pages that follow it."""

from collections.abc import Callable, Iterator

import ipywidgets as widgets

from focil.base.errors import FocilError
from focil.reports.explorer import layout, learning, moments, pieces
from focil.reports.explorer.layout import FULL
from focil.reports.explorer.worker import Check, Worker
from focil.search import DivergedError

START = {"sparsity": 0.9, "lr": 0.2, "tasks": 5}


class Learner:
    """What is on the tab.

    controls: by the name of a setting. worker: what learns. live, swept: pages. box: all of it, to be shown.
    """

    def __init__(self) -> None:
        self.controls = _controls()
        self.worker = Worker()
        self.live, self.swept = layout.page(pieces.status(moments.BEGIN)), layout.page()
        self.buttons = {name: layout.button(name) for name in ("Learn", "Sweep sparsity", "Stop")}
        learn, sweep, stop = self.buttons.values()
        learn.button_style = "primary"
        learn.on_click(self._learn)
        sweep.on_click(self._sweep)
        stop.on_click(lambda _: self.worker.stop())
        layout.call(self._learn, self.controls.values())
        listed = layout.with_help(self.controls)
        self.box = layout.beside([layout.row(*self.buttons.values()), *listed], [self.live, self.swept])
        # The images, and torch's own first steps, take longer than a task: they are ready before a click.
        # In the worker, because two threads must not share torch's generator of random numbers.
        self.worker.start(lambda _: _warm_up())

    def settings(self) -> learning.Settings:
        """What the controls say now."""
        return learning.Settings(**{name: control.value for name, control in self.controls.items()})

    def _learn(self, _change: object) -> None:
        self._do(self.live, lambda *asked: map(moments.moment, learning.learn(*asked)))

    def _sweep(self, _change: object) -> None:
        self._do(self.swept, lambda *asked: map(moments.curve, _growing(learning.sweep(*asked))))

    def _do(self, page: widgets.HTML, pages: Callable[[learning.Settings, Check], Iterator[str]]) -> None:
        """Show one page after the other, on top, or in one sentence why there is no next one."""
        settings = self.settings()
        _, side = self.box.children
        side.children = sorted(side.children, key=lambda shown: shown is not page)

        def work(check: Check) -> None:
            try:
                for content in pages(settings, check):
                    check()
                    page.value = content
            except DivergedError:
                page.value = pieces.error(moments.DIVERGED.format(settings.lr))
            except FocilError as problem:
                page.value = pieces.error(str(problem))

        self.worker.start(work)


def learner() -> widgets.Widget:
    """The tab, to be shown."""
    return Learner().box


def _controls() -> dict[str, widgets.Widget]:
    return {
        "sparsity": widgets.FloatSlider(
            START["sparsity"],
            min=0.5,
            max=0.99,
            step=0.01,
            description="Sparsity",
            continuous_update=False,
            **FULL,
        ),
        "lr": widgets.FloatLogSlider(
            START["lr"],
            min=-3,
            max=1,
            step=0.1,
            readout_format=".3g",
            description="Learning rate",
            continuous_update=False,
            **FULL,
        ),
        "tasks": widgets.Dropdown(options=learning.TASKS, value=START["tasks"], description="Tasks", **FULL),
        "allocation": widgets.Dropdown(options=["planned", "independent"], description="Allocation", **FULL),
        "seed": widgets.BoundedIntText(0, min=0, max=2**31 - 1, description="Seed", **FULL),
    }


def _growing(points: Iterator[learning.Point]) -> Iterator[list[learning.Point]]:
    """All points so far, each time there is one more."""
    found = []
    for point in points:
        found.append(point)
        yield list(found)


def _warm_up() -> None:
    settings = learning.Settings(**START, allocation="planned", seed=0)
    moments.moment(next(learning.learn(settings)))
