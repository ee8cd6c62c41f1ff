"""Accuracy and memory stage by stage: what a study of several methods asks of each."""

from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from focil.confidence import Evidence
from focil.data.stream import Stream
from focil.evaluation import metrics, protocols

CHUNK = 1000  # test images prepared at a time


@runtime_checkable
class Learner(Protocol):
    """What is asked of a method. done: tasks learned."""

    done: int

    def evidence(self, images: Tensor) -> dict[str, Evidence]: ...
    def memory(self) -> dict[str, int]: ...
    def published_memory(self) -> dict[str, int]: ...


class Stages:
    """Accuracy and memory after every task.

    All classes seen compete (`sample`), or the task is given (`oracle`).
    """

    def __init__(self, stream: Stream):
        self.stream = stream
        self.rows: dict[str, list[list[float]]] = {"sample": [], "oracle": []}
        self.accuracy: list[float] = []  # over all classes seen, every test image the same weight
        self.memory: list[dict] = []
        self.confusion: list[list[int]] = []
        self.alone: dict[str, float] = {}  # of the last stage: who answers -> accuracy, where several do

    def after(self, method: Learner) -> None:
        """Score the test images of the tasks learned so far."""
        tasks, position = self.stream.test_task(), self.stream.test_position()
        seen = np.flatnonzero(tasks < method.done)
        everyone = self._evidence(method, seen)
        evidence = protocols.all_together(everyone)
        task, true = tasks[seen], position[seen]
        firsts = np.cumsum([0, *map(len, self.stream.order)])  # position of each task's first class

        def position_of(answer: protocols.Answers) -> np.ndarray:
            return firsts[answer[0]] + answer[1]

        answers = {}
        for protocol, answer in {
            "sample": protocols.sample(evidence),
            "oracle": protocols.oracle(evidence, task),
        }.items():
            answers[protocol] = position_of(answer)
            correct = answers[protocol] == true
            self.rows[protocol].append([float(correct[task == t].mean()) for t in range(method.done)])
        self.accuracy.append(float((answers["sample"] == true).mean()))
        self.alone = {
            who: float((position_of(protocols.sample(said)) == true).mean())
            for who, said in everyone.items()
            if len(everyone) > 1 and said is not evidence
        }
        self.memory.append({"counted": method.memory(), "published": method.published_memory()})
        count = int(firsts[method.done])
        pairs = np.bincount(true * count + answers["sample"], minlength=count * count)
        self.confusion = pairs.reshape(count, count).tolist()

    def state(self) -> dict:
        """For a checkpoint."""
        return {
            "rows": self.rows,
            "accuracy": self.accuracy,
            "memory": self.memory,
            "confusion": self.confusion,
        }

    def load(self, state: dict) -> None:
        """Continue from a `state`."""
        self.rows, self.accuracy = state["rows"], state["accuracy"]
        self.memory, self.confusion = state["memory"], state["confusion"]

    def report(self) -> dict:
        """Everything as plain values.

        last, average: accuracy over all classes seen, after the last task and on average over tasks. stored:
        images kept at the end, by the published account. alone: last accuracy of each who answers, where
        several do.
        """
        sizes = np.bincount(self.stream.test_task()).tolist()
        found = {protocol: metrics.summarise(rows, sizes) for protocol, rows in self.rows.items()}
        return found | {
            "stages": self.accuracy,
            "last": self.accuracy[-1],
            "average": float(np.mean(self.accuracy)),
            "memory": self.memory,
            "confusion": self.confusion,
            "alone": self.alone,
            "new": len(self.stream.order[-1]),
            "stored": self.memory[-1]["published"]["exemplars"] // self.stream.data.x_train[0].nbytes,
        }

    def _evidence(self, method: Learner, rows: np.ndarray) -> dict[str, Evidence]:
        """What everyone says of test images, given by their positions."""
        images = self.stream.test[torch.as_tensor(rows, device=self.stream.device)]
        parts = [method.evidence(self.stream.prepare(part)) for part in images.split(CHUNK)]
        return {
            who: Evidence(*map(np.concatenate, zip(*(part[who] for part in parts), strict=True)))
            for who in parts[0]
        }
