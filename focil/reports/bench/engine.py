"""What the engine costs beside the trainings: empty ones, on this machine."""

import time

from focil.engine.compute import Training, compute
from focil.engine.worker import Progress
from focil.runs.params import available_cores


def trainings(counts: tuple[int, ...] = (1, 1000)) -> None:
    """Print the time of so many empty trainings, start and end of the workers included."""
    for count in counts:
        given = [Training(f"number {k}", 1, _empty, ()) for k in range(count)]
        start = time.perf_counter()
        compute(given, lambda training, result: None, workers=available_cores())
        seconds = time.perf_counter() - start
        print(f"  {count:5}  {seconds:6.2f} s in all, {1000 * seconds / count:8.2f} ms each")


def _empty(progress: Progress) -> None:
    pass
