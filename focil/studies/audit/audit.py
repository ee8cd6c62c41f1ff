"""The audit: what each shortcut of the released code is worth, one at a time on from ours and one at a time
off from the release.

Seeds are paired: every training of a seed sees the same tasks, images and test images.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from focil import backbones
from focil.engine.worker import Progress
from focil.evaluation import metrics
from focil.runs.params import Benchmark
from focil.runs.sections import SHORTCUTS
from focil.runs.sources import open_stream, order_of
from focil.studies.audit.answers import MEASURES, Answers
from focil.studies.audit.learners import normalises
from focil.studies.audit.method import OPTIONS, Released
from focil.studies.audit.shortcuts import AT_TEST, ordered
from focil.studies.study import Job, Study, StudyError

Base = Literal["ours", "release"]
CHOSEN = ("sparsity", "lr", "prequential")  # what a result says of each task's search


@dataclass(frozen=True)
class Arm:
    """One code: ours with some shortcuts, or the release without some."""

    base: Base
    shortcuts: frozenset[str]

    @property
    def name(self) -> str:
        """ "ours", "ours + R3", "release", "release - R3"."""
        if self.base == "ours":
            return " + ".join(["ours", *ordered(self.shortcuts)])
        return " - ".join(["release", *ordered(set(SHORTCUTS) - self.shortcuts)])

    @property
    def training(self) -> "Arm":
        """What is trained for this arm: shortcuts at test time need no training of their own."""
        return Arm(self.base, self.shortcuts - AT_TEST if self.base == "ours" else self.shortcuts | AT_TEST)


class Effect(NamedTuple):
    """What a shortcut adds to an accuracy of ours, or what the release loses without it (shares, paired by
    seed).

    half: of the 95 % interval.
    """

    shortcut: str
    base: Base
    measure: str
    mean: float
    half: float | None


def arms(shortcuts: Sequence[str]) -> list[Arm]:
    """Ours, ours with each shortcut, the release, the release without each."""
    every = frozenset(SHORTCUTS)
    ours = [Arm("ours", frozenset(taken)) for taken in ((), *((s,) for s in shortcuts))]
    return ours + [Arm("release", every - set(left)) for left in ((), *((s,) for s in shortcuts))]


def idle(benchmark: Benchmark) -> dict[str, str]:
    """Shortcuts that cannot act in this benchmark, and why."""
    found = {}
    if not normalises(backbones.build(benchmark.backbone, (3, 32, 32), 0)):
        found["R8"] = f"{benchmark.backbone} has no BatchNorm"
    if not benchmark.crop and not benchmark.flip:
        found["R9"] = "no crop or flip in training"
    return found


class Audit(Study):
    """An audit in a folder: see `Study`. Raises StudyError where none of its shortcuts can act."""

    def __init__(self, out: str | Path, benchmark: Benchmark, seeds: Sequence[int]):
        super().__init__(out, benchmark, seeds)
        order_of(
            benchmark, self.data, 0
        )  # refuses tasks that do not divide the classes before anything starts
        self.idle = idle(benchmark)
        self.shortcuts = [s for s in ordered(benchmark.audit.shortcuts) if s not in self.idle]
        if not self.shortcuts:
            reasons = "; ".join(f"{shortcut}: {why}" for shortcut, why in self.idle.items())
            raise StudyError(f"none of the shortcuts can act here ({reasons}); name others")
        self.arms = arms(self.shortcuts)

    def jobs(self) -> list[Job]:
        """One per seed and training; arms that differ only at test time share it."""
        distinct = dict.fromkeys(arm.training for arm in self.arms)
        return [self._job(seed, arm) for seed in self.seeds for arm in distinct]

    def train(self, job: Job, progress: Progress) -> dict:
        """Train one arm over the tasks, and answer for all arms that share the training."""
        training, wanted = job.what
        start, benchmark = time.perf_counter(), self.benchmark
        stream = open_stream(benchmark, self.data, job.seed)
        method = Released(
            benchmark.backbone,
            self.data.image_shape,
            benchmark.tasks,
            stream.order.shape[1],
            job.seed,
            benchmark.focil if training.base == "ours" else OPTIONS,
            training.shortcuts - AT_TEST,
            benchmark.device,
        )
        answers = {
            arm.name: Answers(stream, job.seed, arm.shortcuts & AT_TEST, benchmark.focil) for arm in wanted
        }
        for task in list(stream)[: benchmark.audit.first_tasks]:
            method.learn(task)
            for given in answers.values():
                given.after(method, task.index)
        progress.advance(1)
        about = {
            "passes": float(np.mean(method.passes)),
            "chosen": [{key: chosen[key] for key in CHOSEN} for chosen in method.report],
            "trainable_share": [row["trainable_share"] for row in method.capacity()],
            "seconds": time.perf_counter() - start,
        }
        return {"arms": {name: given.report() | about for name, given in answers.items()}}

    def finish(self) -> dict:
        """All numbers, written to result.json. Raises StudyError while trainings are missing."""
        found: dict[str, list[dict]] = {arm.name: [] for arm in self.arms}
        for arm in self.arms:
            trainings = [self.read(self._job(seed, arm.training)) for seed in self.seeds]
            found[arm.name] = [training["arms"][arm.name] for training in trainings if training]
        if any(len(reports) < len(self.seeds) for reports in found.values()):
            return self.write({})  # says what is missing
        worth = [effect._asdict() for effect in effects(found, self.shortcuts)]
        return self.write({"idle": self.idle, "arms": found, "effects": worth, "leading": leading(worth)})

    def _job(self, seed: int, training: Arm) -> Job:
        sharing = [arm for arm in self.arms if arm.training == training]
        return Job(seed, training.name.replace(" ", ""), 1, (training, sharing))


def effects(found: dict[str, list[dict]], shortcuts: Sequence[str]) -> Iterator[Effect]:
    """What each shortcut adds to ours, and what the release loses without it, for each measure.

    found: {arm: one report a seed}.
    """
    for measure in MEASURES:
        final = {
            name: np.array([report[measure]["final_average"] for report in reports])
            for name, reports in found.items()
        }
        for shortcut in shortcuts:
            yield Effect(
                shortcut, "ours", measure, *metrics.mean_interval(final[f"ours + {shortcut}"] - final["ours"])
            )
            yield Effect(
                shortcut,
                "release",
                measure,
                *metrics.mean_interval(final["release"] - final[f"release - {shortcut}"]),
            )


def leading(effects: Sequence[dict], count: int = 3) -> list[str]:
    """The shortcuts that matter most in both codes: by the smaller of their two effects on the accuracy as
    each code answers, either sign.

    The larger one can be an accident of what else is on: without overlapping masks (R12) a start at zero (R4)
    leaves nothing to learn from.
    """
    sizes: dict[str, list[float]] = {}
    for effect in effects:
        if effect["measure"] == "answered":
            sizes.setdefault(effect["shortcut"], []).append(abs(effect["mean"]))
    return sorted(sizes, key=lambda shortcut: min(sizes[shortcut]), reverse=True)[:count]
