"""One pass of a method over the stream, for the study of online methods: what it took, and how it survives a
kill between two tasks."""

import time

import torch

from focil.base.files import atomic_path
from focil.data.datasets import Dataset
from focil.data.stream import Stream, Task
from focil.engine.worker import Progress
from focil.evaluation.evaluation import Evaluation
from focil.method import Focil
from focil.online.method import OneHead
from focil.runs.checkpoint import build_method, evaluation_of, read_file
from focil.runs.numbers import with_total
from focil.runs.params import Benchmark
from focil.runs.sources import open_stream
from focil.studies.study import Job, Study

SAVE_EVERY = 60  # seconds between checkpoints, which are written after a task


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

    def learn(self, task: Task) -> None:
        """Learn a task, and note the processor's time."""
        start = time.process_time()  # on one core; others that compute beside it do not count
        self.method.learn(task)
        self.seconds += time.process_time() - start

    def judge(self, task: int) -> None:
        """Evaluate after a task."""
        self.evaluation.after(self.method, task)

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


class Checkpoint:
    """What a training leaves behind after a task, and goes on from."""

    def __init__(self, study: Study, job: Job, passed: Pass):
        self.study, self.path, self.passed = study, study.checkpoint(job), passed
        self._saved = time.perf_counter()

    def save(self, task: int) -> None:
        """Write the state after a task, if the last time was long ago."""
        if time.perf_counter() < self._saved + SAVE_EVERY:
            return
        self._saved = time.perf_counter()
        method, evaluation = self.passed.method, self.passed.evaluation
        content = self.study.identity | {
            "done": task + 1,
            "method": method.state(),
            "evaluation": evaluation.state() | evaluation.proof(method),
            "seconds": self.passed.seconds,
        }
        with atomic_path(self.path) as part:
            torch.save(content, part)

    def resume(self, progress: Progress) -> int:
        """Go on from the file, if there is one; returns the number of tasks that are learned.

        Raises StudyError for a file of another study, RunError for a damaged one.
        """
        if not self.path.exists():
            return 0
        state = read_file(self.path)
        self.study.must_be_mine(self.path, state.get("benchmark"), state.get("data"))
        self.passed.method.load(state["method"])
        self.passed.evaluation.load(state["evaluation"], state["done"])
        self.passed.evaluation.take_up(state["evaluation"])
        self.passed.seconds = state["seconds"]
        progress.advance(sum(task.size for task in list(self.passed.stream)[: state["done"]]))
        return state["done"]
