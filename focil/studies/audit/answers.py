"""What the release does to test images, each a switch: R1, R8, R9."""

import numpy as np
import torch

from focil import confidence
from focil.base import seeds
from focil.data.stream import Stream
from focil.evaluation import metrics, protocols
from focil.method import FocilOptions
from focil.studies.audit.learners import TEST_BATCH, normalises
from focil.studies.audit.method import Released

MEASURES = ("answered", "oracle")  # by each code's own protocol; with the task given


class Answers:
    """Accuracy after every task under some of the shortcuts at test time: R1, R8, R9.

    Without R1, by `sample`.
    """

    def __init__(self, stream: Stream, seed: int, shortcuts: frozenset[str], options: FocilOptions):
        self.stream, self.shortcuts, self.options = stream, shortcuts, options
        self.task, self.label = stream.test_task(), stream.test_label()
        self.groups = protocols.batch_groups(self.task, TEST_BATCH, seed)
        images = stream.test
        if "R9" in shortcuts:
            images = stream.augmentation(
                images, seeds.torch_generator(seed, "test crops", device=stream.device)
            )
        self.images = stream.prepare(images)
        self.rows: dict[str, list[list[float]]] = {measure: [] for measure in MEASURES}

    def after(self, method: Released, task: int) -> None:
        """Add a row of each measure: the network as it is now."""
        seen = np.flatnonzero(self.task <= task)
        right, sure = zip(*(self._expert(method, expert, seen) for expert in range(task + 1)), strict=True)
        right, true = np.stack(right, axis=1), self.task[seen]  # (N, experts)
        if "R1" in self.shortcuts:
            chosen = self._probed(right, true, self.groups[seen])
        else:
            chosen = np.stack(sure, axis=1).argmax(axis=1)
        for measure, experts in (("answered", chosen), ("oracle", true)):
            correct = right[np.arange(len(seen)), experts]
            self.rows[measure].append([float(correct[true == t].mean()) for t in range(task + 1)])

    def report(self) -> dict:
        """{measure: matrix and what is computed from it}; `answered` by the protocol named here."""
        sizes = [int((self.task == t).sum()) for t in range(len(self.rows["oracle"]))]
        protocol = "probe-labelled" if "R1" in self.shortcuts else "sample-experts"
        return {"protocol": protocol} | {
            measure: metrics.summarise(rows, sizes) for measure, rows in self.rows.items()
        }

    def _expert(self, method: Released, expert: int, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of the seen test images: whether one expert is right (N,), and how sure it is (N,)."""
        batches = "R8" in self.shortcuts and normalises(method.backbone)
        rows = torch.as_tensor(seen, device=self.stream.device)
        groups = (
            [
                torch.as_tensor(np.flatnonzero(self.groups[seen] == g), device=rows.device)
                for g in np.unique(self.groups[seen])
            ]
            if batches
            else None
        )
        logits = method.logits(expert, self.images[rows], groups).cpu().numpy()
        answered = logits.argmax(axis=1)
        if "R7" in method.shortcuts:
            right = answered == self.task[seen] * method.classes + self.label[seen]
        else:
            right = (answered == self.label[seen]) & (self.task[seen] == expert)
        calibration = method.calibrations[expert][batches].numpy()[None] if self.options.calibrated else None
        return right, confidence.sureness(logits[:, None].astype(np.float64), self.options.rule, calibration)[
            :, 0
        ]

    def _probed(self, right: np.ndarray, true: np.ndarray, groups: np.ndarray) -> np.ndarray:
        """R1: for the images of task t the first of the experts 0..t that is best on ten of them, by their
        labels."""
        chosen = np.empty(len(true), dtype=np.int64)
        for t in np.unique(true):
            probe = groups == groups[true == t].min()
            chosen[true == t] = right[probe, : t + 1].mean(axis=0).argmax()
        return chosen
