"""A run: one benchmark with one seed in one folder, with checkpoints, resume, verification and result.json."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from tqdm import tqdm

from focil import backbones
from focil.benchmark import Benchmark
from focil.datasets import Dataset
from focil.errors import FocilError
from focil.evaluation import Evaluation, ForgettingError, router_scores, verify
from focil.files import atomic_path
from focil.methods.focil import Focil
from focil.results import RESULT, assemble
from focil.sources import load_data, open_stream
from focil.stream import Task

CHECKPOINT, SCORES = "experts.pt", "scores.pt"


class RunError(FocilError):
    """A run folder that cannot be used as asked; the message says what to do."""


class Run:
    """One benchmark, one seed, one folder: opens it, and continues after the last finished task if there is one.

    out: folder, created if absent. data: a data set of one's own instead of `benchmark.data`. backbone: a factory (image
    shape -> module) where `benchmark.backbone` is "own". Raises RunError for a checkpoint of another benchmark or seed, and what
    `datasets.load` and `class_order` raise.
    """

    def __init__(self, out: str | Path, benchmark: Benchmark, seed: int = 0, *, data: Dataset | None = None, backbone: backbones.Factory | None = None):
        self.out, self.benchmark, self.seed = Path(out), benchmark, seed
        torch.set_num_threads(benchmark.threads)
        self.data = load_data(benchmark) if data is None else data.development() if benchmark.development else data
        self.stream = open_stream(benchmark, self.data, seed)
        self.own_backbone = backbone
        self.method = build_method(benchmark, seed, self.data.image_shape, self.stream.order.shape[1], backbone)
        self.evaluation = Evaluation(self.stream, seed, benchmark.focil.rule, benchmark.focil.calibrated)
        self.seconds = {"train": 0.0, "evaluate": 0.0}
        self.done = 0
        self._make_folder()
        if (self.out / CHECKPOINT).exists():
            self._resume()

    def tasks(self) -> Iterator[Task]:
        """The tasks that are still to be learned, with a bar that counts training images and shows the remaining time."""
        tasks = list(self.stream)
        sizes = [task.size for task in tasks]
        with tqdm(total=sum(sizes), initial=sum(sizes[: self.done]), unit="image", mininterval=0.5, smoothing=0, leave=False) as bar:
            self.stream.on_draw = bar.update
            for task in tasks[self.done :]:
                bar.set_description(f"{self.benchmark.name} seed {self.seed}, task {task.index + 1} of {len(tasks)}")
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
        """Write the checkpoint of the tasks learned so far; a kill at any moment leaves this one or the one before."""
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
        }
        # Scores first: if a kill comes between the two, they know one task too many, which is dropped on resuming.
        for name, content in ((SCORES, self.evaluation.state()), (CHECKPOINT, state)):
            with atomic_path(self.out / name) as part:
                torch.save(content, part)
        self.done += 1

    def finish(self) -> dict:
        """Verify all experts from the checkpoint, in a new process, write result.json and return its content."""
        if self.done < len(self.stream):
            raise RunError(f"{self.done} of {len(self.stream)} tasks are learned; run the loop over run.tasks() to the end before finish()")
        result = assemble(self, self._verify())
        with atomic_path(self.out / RESULT) as part:
            part.write_text(json.dumps(result, allow_nan=False) + "\n", encoding="utf-8")
        return result

    def _identity(self) -> dict:
        return {"benchmark": self.benchmark.model_dump(mode="json"), "seed": self.seed, "data": self.data.checksum}

    def _resume(self) -> None:
        state = read_file(self.out / CHECKPOINT)
        mine, theirs = self._identity(), {key: state[key] for key in self._identity()}
        same_threads = theirs["benchmark"].get("threads") == self.benchmark.threads
        if not same_threads or not self.benchmark.is_same(theirs["benchmark"]) or mine | {"benchmark": 0} != theirs | {"benchmark": 0}:
            raise RunError(
                f"{self.out} holds a checkpoint of another run ({_differences(mine, theirs)}). Choose another folder or name, "
                "use the same settings to continue it, or start over with --fresh, which deletes it."
            )
        self.method.load(state["method"])
        self.done, self.seconds = state["done"], state["seconds"]
        self.evaluation.load(read_file(self.out / SCORES), state["first"])

    def _verify(self) -> dict:
        if self.own_backbone is None:
            command = [sys.executable, "-m", "focil", "verify", str(self.out)]
            answer = subprocess.run(command, capture_output=True, text=True)
            if answer.returncode:
                raise RunError(f"verification in a new process failed: {answer.stderr.strip()}")
            return {"process": "new", "experts": self.done, "equal": True}
        return {"process": "same", "experts": verify_folder(self.out, self.own_backbone), "equal": True}

    def _make_folder(self) -> None:
        try:
            self.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"cannot create the run folder {self.out}: {error.strerror}; choose another one with --out") from None


def run(benchmark: Benchmark, *, seed: int = 0, out: str | Path, data: Dataset | None = None, backbone: backbones.Factory | None = None) -> dict:
    """Run a benchmark from Python and return its result (the content of result.json). Arguments as in `Run`."""
    work = Run(out, benchmark, seed, data=data, backbone=backbone)
    for task in work.tasks():
        with work.timed("train"):
            work.method.learn(task)
        with work.timed("evaluate"):
            work.evaluation.after(work.method, task.index)
        work.save()
    return work.finish()


def build_method(benchmark: Benchmark, seed: int, image_shape: tuple[int, int, int], classes: int, backbone: backbones.Factory | None = None) -> Focil:
    """The benchmark's method, before its first task. Raises RunError if a backbone is missing or not asked for."""
    if (benchmark.backbone == "own") != (backbone is not None):
        raise RunError(
            'a backbone of your own needs both: backbone: "own" in the benchmark, and the factory handed over in Python, '
            "focil.run(benchmark, backbone=...); params files can name mlp and resnet18"
        )
    return Focil(backbone or benchmark.backbone, image_shape, benchmark.tasks, classes, seed, benchmark.focil, benchmark.device)


