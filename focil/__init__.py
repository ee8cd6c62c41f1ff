"""Class-incremental learning with sparse experts, reproducible and honest about its protocols."""

from focil.benchmark import Benchmark, BenchmarkError, read_params
from focil.datasets import DataError, Dataset, load
from focil.errors import FocilError
from focil.methods.focil import Focil, FocilOptions
from focil.runs import Run, RunError, run
from focil.stream import Stream, StreamError, Task

__all__ = [
    "Benchmark",
    "BenchmarkError",
    "DataError",
    "Dataset",
    "Focil",
    "FocilError",
    "FocilOptions",
    "Run",
    "RunError",
    "Stream",
    "StreamError",
    "Task",
    "load",
    "read_params",
    "run",
]
