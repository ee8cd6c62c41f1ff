"""Accuracy and memory stage by stage: what a study of several methods asks of each."""

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from focil import metrics, protocols
from focil.benchmark import Benchmark
from focil.methods.focil import Focil
from focil.stream import Stream, Task

CHUNK = 1000  # test images prepared at a time


class Learner(Protocol):
    """What is asked of a method. sizes: classes of each task. done: tasks learned."""

    sizes: list[int]
    done: int

    def scores(self, images: Tensor) -> Tensor: ...
    def memory(self) -> dict[str, int]: ...
    def published_memory(self) -> dict[str, int]: ...


class Stages:
    """Accuracy and memory after every task: all classes seen compete (`sample`), or the task is given (`oracle`)."""

    def __init__(self, stream: Stream):
        self.stream = stream
        self.rows: dict[str, list[list[float]]] = {"sample": [], "oracle": []}
        self.accuracy: list[float] = []  # over all classes seen, every test image the same weight
        self.memory: list[dict] = []
        self.confusion: list[list[int]] = []

    def after(self, method: Learner) -> None:
        """Score the test images of the tasks learned so far."""
        tasks, position = self.stream.test_task(), self.stream.test_position()
        seen = np.flatnonzero(tasks < method.done)
        images = self.stream.test[torch.as_tensor(seen, device=self.stream.device)]
        scores = np.concatenate([method.scores(self.stream.prepare(part)).cpu().numpy() for part in images.split(CHUNK)])
        task, true = tasks[seen], position[seen]
        owner = np.repeat(np.arange(method.done), method.sizes[: method.done])
        answers = {"sample": scores.argmax(1), "oracle": np.where(owner == task[:, None], scores, -np.inf).argmax(1)}
        for protocol, answered in answers.items():
            self.rows[protocol].append([float((answered == true)[task == t].mean()) for t in range(method.done)])
        self.accuracy.append(float((answers["sample"] == true).mean()))
        self.memory.append({"counted": method.memory(), "published": method.published_memory()})
        count = scores.shape[1]
        self.confusion = np.bincount(true * count + answers["sample"], minlength=count * count).reshape(count, count).tolist()

    def state(self) -> dict:
        """For a checkpoint."""
        return {"rows": self.rows, "accuracy": self.accuracy, "memory": self.memory, "confusion": self.confusion}

    def load(self, state: dict) -> None:
        """Continue from a `state`."""
        self.rows, self.accuracy = state["rows"], state["accuracy"]
        self.memory, self.confusion = state["memory"], state["confusion"]

    def report(self) -> dict:
        """Everything as plain values. last, average: accuracy over all classes seen, after the last task and on average over tasks.

        stored: images kept at the end, by the published account.
        """
        sizes = np.bincount(self.stream.test_task()).tolist()
        found = {protocol: metrics.summarise(rows, sizes) for protocol, rows in self.rows.items()}
        return found | {
            "stages": self.accuracy,
            "last": self.accuracy[-1],
            "average": float(np.mean(self.accuracy)),
            "memory": self.memory,
            "confusion": self.confusion,
            "new": len(self.stream.order[-1]),
            "stored": self.memory[-1]["published"]["exemplars"] // self.stream.data.x_train[0].nbytes,
        }


class OnePass:
    """FOCIL as a `Learner`: its answer to one image alone, and inside a given task, as scores over all classes seen."""

    def __init__(self, benchmark: Benchmark, stream: Stream):
        self.sizes, self.done = [len(classes) for classes in stream.order], 0
        shape = stream.data.image_shape
        self.method = Focil(benchmark.backbone, shape, len(self.sizes), self.sizes[0], stream.seed, benchmark.focil, benchmark.device)

    def learn(self, task: Task) -> None:
        """One pass."""
        self.method.learn(task)
        self.done += 1

    def scores(self, images: Tensor) -> Tensor:
        """(N, classes seen): inside a task the log-probabilities; the task that answers is above all others."""
        found = self.method.evidence(images)
        evidence = found.get("both", found["experts"])
        scores = evidence.within.copy()
        scores[np.arange(len(images)), protocols.sample(evidence)[0]] += 1e6
        return torch.from_numpy(scores).flatten(1)

    def memory(self) -> dict[str, int]:
        """As `Focil.memory`."""
        return self.method.memory()

    def published_memory(self) -> dict[str, int]:
        """The backbone's parameters; nothing is stored."""
        return {"networks": self.method.memory()["backbone"], "exemplars": 0}
