"""One training of a study of offline methods: build the method, train it over all tasks, survive a kill inside a task."""

import time
from pathlib import Path
from typing import NamedTuple

import torch

from focil import layers
from focil.benchmark import Benchmark
from focil.datasets import Dataset
from focil.files import atomic_path
from focil.methods.offline import Offline
from focil.methods.table import OFFLINE, ONLINE
from focil.runs import read_file
from focil.schedule import schedule
from focil.sources import load_data, open_stream, order_of, sizes_of
from focil.stages import OnePass, Stages
from focil.stream import Augmentation, Stream
from focil.studies import Job, StudyError, advance

PASSES = 1_000  # passes of an offline stream: more than any schedule has epochs
SAVE_EVERY = 60  # seconds between checkpoints inside a task


class Setting(NamedTuple):
    """What a job trains."""

    method: str
    network: str
    exemplars: int


def passes(benchmark: Benchmark, data: Dataset, sizes: list[int], setting: Setting) -> int:
    """Training images that a job will pass through its network, about: new ones and exemplars, in all epochs."""
    per_class, options = len(data.x_train) / data.num_classes, benchmark.memo.training
    if setting.method == ONLINE:
        return len(data.x_train)
    total, seen = 0.0, 0
    for task, classes in enumerate(sizes):
        kept = seen * per_class if setting.method == "joint" else min(setting.exemplars, seen * per_class)
        epochs = schedule(options.schedule, task == 0, options.lr, options.cpu_epochs).epochs
        total += epochs * (classes * per_class + kept)
        seen += classes
    return round(total)


def build(benchmark: Benchmark, data: Dataset, seed: int, setting: Setting) -> Offline:
    """A method before its first task, with its stream."""
    memo, order = benchmark.memo, order_of(benchmark, data, seed)
    augmentation = Augmentation(benchmark.crop, benchmark.flip, memo.brightness)
    stream = Stream(data, order, seed, passes=PASSES, augmentation=augmentation, device=benchmark.device)
    kind = OFFLINE[setting.method]
    return kind(setting.network, data.image_shape, sizes_of(order), seed, stream, memo.training, setting.exemplars, memo.last_shared)


def train(benchmark: Benchmark, job: Job, path: Path) -> dict:
    """Train one method over all tasks and return what a result says of it; a checkpoint beside `path` lets it continue inside a task."""
    data = load_data(benchmark)
    if job.what.method == ONLINE:
        return train_online(benchmark, data, job)
    method = build(benchmark, data, job.seed, job.what)
    stages = Stages(method.stream)
    checkpoint = Checkpoint(path.with_suffix(".pt"), benchmark, data, method, stages)
    checkpoint.resume()
    method.stream.on_draw = checkpoint.count
    for task in list(method.stream)[method.done :]:
        method.learn(task, checkpoint.save)
        stages.after(method)
        checkpoint.save()
    about = {"layers": method.report, "seconds": checkpoint.seconds}
    cka = {name: layers.cka_matrix(grams[name] for grams in method.grams) for name in method.grams[0]}
    return job.what._asdict() | stages.report() | about | {"cka": cka}


def train_online(benchmark: Benchmark, data: Dataset, job: Job) -> dict:
    """FOCIL on the same tasks: one pass, nothing stored between them."""
    stream = open_stream(benchmark, data, job.seed)
    stream.on_draw = advance
    method, stages, start = OnePass(benchmark, stream), Stages(stream), time.perf_counter()
    for task in stream:
        method.learn(task)
        stages.after(method)
    return job.what._asdict() | stages.report() | {"layers": [], "cka": {}, "seconds": time.perf_counter() - start}


class Checkpoint:
    """What a training leaves behind at most every SAVE_EVERY seconds, after an epoch, and goes on from."""

    def __init__(self, path: Path, benchmark: Benchmark, data: Dataset, method: Offline, stages: Stages):
        self.path, self.method, self.stages = path, method, stages
        self.benchmark, self.data = benchmark, data
        self.images = 0  # passed through the network, of all starts together
        self._before, self._start = 0.0, time.perf_counter()
        self._saved = self._start

    @property
    def seconds(self) -> float:
        """Time spent, of all starts together."""
        return self._before + time.perf_counter() - self._start

    def count(self, images: int) -> None:
        """Note that images were passed through the network."""
        self.images += images
        advance(images)

    def save(self) -> None:
        """Write the state, if the last time was long ago."""
        if time.perf_counter() < self._saved + SAVE_EVERY:
            return
        self._saved = time.perf_counter()
        content = {
            "benchmark": self.benchmark.model_dump(mode="json"),
            "data": self.data.checksum,
            "method": self.method.state(),
            "stages": self.stages.state(),
            "seconds": self.seconds,
            "images": self.images,
        }
        with atomic_path(self.path) as part:
            torch.save(content, part)

    def resume(self) -> None:
        """Go on from the file, if there is one. Raises StudyError for one of another study, RunError for a damaged one."""
        if not self.path.exists():
            return
        state = read_file(self.path)
        if state.get("data") != self.data.checksum or not self.benchmark.trains_as(state.get("benchmark", {})):
            raise StudyError(f"{self.path} belongs to another study (other settings or other data). Choose another folder or name, or start over with --fresh.")
        self.method.load(state["method"])
        self.stages.load(state["stages"])
        self._before = state["seconds"]
        self.count(state["images"])
