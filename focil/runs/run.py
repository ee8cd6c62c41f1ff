"""A run: one benchmark with one seed in one folder, with checkpoints, resume, verification and
result.json."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from focil import backbones
from focil.base import progress
from focil.base.files import atomic_path, remove_parts
from focil.base.locks import lock, usable
from focil.base.words import in_percent
from focil.data.datasets import Dataset
from focil.data.stream import Task
from focil.runs.checkpoint import (
    CHECKPOINT,
    SCORES,
    RunError,
    build_method,
    evaluation_of,
    meant_as_checkpoint,
    read_checkpoint,
    read_file,
    verify_folder,
    write_file,
)
from focil.runs.numbers import numbers, with_total
from focil.runs.params import Benchmark
from focil.runs.params_files import FOCIL
from focil.runs.provenance import provenance
from focil.runs.results import RESULT, flattened
from focil.runs.sources import load_data, open_stream


class Run:
    """One benchmark, one seed, one folder: opens it, and continues after the last finished task if there is
    one.

    out: folder, created if absent. data: a data set of one's own instead of `benchmark.data`. backbone: a
    factory (image shape -> module) where `benchmark.backbone` is "own". Raises RunError for a checkpoint of
    another benchmark or seed, and what `datasets.load` and `class_order` raise.
    """

    def __init__(
        self,
        out: str | Path,
        benchmark: Benchmark,
        seed: int = 0,
        *,
        data: Dataset | None = None,
        backbone: backbones.Factory | None = None,
    ):
        benchmark.must_run_here()
        if benchmark.is_study:
            raise RunError(
                f"{benchmark.name} is a study of many trainings, which one run cannot be; start it with: "
                f"focil run {benchmark.name}"
            )
        if type(seed) is not int or not 0 <= seed < 2**63:
            raise RunError(f"seed is {seed!r}; seeds are whole numbers: 0, 1, 2, ...")
        self.out, self.benchmark, self.seed = Path(out), benchmark, seed
        torch.set_num_threads(benchmark.threads)
        if data is None:
            self.data = load_data(benchmark)
        else:
            if benchmark.split != "official":
                raise RunError(
                    f"split is {benchmark.split}, but a data set that is handed over keeps its own; leave "
                    "split out"
                )
            self.data = data.development() if benchmark.development else data
        self.stream = open_stream(benchmark, self.data, seed)
        self.own_backbone, self.own_data = backbone, data is not None
        shape, classes = self.data.image_shape, self.stream.order.shape[1]
        self.method = build_method(benchmark, seed, shape, classes, backbone=backbone, stream=self.stream)
        self.evaluation = evaluation_of(benchmark)(self.stream, seed)
        self.seconds = {"train": 0.0, "evaluate": 0.0}
        self.done = 0
        self._make_folder()
        self._lock = lock(self.out, "run")  # let go when this process ends
        remove_parts(self.out)
        if (self.out / CHECKPOINT).exists():
            self._resume()

    def tasks(self) -> Iterator[Task]:
        """The tasks that are still to be learned, with a bar that counts training images and shows the
        remaining time."""
        tasks = list(self.stream)
        sizes = [task.size for task in tasks]
        with progress.bar(total=sum(sizes), initial=sum(sizes[: self.done]), unit="image") as bar:
            self.stream.on_draw = bar.update
            for task in tasks[self.done :]:
                where = f"seed {self.seed}, task {task.index + 1} of {len(tasks)}"
                bar.set_description(f"{self.benchmark.name} {where}")
                yield task

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Add the time inside to `seconds[what]`, what = train or evaluate."""
        start = time.perf_counter()
        yield
        if self.benchmark.device == "cuda":
            torch.cuda.synchronize()
        self.seconds[what] += time.perf_counter() - start

    def save(self) -> None:
        """Write the checkpoint of the tasks learned so far.

        A kill at any moment leaves this one or the one before.
        """
        state = self._identity() | {
            "classes": self.stream.order.shape[1],
            "image_shape": list(self.data.image_shape),
            "normalisation": [list(self.data.mean), list(self.data.std)],
            "done": self.done + 1,
            "seconds": self.seconds,
            "method": self.method.state(),
            "scores": self.evaluation.digest(),
        }
        state |= self.evaluation.proof(self.method)
        # Scores first: if a kill comes between the two, they know one task too many, which is dropped on
        # resuming.
        for name, content in ((SCORES, self.evaluation.state()), (CHECKPOINT, state)):
            write_file(self.out / name, content)
        self.done += 1
        self._say()

    def finish(self) -> dict:
        """Verify the method from the checkpoint, in a new process, write result.json and return its
        content."""
        if self.done < len(self.stream):
            raise RunError(
                f"{self.done} of {len(self.stream)} tasks are learned; run the loop over run.tasks() to the "
                "end before finish()"
            )
        result = self.result(self._verify())
        with atomic_path(self.out / RESULT) as part:
            part.write_text(json.dumps(result, allow_nan=False) + "\n", encoding="utf-8")
        return result

    def result(self, verified: dict) -> dict:
        """Everything that is known about a finished run; every number behind a figure is in it."""
        return {
            "benchmark": self.benchmark.model_dump(mode="json"),
            "seed": self.seed,
            **numbers(self.evaluation, self.method, development=self.benchmark.development),
            "data_bytes": {"training_set": self.data.x_train.nbytes, "image": self.data.x_train[0].nbytes},
            "seconds": with_total(self.seconds),
            "verified": verified,
            "provenance": provenance(self.benchmark, self.data),
        }

    def _say(self) -> None:
        """A plain line for those who asked for it.

        The mean accuracy over tasks, by protocol and who answers.
        """
        means = {name: sum(rows[-1]) / len(rows[-1]) for name, rows in self.evaluation.rows.items()}
        text = ", ".join(f"{name} {in_percent(mean)}" for name, mean in means.items())
        where = f"seed {self.seed}, task {self.done} of {len(self.stream)}"
        progress.line(f"{self.benchmark.name} {where}, mean accuracy in %: {text}")

    def _identity(self) -> dict:
        return {
            "benchmark": self.benchmark.model_dump(mode="json"),
            "seed": self.seed,
            "data": self.data.checksum,
        }

    def _resume(self) -> None:
        state = read_checkpoint(self.out / CHECKPOINT)
        mine, theirs = self._identity(), {key: state[key] for key in self._identity()}
        same_threads = theirs["benchmark"].get("threads") == self.benchmark.threads
        same_benchmark = same_threads and self.benchmark.is_same(theirs["benchmark"])
        if not same_benchmark or any(mine[key] != theirs[key] for key in ("seed", "data")):
            raise RunError(
                f"{self.out} holds a checkpoint of another run ({_differences(mine, theirs)}). Choose "
                "another folder or name, use the same settings to continue it, or start over: delete it, or "
                "with --fresh on the command line."
            )
        with meant_as_checkpoint(self.out / CHECKPOINT):
            self.method.load(state["method"])
            self.done, self.seconds = state["done"], state["seconds"]
        with meant_as_checkpoint(self.out / SCORES):
            self.evaluation.load(read_file(self.out / SCORES), self.done)
            self.evaluation.take_up(state)
            scores = self.evaluation.digest()
        if state.get("scores", scores) != scores:  # files of earlier versions have no digest
            raise RunError(
                f"{self.out / SCORES} holds other scores than those that were saved with {CHECKPOINT}: it "
                "was cut short or altered. Restore it from a copy, or start over with --fresh."
            )

    def _verify(self) -> dict:
        opened_again = self.benchmark.method != FOCIL and self.own_data
        if self.own_backbone is not None or opened_again:  # another process could not have them
            stream = self.stream if opened_again else None
            found = verify_folder(self.out, backbone=self.own_backbone, stream=stream)
            return {"process": "same", "equal": True} | found
        command = [sys.executable, "-m", "focil", "verify", str(self.out)]
        answer = subprocess.run(command, capture_output=True, text=True)
        if answer.returncode:
            raise RunError(f"verification in a new process failed: {answer.stderr.strip()}")
        return {"process": "new", "equal": True} | self.evaluation.compared

    def _make_folder(self) -> None:
        usable(self.out)
        try:
            self.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(
                f"cannot create the run folder {self.out}: {error.strerror}; choose another one with --out"
            ) from None


def run(
    benchmark: Benchmark,
    *,
    seed: int = 0,
    out: str | Path,
    data: Dataset | None = None,
    backbone: backbones.Factory | None = None,
) -> dict:
    """Run a benchmark from Python and return its result, the content of result.json.

    out: folder of the run; one that was interrupted continues. data: a data set of one's own instead of
    `benchmark.data`. backbone: a factory (image shape -> module) where `benchmark.backbone` is "own". Raises
    FocilError, with words that say what to do.
    """
    work = Run(out, benchmark, seed, data=data, backbone=backbone)
    for task in work.tasks():
        with work.timed("train"):
            work.method.learn(task)
        with work.timed("evaluate"):
            work.evaluation.after(work.method, task.index)
        work.save()
    return work.finish()


def _differences(mine: dict, theirs: dict) -> str:
    flat = [flattened(mine), flattened(theirs)]
    keys = [key for key in flat[0] | flat[1] if flat[0].get(key) != flat[1].get(key)]
    return ", ".join(f"{key}: {flat[1].get(key)!r} there, {flat[0].get(key)!r} now" for key in keys)
