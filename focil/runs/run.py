"""A run: one benchmark with one seed in one folder, with checkpoints, resume, verification and
result.json."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from focil import backbones
from focil.base import progress
from focil.base.errors import FocilError
from focil.base.files import atomic_path
from focil.base.locks import lock, usable
from focil.base.words import in_percent
from focil.data.datasets import Dataset
from focil.data.stream import Task, normalise
from focil.evaluation.frozen import ForgettingError, FrozenEvaluation, router_scores, verify
from focil.method import Focil
from focil.router.routed import kind_of
from focil.runs.params import Benchmark
from focil.runs.provenance import provenance
from focil.runs.results import RESULT
from focil.runs.sources import load_data, open_stream

CHECKPOINT, SCORES = "experts.pt", "scores.pt"
CHECKPOINT_KEYS = {
    "benchmark",
    "seed",
    "data",
    "classes",
    "image_shape",
    "normalisation",
    "done",
    "method",
    "first",
}
CURVE_POINTS = 40  # points kept of each candidate's curve


class RunError(FocilError):
    """A run folder that cannot be used as asked; the message says what to do."""


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
        if type(seed) is not int or not 0 <= seed < 2**63:
            raise RunError(f"seed is {seed!r}; seeds are whole numbers: 0, 1, 2, ...")
        self.out, self.benchmark, self.seed = Path(out), benchmark, seed
        torch.set_num_threads(benchmark.threads)
        if data is None:
            self.data = load_data(benchmark)
        else:
            self.data = data.development() if benchmark.development else data
        self.stream = open_stream(benchmark, self.data, seed)
        self.own_backbone = backbone
        self.method = build_method(
            benchmark, seed, self.data.image_shape, self.stream.order.shape[1], backbone
        )
        self.evaluation = FrozenEvaluation(self.stream, seed)
        self.seconds = {"train": 0.0, "evaluate": 0.0}
        self.done = 0
        self._make_folder()
        self._lock = lock(self.out, "run")  # let go when this process ends
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
            "first": self.evaluation.first,
            "probe_images": self.evaluation.probe_images,
            "router_scores": router_scores(self.method, self.stream.prepare(self.evaluation.probe_images)),
            "scores": self.evaluation.digest(),
        }
        # Scores first: if a kill comes between the two, they know one task too many, which is dropped on
        # resuming.
        for name, content in ((SCORES, self.evaluation.state()), (CHECKPOINT, state)):
            with atomic_path(self.out / name) as part:
                torch.save(content, part)
        self.done += 1
        self._say()

    def finish(self) -> dict:
        """Verify all experts from the checkpoint, in a new process, write result.json and return its
        content."""
        if self.done < len(self.stream):
            raise RunError(
                f"{self.done} of {len(self.stream)} tasks are learned; run the loop over run.tasks() to the "
                "end before finish()"
            )
        result = assemble(self, self._verify())
        with atomic_path(self.out / RESULT) as part:
            part.write_text(json.dumps(result, allow_nan=False) + "\n", encoding="utf-8")
        return result

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
            self.evaluation.first = list(state["first"])
            scores = self.evaluation.digest()
        if state.get("scores", scores) != scores:  # files of earlier versions have no digest
            raise RunError(
                f"{self.out / SCORES} holds other scores than those that were saved with {CHECKPOINT}: it "
                "was cut short or altered. Restore it from a copy, or start over with --fresh."
            )

    def _verify(self) -> dict:
        if self.own_backbone is None:
            command = [sys.executable, "-m", "focil", "verify", str(self.out)]
            answer = subprocess.run(command, capture_output=True, text=True)
            if answer.returncode:
                raise RunError(f"verification in a new process failed: {answer.stderr.strip()}")
            return {"process": "new", "experts": self.done, "equal": True}
        return {"process": "same", "experts": verify_folder(self.out, self.own_backbone), "equal": True}

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


def build_method(
    benchmark: Benchmark,
    seed: int,
    image_shape: backbones.ImageShape,
    classes: int,
    backbone: backbones.Factory | None = None,
) -> Focil:
    """The benchmark's method, before its first task.

    Raises RunError if a backbone is missing or not asked for.
    """
    if (benchmark.backbone == "own") != (backbone is not None):
        raise RunError(
            'a backbone of your own needs both: backbone: "own" in the benchmark, and the factory handed '
            "over in Python, focil.run(benchmark, backbone=...); params files can name mlp and resnet18"
        )
    kind, chosen = kind_of(benchmark.focil), backbone or benchmark.backbone
    return kind(chosen, image_shape, benchmark.tasks, classes, seed, benchmark.focil, benchmark.device)


def assemble(run: Run, verified: dict) -> dict:
    """Everything that is known about a finished run; every number behind a figure is in it."""
    evaluation, method = run.evaluation, run.method
    result = {
        "benchmark": run.benchmark.model_dump(mode="json"),
        "seed": run.seed,
        "accuracy": evaluation.accuracy(),
        "routing": evaluation.routing(method),
        "budgets": evaluation.budgets(method),
        "batches": evaluation.batches(method),
        "test_images": evaluation.test_images(),
        "search": [_condense(report) for report in method.report],
        "layers": {name: weights.numel() for name, weights in method.store.items()},
        "capacity": method.capacity(),
        "memory_bytes": _with_total(method.memory()),
        "data_bytes": {"training_set": run.data.x_train.nbytes, "image": run.data.x_train[0].nbytes},
        "seconds": _with_total(run.seconds),
        "verified": verified,
        "provenance": provenance(run.benchmark, run.data),
    }
    if run.benchmark.development:
        result["rules"] = evaluation.compare_rules(method)
    return result


def read_file(path: Path) -> dict:
    """Content of a file of a run folder; only tensors and plain values are read, never code.

    Raises RunError.
    """
    try:
        return torch.load(path, weights_only=True, map_location="cpu")
    except FileNotFoundError:
        raise RunError(
            f"{path} does not exist: the folder holds no run, or none that finished its first task"
        ) from None
    except Exception as error:  # a damaged file fails in many ways inside torch
        raise RunError(
            f"{path} cannot be read ({type(error).__name__}): it is damaged or not a checkpoint of focil. "
            "Start over with --fresh, or restore it from a copy."
        ) from None


def read_checkpoint(path: Path) -> dict:
    """What `Run.save` wrote. Raises RunError for anything else."""
    state = read_file(path)
    whole = isinstance(state, dict) and state.keys() >= CHECKPOINT_KEYS
    if not (whole and isinstance(state["benchmark"], dict)):
        raise RunError(
            f"{path} is no checkpoint of a run of focil; start over with --fresh, or restore it from a copy"
        )
    if "router_scores" not in state:
        raise RunError(
            f"{path.parent} was made by a version of focil without a router; run it again with --fresh, or "
            "open it with that version"
        )
    return state


@contextmanager
def meant_as_checkpoint(path: Path) -> Iterator[None]:
    """Inside, what a file holds is used as it should be; whatever it is instead becomes a RunError."""
    try:
        yield
    except FocilError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError, ArithmeticError) as error:
        raise RunError(
            f"{path} holds something else than this run would have saved ({type(error).__name__}: "
            f"{' '.join(str(error).split())[:200]}). Start over with --fresh, or restore it from a copy."
        ) from None


def rebuild(out: str | Path, backbone: backbones.Factory | None = None) -> tuple[Focil, dict]:
    """The method of a run as it was when its last task was saved, and the checkpoint that it was built from.

    Masks are regenerated from their seed. Raises RunError for what is not a run's folder, and MaskMismatch.
    """
    path = Path(out) / CHECKPOINT
    state = read_checkpoint(path)
    with meant_as_checkpoint(path):
        benchmark = Benchmark.recorded(state["benchmark"])
        torch.set_num_threads(benchmark.threads)
        shape = tuple(state["image_shape"])
        method = build_method(benchmark, state["seed"], shape, state["classes"], backbone)
        method.load(state["method"])
    return method, state


def verify_folder(out: str | Path, backbone: backbones.Factory | None = None) -> int:
    """Rebuild every expert of a run from what is stored and compare it with its first self, bit for bit.

    Returns the number of experts. Raises ForgettingError, and what `rebuild` raises.
    """
    method, state = rebuild(out, backbone)
    with meant_as_checkpoint(Path(out) / CHECKPOINT):
        probes = normalise(state["probe_images"], *state["normalisation"]).to(method.device)
        equal = verify(method, state["first"], probes)
        scores = router_scores(method, probes)
        same = scores is None or torch.equal(scores, state["router_scores"])
    if not same:
        raise ForgettingError(
            "the router holds its sums but computes other scores; was it saved on another machine or with "
            "another number of threads?"
        )
    return equal


def _differences(mine: dict, theirs: dict) -> str:
    flat = [_flatten(mine), _flatten(theirs)]
    keys = [key for key in flat[0] | flat[1] if flat[0].get(key) != flat[1].get(key)]
    return ", ".join(f"{key}: {flat[1].get(key)!r} there, {flat[0].get(key)!r} now" for key in keys)


def _flatten(tree: dict, prefix: str = "") -> dict:
    flat = {}
    for key, value in tree.items():
        flat |= _flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def _condense(report: dict) -> dict:
    """A search report with its curves as block means, so that result.json stays small."""
    block = max(1, round(max(len(c["accuracy"]) for c in report["candidates"]) / CURVE_POINTS))
    return report | {"candidates": [_condensed(candidate, block) for candidate in report["candidates"]]}


def _condensed(candidate: dict, block: int) -> dict:
    learned = len(candidate["accuracy"])
    ends = [min(start + block, learned) for start in range(0, learned, block)]
    curves = {key: _block_means(candidate[key], block) for key in ("accuracy", "loss")}
    about = {key: candidate[key] for key in ("sparsity", "lr", "diverged") if key in candidate}
    return about | curves | {"batches": ends}


def _block_means(values: list[float], block: int) -> list[float | None]:
    """Means of blocks; None where one is no number, as the last loss of what diverged."""
    means = (np.mean(values[i : i + block]) for i in range(0, len(values), block))
    return [round(float(mean), 4) if np.isfinite(mean) else None for mean in means]


def _with_total(parts: dict) -> dict:
    return parts | {"total": sum(parts.values())}