def read_file(path: Path) -> dict:
    """Content of a file of a run folder; only tensors and plain values are read, never code. Raises RunError."""
    try:
        return torch.load(path, weights_only=True, map_location="cpu")
    except FileNotFoundError:
        raise RunError(f"{path} does not exist: the folder holds no run, or none that finished its first task") from None
    except Exception as error:  # a damaged file fails in many ways inside torch
        raise RunError(
            f"{path} cannot be read ({type(error).__name__}): it is damaged or not a checkpoint of focil. Start over with --fresh, or restore it from a copy."
        ) from None


def rebuild(out: str | Path, backbone: backbones.Factory | None = None) -> tuple[Focil, dict]:
    """The method of a run as it was when its last task was saved, and the checkpoint that it was built from.

    Masks are regenerated from their seed. Raises RunError for what is not a run's folder, and MaskMismatch.
    """
    state = read_file(Path(out) / CHECKPOINT)
    if "router_scores" not in state:
        raise RunError(f"{out} was made by a version of focil without a router; run it again with --fresh, or open it with that version")
    benchmark = Benchmark(**state["benchmark"])
    torch.set_num_threads(benchmark.threads)
    method = build_method(benchmark, state["seed"], tuple(state["image_shape"]), state["classes"], backbone)
    method.load(state["method"])
    return method, state


def verify_folder(out: str | Path, backbone: backbones.Factory | None = None) -> int:
    """Rebuild every expert of a run from what is stored and compare it with its first self, bit for bit.

    Returns the number of experts. Raises ForgettingError, and what `rebuild` raises.
    """
    method, state = rebuild(out, backbone)
    mean, std = torch.tensor(state["normalisation"])[:, None, :, None, None] * 255
    probes = ((state["probe_images"].to(torch.float32) - mean) / std).to(method.device)
    equal = verify(method, state["first"], probes)
    if method.router and not torch.equal(router_scores(method, probes), state["router_scores"]):
        raise ForgettingError("the router holds its sums but computes other scores; was it saved on another machine or with another number of threads?")
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
