"""One pass of a method over the stream, for the study of online methods: what it took, and how it survives a
kill between two tasks."""

import time

from focil.data.datasets import Dataset
from focil.data.stream import Stream, Task
from focil.evaluation.evaluation import Evaluation
from focil.method import Focil
from focil.online.method import OneHead
from focil.runs.checkpoint import build_method, evaluation_of
from focil.runs.numbers import with_total
from focil.runs.params import Benchmark
from focil.runs.sources import open_stream


class Pass:
    """One pass of one method over one stream, or over its `first` tasks, with what it took."""

    def __init__(self, benchmark: Benchmark, data: Dataset, seed: int, first: int | None = None):
        self.stream: Stream = open_stream(benchmark, data, seed, first)
        classes = self.stream.order.shape[1]
        self.method: Focil | OneHead = build_method(
            benchmark, seed, data.image_shape, classes, stream=self.stream
        )
        self.evaluation: Evaluation = evaluation_of(benchmark)(self.stream, seed)
        self.seconds = 0.0

    @property
    def done(self) -> int:
        """Number of tasks learned."""
        return len(self.method.report)

    def learn(self, task: Task) -> None:
        """Learn a task, and note the processor's time."""
        start = time.process_time()  # on one core; others that compute beside it do not count
        self.method.learn(task)
        self.seconds += time.process_time() - start

    def judge(self, task: int) -> None:
        """Evaluate after a task."""
        self.evaluation.after(self.method, task)

    def state(self) -> dict:
        """Everything that is needed to go on after a task."""
        return {
            "method": self.method.state(),
            "evaluation": self.evaluation.state() | self.evaluation.proof(self.method),
            "seconds": self.seconds,
        }

    def load(self, state: dict) -> None:
        """Go on from what `state` gave."""
        self.method.load(state["method"])
        self.evaluation.load(state["evaluation"], self.done)
        self.evaluation.take_up(state["evaluation"])
        self.seconds = state["seconds"]

    def numbers(self) -> dict:
        """What a result says: accuracies, bytes, seconds of training, and images computed with for each
        image of the stream."""
        sizes = [task.size for task in self.stream]
        found = {
            "accuracy": self.evaluation.accuracy(),
            "memory_bytes": with_total(self.method.memory()),
            "seconds": self.seconds,
            "passes": sum(n * report["passes"] for n, report in zip(sizes, self.method.report, strict=True))
            / sum(sizes),
        }
        if isinstance(self.method, Focil):
            found["budgets"] = self.evaluation.budgets(self.method)
        return found
