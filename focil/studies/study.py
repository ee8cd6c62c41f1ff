"""A study: many trainings that one notebook reads together, side by side, each safe from a kill.

A training is a job on one core, in a worker (see `focil.engine`). Its file is written when it ends, so that a
study that is interrupted goes on with what is missing, and its numbers do not depend on how many workers
there were, or where.
"""

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from focil.base.errors import FocilError
from focil.base.files import atomic_path, remove_parts
from focil.base.locks import locked, usable
from focil.engine import worker
from focil.engine.compute import Training, compute
from focil.engine.worker import Progress
from focil.runs.checkpoint import meant_as_checkpoint, read_file, write_file
from focil.runs.params import Benchmark
from focil.runs.provenance import made_on, provenance
from focil.runs.results import RESULT
from focil.runs.sources import load_data

# Memory that a training takes: of its own, and in copies of its data; measured, see docs/cluster.md.
BASE_BYTES, COPIES = 700_000_000, 7
SAVE_EVERY = 60  # seconds between checkpoints
THEN = ", then "  # between the devices of a training that went on elsewhere
ALONE = "Delete it and start again: its training begins anew, the others are kept."
ON_A_CARD = 3  # trainings at once on one GPU: together 2.2 times as fast as one of ConvNet2, and eight slower


class StudyError(FocilError):
    """A study that cannot go on; the message says what to do."""


class Job(NamedTuple):
    """One training. name: of its file. size: what the bar counts, see `Progress`.

    what: what `Study.train` needs.
    """

    seed: int
    name: str
    size: int
    what: Any


class Study(ABC):
    """A study in a folder. A subclass says which trainings there are and does one; `finish` reads all of
    them.

    out: folder; trainings are kept in seed-K/. seeds: of the runs.
    """

    unit = "training"

    def __init__(self, out: str | Path, benchmark: Benchmark, seeds: Sequence[int]):
        self.out, self.benchmark, self.seeds = Path(out), benchmark, list(dict.fromkeys(seeds))
        self.data = load_data(benchmark)
        self.identity = {"benchmark": benchmark.model_dump(mode="json"), "data": self.data.checksum}

    @abstractmethod
    def jobs(self) -> list[Job]:
        """Every training of the study; where some depend on what others found, those that can be named by
        now."""

    @abstractmethod
    def train(self, job: Job, progress: Progress) -> dict:
        """Do one training, in a worker, and return its numbers.

        A checkpoint may be kept as `checkpoint(job)`.
        """

    @abstractmethod
    def finish(self) -> dict:
        """All numbers, written to result.json. Raises StudyError while trainings are missing."""

    def missing(self) -> list[Job]:
        """Trainings without a file. Raises StudyError for a file of another study."""
        return [job for job in self.jobs() if self.read(job) is None]

    def run(self) -> None:
        """Compute what is missing, with a bar that shows the remaining time. Raises EngineError, and what
        trainings raise."""
        with locked(usable(self.out), "run"):
            for folder in (self.out, *self.out.glob("seed-*")):
                remove_parts(folder)
            while missing := self.missing():
                self._compute(missing)

    def _compute(self, missing: list[Job]) -> None:
        jobs = {f"{self.benchmark.name}, {job.name}, seed {job.seed}": job for job in missing}
        on_gpu, workers = self.benchmark.device == "cuda", self.benchmark.threads
        with worker.shared(self.out) as seen:
            given = type(self), seen, self.benchmark, self.data.checksum
            compute(
                [Training(name, job.size, _train, (*given, job)) for name, job in jobs.items()],
                lambda training, content: self.keep(jobs[training.name], content),
                workers=min(workers, ON_A_CARD) if on_gpu else workers,
                gpu=on_gpu,
                needs=BASE_BYTES + COPIES * self.data.nbytes,
                unit=self.unit,
                desc=self.benchmark.name,
            )

    def read(self, job: Job) -> dict | None:
        """What a training found, or None while its file is missing. Raises StudyError."""
        path = self._file(job)
        if not path.exists():
            return None
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            recorded, data = content["identity"]["benchmark"], content["identity"]["data"]
        except (ValueError, KeyError, TypeError):
            raise StudyError(
                f"{path} cannot be read: it is damaged or not a training of a study. Delete it, or start "
                "over with --fresh."
            ) from None
        self.must_be_mine(path, recorded, data)
        return content

    def write(self, found: dict) -> dict:
        """Add what every result says, write result.json and return it.

        Raises StudyError while trainings are missing.
        """
        if missing := self.missing():
            raise StudyError(f"{len(missing)} trainings are missing in {self.out}; call run() first")
        self.out.mkdir(parents=True, exist_ok=True)
        about = {
            "benchmark": self.benchmark.model_dump(mode="json"),
            "seeds": self.seeds,
            "provenance": provenance(self.benchmark, self.data) | {"workers": self._workers()},
        }
        with atomic_path(self.out / RESULT) as part:
            part.write_text(json.dumps(about | found, allow_nan=False) + "\n", encoding="utf-8")
        return about | found

    def _workers(self) -> list[dict]:
        """Which kind of machine made which trainings; empty for those of earlier versions."""
        kinds: dict[str, dict] = {}
        for job in self.jobs():
            about = (self.read(job) or {})["identity"].get("made_on")
            if about:
                kind = kinds.setdefault(json.dumps(about), about | {"trainings": []})
                kind["trainings"].append(f"seed-{job.seed}/{job.name}")
        return list(kinds.values())

    def checkpoint(self, job: Job) -> Path:
        """Where an unfinished training may be kept; it goes when the numbers are safe."""
        return self._file(job).with_suffix(".pt")

    def must_be_mine(self, path: Path, recorded: dict | None, data: str | None) -> None:
        """Raise StudyError unless a file's benchmark and checksum of the data are this study's."""
        if data != self.data.checksum or not self.benchmark.trains_as(recorded or {}):
            raise StudyError(
                f"{path} belongs to another study (other settings or other data). Choose another folder or "
                "name, or start over with --fresh."
            )

    def do(self, job: Job, progress: Progress) -> dict:
        """Do one training, here; returns what its file holds."""
        self.checkpoint(job).parent.mkdir(parents=True, exist_ok=True)
        content = self.train(job, progress)
        machine = content.pop("made_on", None) or made_on(self.benchmark)
        return {"identity": self.identity | {"made_on": machine}} | content

    def keep(self, job: Job, content: dict) -> None:
        """Write the file of a training that has ended; its checkpoint goes."""
        path = self._file(job)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as part:
            part.write_text(json.dumps(content, allow_nan=False) + "\n", encoding="utf-8")
        self.checkpoint(job).unlink(missing_ok=True)

    def _file(self, job: Job) -> Path:
        return self.out / f"seed-{job.seed}" / f"{job.name}.json"


