"""A study: many trainings that one notebook reads together, side by side on the cores, each safe from a kill.

A training is a job on one core in a process of its own; its file is written when it ends, so that a study
that is interrupted goes on with what is missing, and its numbers do not depend on how many cores there were.
"""

import json
import multiprocessing
import multiprocessing.connection
import os
import queue
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch

from focil.base import progress
from focil.base.errors import FocilError
from focil.base.files import atomic_path
from focil.base.locks import locked, usable
from focil.runs.params import Benchmark
from focil.runs.provenance import provenance
from focil.runs.results import RESULT
from focil.runs.sources import load_data


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


class Progress:
    """In a worker: how far its training has come. reports: a queue that the study reads, or None."""

    def __init__(self, reports: Any = None):
        self._reports = reports
        self._advanced, self._reported = 0, time.monotonic()

    def advance(self, count: int) -> None:
        """The training has come on by `count` of its size."""
        self._advanced += count
        if time.monotonic() > self._reported + 0.5:
            self.flush()

    def flush(self) -> None:
        """Report what was not reported yet."""
        if self._reports is not None:
            self._reports.put(self._advanced)
        self._advanced, self._reported = 0, time.monotonic()


class Study(ABC):
    """A study in a folder. A subclass says which trainings there are and does one; `finish` reads all of
    them.

    out: folder; trainings are kept in seed-K/. seeds: of the runs.
    """

    unit = "training"

    def __init__(self, out: str | Path, benchmark: Benchmark, seeds: Sequence[int]):
        benchmark.must_run_here()
        self.out, self.benchmark, self.seeds = Path(out), benchmark, list(dict.fromkeys(seeds))
        self.data = load_data(benchmark)
        self.identity = {"benchmark": benchmark.model_dump(mode="json"), "data": self.data.checksum}

    @abstractmethod
    def jobs(self) -> list[Job]:
        """Every training of the study."""

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
        """Do what is missing, with a bar that shows the remaining time."""
        with locked(usable(self.out), "run"):
            if missing := self.missing():
                self._train_all(missing)

    def _train_all(self, missing: list[Job]) -> None:
        workers = min(self.benchmark.threads, len(missing)) if self.benchmark.device == "cpu" else 1
        context = multiprocessing.get_context("spawn")
        total = sum(job.size for job in missing)
        with _deaf_to_interrupts():
            manager = context.Manager()
        with (
            manager,
            ProcessPoolExecutor(workers, context, _end_with_parent) as pool,
            progress.bar(total=total, unit=self.unit, desc=self.benchmark.name) as bar,
        ):
            reports = manager.Queue()
            try:
                given = type(self), self.out, self.benchmark
                with _deaf_to_interrupts():
                    waiting = {pool.submit(_work, *given, job, reports) for job in missing}
                while waiting:
                    done, waiting = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
                    bar.update(_received(reports))
                    for finished in done:
                        finished.result()
                        progress.line(
                            f"{self.benchmark.name}: {len(missing) - len(waiting)} of {len(missing)} done"
                        )
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
            "provenance": provenance(self.benchmark, self.data),
        }
        with atomic_path(self.out / RESULT) as part:
            part.write_text(json.dumps(about | found, allow_nan=False) + "\n", encoding="utf-8")
        return about | found

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

    def do(self, job: Job, progress: Progress) -> None:
        """Do one training and write its file."""
        path = self._file(job)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {"identity": self.identity} | self.train(job, progress)
        with atomic_path(path) as part:
            part.write_text(json.dumps(content, allow_nan=False) + "\n", encoding="utf-8")
        self.checkpoint(job).unlink(missing_ok=True)

    def _file(self, job: Job) -> Path:
        return self.out / f"seed-{job.seed}" / f"{job.name}.json"


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Processes that start inside ignore Ctrl-C: the study ends them itself, and they have nothing to say."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _end_with_parent() -> None:
    """A worker whose study is killed must not stay behind, with its memory."""
    threading.Thread(target=_end_after, args=(multiprocessing.parent_process(),), daemon=True).start()


def _end_after(parent: Any) -> None:
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)


def _work(kind: type[Study], out: Path, benchmark: Benchmark, job: Job, reports: Any) -> None:
    torch.set_num_threads(1)
    progress = Progress(reports)
    kind(out, benchmark, [job.seed]).do(job, progress)
    progress.flush()


def _received(reports: Any) -> int:
    total = 0
    while True:
        try:
            total += reports.get_nowait()
        except queue.Empty:
            return total
