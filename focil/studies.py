"""A study: many trainings that one notebook reads together, side by side on the cores, each safe from a kill.

A training is a job on one core in a process of its own; its file is written when it ends, so that a study that is interrupted goes on with what
is missing, and its numbers do not depend on how many cores there were.
"""

import json
import multiprocessing.connection
import os
import queue
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from focil.benchmark import Benchmark
from focil.errors import FocilError
from focil.files import atomic_path
from focil.provenance import provenance
from focil.results import RESULT
from focil.sources import load_data

_progress: Any = None  # in a worker: where `advance` reports to
_advanced, _reported = 0, 0.0


class StudyError(FocilError):
    """A study that cannot go on; the message says what to do."""


class Job(NamedTuple):
    """One training. name: of its file. size: what the bar counts, see `advance`. what: what the study's worker needs."""

    seed: int
    name: str
    size: int
    what: Any


class Study(ABC):
    """A study in a folder. A subclass gives `unit`, `worker` and `jobs`, and makes `finish` of what `read` returns.

    out: folder; trainings are kept in seed-K/. seeds: of the runs. worker(benchmark, job, path): a module's function that trains a job and
    returns its numbers; it may keep a checkpoint beside `path`, with the suffix .pt.
    """

    unit = "training"
    worker: Any

    def __init__(self, out: str | Path, benchmark: Benchmark, seeds: Sequence[int]):
        self.out, self.benchmark, self.seeds = Path(out), benchmark, list(dict.fromkeys(seeds))
        self.data = load_data(benchmark)
        self.identity = {"benchmark": benchmark.model_dump(mode="json"), "data": self.data.checksum}

    @abstractmethod
    def jobs(self) -> list[Job]:
        """Every training of the study."""

    def missing(self) -> list[Job]:
        """Trainings without a file. Raises StudyError for a file of another study."""
        return [job for job in self.jobs() if self.read(job) is None]

    def run(self) -> None:
        """Do what is missing, with a bar that shows the remaining time."""
        missing = self.missing()
        if not missing:
            return
        workers = min(self.benchmark.threads, len(missing)) if self.benchmark.device == "cpu" else 1
        context = multiprocessing.get_context("spawn")
        reports = context.Queue()
        with (
            ProcessPoolExecutor(workers, context, _connect, (reports,)) as pool,
            tqdm(total=sum(job.size for job in missing), unit=self.unit, desc=self.benchmark.name, smoothing=0, mininterval=0.5, leave=False) as bar,
        ):
            try:
                waiting = {pool.submit(_work, type(self).worker, self.benchmark, job, self._file(job), self.identity) for job in missing}
                while waiting:
                    done, waiting = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
                    bar.update(_received(reports))
                    for finished in done:
                        finished.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def read(self, job: Job) -> dict | None:
        """What a training found, or None while its file is missing. Raises StudyError."""
        path = self._file(job)
        if not path.exists():
            return None
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            same = content["identity"]["data"] == self.data.checksum and self.benchmark.trains_as(content["identity"]["benchmark"])
        except (ValueError, KeyError, TypeError):
            raise StudyError(f"{path} cannot be read: it is damaged or not a training of a study. Delete it, or start over with --fresh.") from None
        if not same:
            raise StudyError(f"{path} belongs to another study (other settings or other data). Choose another folder or name, or start over with --fresh.")
        return content

    def write(self, found: dict) -> dict:
        """Add what every result says, write result.json and return it. Raises StudyError while trainings are missing."""
        if missing := self.missing():
            raise StudyError(f"{len(missing)} trainings are missing in {self.out}; call run() first")
        self.out.mkdir(parents=True, exist_ok=True)
        about = {"benchmark": self.benchmark.model_dump(mode="json"), "seeds": self.seeds, "provenance": provenance(self.benchmark, self.data)}
        with atomic_path(self.out / RESULT) as part:
            part.write_text(json.dumps(about | found, allow_nan=False) + "\n", encoding="utf-8")
        return about | found

    def _file(self, job: Job) -> Path:
        return self.out / f"seed-{job.seed}" / f"{job.name}.json"


def advance(count: int) -> None:
    """In a worker: the job has come on by `count` of its size."""
    global _advanced, _reported
    _advanced += count
    if time.monotonic() > _reported + 0.5:
        _flush()


def _flush() -> None:
    global _advanced, _reported
    if _progress is not None:
        _progress.put(_advanced)
    _advanced, _reported = 0, time.monotonic()


def _connect(reports: Any) -> None:
    global _progress
    _progress = reports
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A worker whose study is killed must not stay behind, with its memory."""
    multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


def _work(worker: Any, benchmark: Benchmark, job: Job, path: Path, identity: dict) -> None:
    import torch

    torch.set_num_threads(1)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"identity": identity} | worker(benchmark, job, path)
    _flush()
    with atomic_path(path) as part:
        part.write_text(json.dumps(content, allow_nan=False) + "\n", encoding="utf-8")
    path.with_suffix(".pt").unlink(missing_ok=True)  # a checkpoint goes only when its numbers are safe


def _received(reports: Any) -> int:
    total = 0
    while True:
        try:
            total += reports.get_nowait()
        except queue.Empty:
            return total