class Checkpoint:
    """The file that a training leaves behind, at most every SAVE_EVERY seconds, and goes on from.

    made_on: the machine that trains, with the devices of those that trained before it.
    """

    def __init__(self, study: Study, job: Job):
        self.made_on = made_on(study.benchmark)
        self._study, self._path, self._written = study, study.checkpoint(job), time.perf_counter()
        self._identity = study.identity | {"setting": job.what._asdict()}

    def write(self, state: Callable[[], dict]) -> None:
        """Write the state, if the last time was long ago."""
        if time.perf_counter() < self._written + SAVE_EVERY:
            return
        self._written = time.perf_counter()
        write_file(self._path, self._identity | {"made_on": self.made_on} | state())

    def go_on(self, take_up: Callable[[dict], object]) -> None:
        """Hand over the state that was written last, if there is one, and of the options chosen now.

        Raises StudyError for a file of another study, RunError for a damaged one.
        """
        if not self._path.exists():
            return
        state = read_file(self._path, ALONE)
        with meant_as_checkpoint(self._path, ALONE):
            self._study.must_be_mine(self._path, state.get("benchmark"), state.get("data"))
            if state.get("setting") not in (None, self._identity["setting"]):  # earlier versions did not say
                return
            take_up(state)
            if "made_on" in state:
                before, now = state["made_on"]["device"], self.made_on["device"]
                self.made_on = self.made_on | {"device": _after(before, now)}


def _after(before: str, now: str) -> str:
    """Devices, one after the other.

    >>> _after("NVIDIA H200", "AMD EPYC"), _after("NVIDIA H200, then AMD EPYC", "AMD EPYC")
    ('NVIDIA H200, then AMD EPYC', 'NVIDIA H200, then AMD EPYC')
    """
    return before if before.split(THEN)[-1] == now else f"{before}{THEN}{now}"


def _train(
    kind: type[Study],
    seen: tuple[Path, str],
    benchmark: Benchmark,
    checksum: str,
    job: Job,
    progress: Progress,
) -> dict:
    """In a worker: one training of a study, on one core."""
    benchmark.must_run_here()
    torch.set_num_threads(1)
    with worker.folder_in_worker(*seen) as (folder, _):
        study = kind(folder, benchmark, [job.seed])
        worker.must_be_same_data(benchmark.data, study.data.checksum, checksum)
        return study.do(job, progress)
