"""The audit: what each shortcut of the released code is worth, one at a time on from ours and one at a time off from the release.

Seeds are paired: every training of a seed sees the same tasks, images and test images. A training is one process on one core, and its
file is written when it ends, so an audit that is killed goes on with the trainings that are missing.
"""

import json
import multiprocessing
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from focil import backbones, datasets, metrics
from focil.benchmark import Benchmark
from focil.errors import FocilError
from focil.files import atomic_path
from focil.provenance import provenance
from focil.released import OPTIONS, Released
from focil.released.answers import MEASURES, Answers
from focil.released.learners import normalises
from focil.results import RESULT
from focil.shortcuts import AT_TEST, SHORTCUTS, ordered
from focil.stream import Augmentation, Stream, class_order

Base = Literal["ours", "release"]


class AuditError(FocilError):
    """An audit that cannot go on; the message says what to do."""


@dataclass(frozen=True)
class Arm:
    """One code: ours with some shortcuts, or the release without some."""

    base: Base
    shortcuts: frozenset[str]

    @property
    def name(self) -> str:
        """"ours", "ours + R3", "release", "release - R3"."""
        if self.base == "ours":
            return " + ".join(["ours", *ordered(self.shortcuts)])
        return " - ".join(["release", *ordered(set(SHORTCUTS) - self.shortcuts)])

    @property
    def training(self) -> "Arm":
        """What is trained for this arm: shortcuts at test time need no training of their own."""
        return Arm(self.base, self.shortcuts - AT_TEST if self.base == "ours" else self.shortcuts | AT_TEST)


class Effect(NamedTuple):
    """What a shortcut adds to an accuracy (shares, paired by seed), from ours or in the release. half: of the 95 % interval."""

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


class Audit:
    """An audit in a folder: `trainings` lists what is still to be done, `run` does it, `finish` puts the numbers together.

    out: folder; trainings are kept in seed-K/. Each core of `benchmark.threads` works on a training of its own.
    """

    def __init__(self, out: str | Path, benchmark: Benchmark, seeds: Sequence[int]):
        self.out, self.benchmark, self.seeds = Path(out), benchmark, list(seeds)
        self.idle = idle(benchmark)
        self.shortcuts = [s for s in ordered(benchmark.audit.shortcuts) if s not in self.idle]
        self.arms = arms(self.shortcuts)
        self.data = datasets.load(benchmark.data, split=benchmark.split)
        if benchmark.development:
            self.data = self.data.development()
        class_order(self.data, benchmark.tasks, 0)  # refuses tasks that do not divide the classes before anything starts
        self.identity = {"benchmark": benchmark.model_dump(mode="json", exclude={"threads"}), "data": self.data.checksum}
        self.out.mkdir(parents=True, exist_ok=True)

    def trainings(self) -> list[tuple[int, Arm]]:
        """(seed, arm) of every training whose file is missing. Raises AuditError for a file of another audit."""
        distinct = dict.fromkeys(arm.training for arm in self.arms)
        return [(seed, arm) for seed in self.seeds for arm in distinct if self._read(seed, arm) is None]

    def run(self) -> None:
        """Do what is missing, with a bar that shows the remaining time."""
        missing = self.trainings()
        workers = min(self.benchmark.threads, len(missing)) if self.benchmark.device == "cpu" else 1
        if not missing:
            return
        with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
            try:
                jobs = [pool.submit(train, self.benchmark, seed, arm, self._arms_of(arm), self._file(seed, arm), self.identity) for seed, arm in missing]
                for job in tqdm(as_completed(jobs), total=len(jobs), unit="training", desc=self.benchmark.name, leave=False):
                    job.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def finish(self) -> dict:
        """All numbers, written to result.json. Raises AuditError while trainings are missing."""
        if missing := self.trainings():
            raise AuditError(f"{len(missing)} trainings are missing in {self.out}; call run() first")
        found = {arm.name: [self._read(seed, arm.training)["arms"][arm.name] for seed in self.seeds] for arm in self.arms}
        result = {
            "benchmark": self.benchmark.model_dump(mode="json"),
            "seeds": self.seeds,
            "idle": self.idle,
            "arms": found,
            "effects": [effect._asdict() for effect in effects(found, self.shortcuts)],
            "provenance": provenance(self.benchmark, self.data),
        }
        result["leading"] = leading(result["effects"])
        with atomic_path(self.out / RESULT) as part:
            part.write_text(json.dumps(result, allow_nan=False) + "\n", encoding="utf-8")
        return result

    def _arms_of(self, training: Arm) -> list[Arm]:
        return [arm for arm in self.arms if arm.training == training]

    def _file(self, seed: int, arm: Arm) -> Path:
        return self.out / f"seed-{seed}" / f"{arm.training.name.replace(' ', '')}.json"

    def _read(self, seed: int, arm: Arm) -> dict | None:
        path = self._file(seed, arm)
        if not path.exists():
            return None
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            same = content["identity"] == self.identity
        except (ValueError, KeyError, TypeError):
            raise AuditError(f"{path} cannot be read: it is damaged or not a training of an audit. Delete it, or start over with --fresh.") from None
        if not same:
            raise AuditError(f"{path} belongs to another audit (other settings or other data). Choose another folder or name, or start over with --fresh.")
        return content


