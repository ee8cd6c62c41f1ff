"""Class-incremental learning with sparse experts, reproducible and honest about its protocols.

The files beside this one are the method, FOCIL; `memo` is the second paper; the other folders are what
surrounds them. `method` is where to begin. The names below are imported when they are first used, so that the
command line answers at once.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from focil.base.errors import FocilError
    from focil.data.datasets import Dataset, load
    from focil.data.errors import DataError
    from focil.data.images import Augmentation
    from focil.data.stream import Stream, StreamError, Task, class_order
    from focil.method import Focil, FocilOptions
    from focil.router.routed import RoutedFocil, RoutedOptions
    from focil.runs.checkpoint import RunError
    from focil.runs.params import Benchmark, read_params
    from focil.runs.params_files import BenchmarkError
    from focil.runs.run import Run, run

__all__ = [
    "Augmentation",
    "Benchmark",
    "BenchmarkError",
    "DataError",
    "Dataset",
    "Focil",
    "FocilError",
    "FocilOptions",
    "RoutedFocil",
    "RoutedOptions",
    "Run",
    "RunError",
    "Stream",
    "StreamError",
    "Task",
    "class_order",
    "load",
    "read_params",
    "run",
]
_HOMES = {
    "base.errors": ("FocilError",),
    "data.datasets": ("Dataset", "load"),
    "data.errors": ("DataError",),
    "data.images": ("Augmentation",),
    "data.stream": ("Stream", "StreamError", "Task", "class_order"),
    "method": ("Focil", "FocilOptions"),
    "router.routed": ("RoutedFocil", "RoutedOptions"),
    "runs.params": ("Benchmark", "read_params"),
    "runs.params_files": ("BenchmarkError",),
    "runs.checkpoint": ("RunError",),
    "runs.run": ("Run", "run"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'focil' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"focil.{_HOME[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
