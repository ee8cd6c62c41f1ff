"""One training of a study of offline methods.

Build the method, train it over all tasks, survive a kill inside a task.
"""

import time
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from torch import Tensor

from focil.confidence import Evidence
from focil.data.datasets import Dataset
from focil.data.images import Augmentation
from focil.data.stream import Stream, Task
from focil.engine.worker import Progress
from focil.evaluation.stages import Stages
from focil.memo import layers, split
from focil.memo.method import PROBES, Offline
from focil.memo.schedule import OfflineOptions, schedule
from focil.memo.table import OFFLINE, ONLINE
from focil.router.routed import kind_of
from focil.runs.params import Benchmark
from focil.runs.sources import open_stream, order_of, sizes_of
from focil.search import DivergedError
from focil.studies.study import Checkpoint, Job, Study

PASSES = 1_000  # passes of an offline stream: more than any schedule has epochs


class Setting(NamedTuple):
    """What a job trains.

    epochs, lr: a task's, where the study compares several; None: as the params file says. tuning: on the
    development split, to choose a rate.
    """

    method: str
    network: str
    exemplars: int
    epochs: int | None = None
    lr: float | None = None
    tuning: bool = False

    def options(self, given: OfflineOptions) -> OfflineOptions:
        """How it trains: as the params file says, but for what this setting says."""
        own = {"epochs": self.epochs, "lr": self.lr}
        return given.model_copy(update={key: value for key, value in own.items() if value is not None})


class OnePass:
    """FOCIL among the offline methods: one pass, nothing stored between tasks."""

    def __init__(self, benchmark: Benchmark, stream: Stream):
        self.stream, self.done = stream, 0
        sizes, shape = sizes_of(stream.order), stream.data.image_shape
        kind, options = kind_of(benchmark.focil), benchmark.focil
        self.method = kind(
            benchmark.backbone, shape, len(sizes), sizes[0], stream.seed, options, benchmark.device
        )

    def learn(self, task: Task) -> None:
        """One pass."""
        self.method.learn(task)
        self.done += 1

    def evidence(self, images: Float[Tensor, "N C H W"]) -> dict[str, Evidence]:
        """As `Focil.evidence`."""
        return self.method.evidence(images)

    def memory(self) -> dict[str, int]:
        """As `Focil.memory`."""
        return self.method.memory()

    def published_memory(self) -> dict[str, int]:
        """The backbone's parameters; nothing is stored."""
        return {"networks": self.method.memory()["backbone"], "exemplars": 0}


def passes(benchmark: Benchmark, data: Dataset, sizes: list[int], setting: Setting) -> int:
    """Training images that a job will pass through its network, about.

    New ones and exemplars, in all epochs.
    """
    if setting.method == ONLINE:
        return len(data.x_train)
    per_class, options = len(data.x_train) / data.num_classes, setting.options(benchmark.offline.training)
    total, seen = 0.0, 0
    for task, classes in enumerate(sizes):
        old = seen * per_class
        kept = old if setting.method == "joint" else min(setting.exemplars, old)
        epochs = schedule(options.schedule, task == 0, options.lr, options.epochs).epochs
        total += epochs * (classes * per_class + kept)
        seen += classes
    return round(total)


def build(benchmark: Benchmark, data: Dataset, seed: int, setting: Setting) -> Offline:
    """A method before its first task, with its stream."""
    section, order = benchmark.offline, order_of(benchmark, data, seed)
    augmentation = Augmentation(benchmark.crop, benchmark.flip, section.brightness)
    stream = Stream(data, order, seed, passes=PASSES, augmentation=augmentation, device=benchmark.device)
    return OFFLINE[setting.method](
        setting.network,
        data.image_shape,
        sizes_of(order),
        seed,
        stream,
        setting.options(section.training),
        setting.exemplars,
        section.last_shared,
    )


def train(study: Study, job: Job, progress: Progress) -> dict:
    """Train an offline method over all tasks and return what a result says of it.

    A checkpoint lets it continue inside a task.
    """
    method = build(study.benchmark, study.data, job.seed, job.what)
    stages = Stages(method.stream)
    spent, checkpoint = Spent(progress), Checkpoint(study, job)

    def state() -> dict:
        took = {"seconds": spent.seconds, "images": spent.images}
        return {"method": method.state(), "stages": stages.state()} | took

    def take_up(found: dict) -> None:
        method.load(found["method"])
        stages.load(found["stages"])
        spent.go_on(found["images"], found["seconds"])

    checkpoint.go_on(take_up)
    method.stream.on_draw = spent.count
    for task in list(method.stream)[method.done :]:
        method.learn(task, lambda: checkpoint.write(state))
        stages.after(method)
        checkpoint.write(state)
    cka = {name: layers.cka_matrix(grams[name] for grams in method.grams) for name in method.grams[0]}
    about = {"layers": method.report, "seconds": spent.seconds, "images": spent.images, "cka": cka}
    return job.what._asdict() | stages.report() | about | {"made_on": checkpoint.made_on}


def untrained_likeness(benchmark: Benchmark, data: Dataset, network: str, count: int) -> dict[str, float]:
    """Block -> mean CKA between `count` networks of different seeds that learned nothing, on the images that
    trained ones are compared by: what likeness says by itself."""
    stream = Stream(data, order_of(benchmark, data, 0), 0)
    images = stream.spread_test_images(PROBES)
    grams = [
        layers.grams(
            dict(split.build(network, data.image_shape, seed, "").specialised.named_children()), images
        )
        for seed in range(count)
    ]
    matrices = {name: np.array(layers.cka_matrix(found[name] for found in grams)) for name in grams[0]}
    return {name: float(matrix[np.triu_indices(count, 1)].mean()) for name, matrix in matrices.items()}


def try_rate(study: Study, job: Job, tasks: int, progress: Progress) -> float:
    """Train an offline method on the development split, over the first tasks; returns its last accuracy, 0
    where training diverges."""
    method = build(study.benchmark, study.data.development(), job.seed, job.what)
    stages = Stages(method.stream)
    method.stream.on_draw = progress.advance
    try:
        for task in list(method.stream)[:tasks]:
            method.learn(task)
    except DivergedError:
        return 0.0
    stages.after(method)
    return stages.accuracy[-1]


def train_online(study: Study, job: Job, progress: Progress) -> tuple[OnePass, dict]:
    """Train FOCIL on the same tasks; returns it, and what a result says of it."""
    start, stream = time.perf_counter(), open_stream(study.benchmark, study.data, job.seed)
    stream.on_draw = progress.advance
    method, stages = OnePass(study.benchmark, stream), Stages(stream)
    for task in stream:
        method.learn(task)
        stages.after(method)
    seconds = time.perf_counter() - start
    about = {"layers": [], "cka": {}, "seconds": seconds, "images": len(study.data.x_train)}
    return method, job.what._asdict() | stages.report() | about


class Spent:
    """What a training has taken, of all starts together: images passed through the network, and seconds."""

    def __init__(self, progress: Progress):
        self.images = 0
        self._progress, self._before, self._start = progress, 0.0, time.perf_counter()

    @property
    def seconds(self) -> float:
        """Up to now."""
        return self._before + time.perf_counter() - self._start

    def count(self, images: int) -> None:
        """Note that images were passed through the network."""
        self.images += images
        self._progress.advance(images)

    def go_on(self, images: int, seconds: float) -> None:
        """Add what earlier starts have taken."""
        self.count(images)
        self._before = seconds