def train(benchmark: Benchmark, seed: int, training: Arm, wanted: Sequence[Arm], path: Path, identity: dict) -> None:
    """Train one arm over the tasks, answer for all arms that share the training, and write `path`."""
    torch.set_num_threads(1)
    start = time.perf_counter()
    data = datasets.load(benchmark.data, split=benchmark.split)
    data = data.development() if benchmark.development else data
    stream = Stream(
        data,
        class_order(data, benchmark.tasks, seed, benchmark.class_order),
        seed,
        batch_size=benchmark.batch_size,
        augmentation=Augmentation(benchmark.crop, benchmark.flip),
        hold=benchmark.held_batches,
        device=benchmark.device,
    )
    options = benchmark.focil if training.base == "ours" else OPTIONS
    method = Released(
        benchmark.backbone, data.image_shape, benchmark.tasks, stream.order.shape[1], seed, options, training.shortcuts - AT_TEST, benchmark.device
    )
    answers = {arm.name: Answers(stream, seed, arm.shortcuts & AT_TEST, benchmark.focil) for arm in wanted}
    for task in list(stream)[: benchmark.audit.first_tasks]:
        method.learn(task)
        for given in answers.values():
            given.after(method, task.index)
    about = {
        "passes": float(np.mean(method.passes)),
        "chosen": method.report,
        "trainable_share": [row["trainable_share"] for row in method.capacity()],
        "seconds": time.perf_counter() - start,
    }
    content = {"identity": identity, "arms": {name: given.report() | about for name, given in answers.items()}}
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as part:
        part.write_text(json.dumps(content, allow_nan=False) + "\n", encoding="utf-8")


def effects(found: dict[str, list[dict]], shortcuts: Sequence[str]) -> Iterator[Effect]:
    """What each shortcut adds, from ours and in the release, for each measure. found: {arm: one report a seed}."""
    for measure in MEASURES:
        final = {name: np.array([report[measure]["final_average"] for report in reports]) for name, reports in found.items()}
        for shortcut in shortcuts:
            yield Effect(shortcut, "ours", measure, *metrics.mean_interval(final[f"ours + {shortcut}"] - final["ours"]))
            yield Effect(shortcut, "release", measure, *metrics.mean_interval(final["release"] - final[f"release - {shortcut}"]))


def leading(effects: Sequence[dict], count: int = 3) -> list[str]:
    """The shortcuts that matter most in both codes: by the smaller of their two effects on the accuracy as each code answers, either sign.

    The larger one can be an accident of what else is on: without overlapping masks (R12) a start at zero (R4) leaves nothing to learn from.
    """
    sizes: dict[str, list[float]] = {}
    for effect in effects:
        if effect["measure"] == "answered":
            sizes.setdefault(effect["shortcut"], []).append(abs(effect["mean"]))
    return sorted(sizes, key=lambda shortcut: min(sizes[shortcut]), reverse=True)[:count]


def table(result: dict) -> list[str]:
    """One line an arm: final averages in %, as it answers and by `oracle`, with 95 % intervals over seeds."""
    lines = []
    for name, reports in result["arms"].items():
        found = [metrics.mean_interval([report[measure]["final_average"] for report in reports]) for measure in MEASURES]
        told = [f"{100 * mean:5.1f}" + ("" if half is None else f" +- {100 * half:4.1f}") for mean, half in found]
        lines.append(f"  {name:14} {told[0]} % ({reports[0]['protocol']}), oracle {told[1]} %, n = {len(reports)}")
    return lines
