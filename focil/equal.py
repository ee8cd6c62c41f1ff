"""The study of equal memory: every offline method at every budget, from the same images in the same order.

Budgets follow MEMO (Zhou et al. 2023, section 5): one method's networks and exemplars set the bytes, and the others may keep what fits in them.
"""

import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

from focil import layers, memory, metrics, split
from focil.benchmark import Benchmark, Point
from focil.datasets import Dataset
from focil.files import atomic_path
from focil.memory import Costs, Growth, Size
from focil.methods.der import Der
from focil.methods.finetune import Finetune
from focil.methods.icarl import Icarl
from focil.methods.joint import Joint
from focil.methods.memo import Memo
from focil.methods.offline import Offline
from focil.methods.replay import Replay
from focil.methods.wa import Wa
from focil.schedule import schedule
from focil.stages import OnePass, Stages
from focil.stream import Augmentation, Stream, class_order
from focil.studies import Job, Study, advance, load_data

METHODS: dict[str, type[Offline]] = {"finetune": Finetune, "replay": Replay, "icarl": Icarl, "wa": Wa, "der": Der, "memo": Memo, "joint": Joint}
GROWTH: dict[str, Growth] = {"der": "der", "memo": "memo"}  # the others have a single network
DISTILS = ("icarl", "wa")
BOUNDS = ("finetune", "joint", "focil")  # without a budget
SAVE_EVERY = 60  # seconds between checkpoints inside a task
NEARLY = 1.0  # points; what the verdict calls nearly identical


class Setting(NamedTuple):
    """What a job trains."""

    method: str
    network: str
    exemplars: int


class Equal(Study):
    """`settings` says who has what at each point; `finish` reads all of it together."""

    unit = "image"

    def __init__(self, out: str | Path, benchmark: Benchmark, seeds: list[int]):
        super().__init__(out, benchmark, seeds)
        self.sizes = [len(classes) for classes in order_of(benchmark, self.data, 0)]
        self.settings = {(m, number): self._setting(m, point) for number, point in enumerate(benchmark.memo.points) for m in self._methods(point)}

    def jobs(self) -> list[Job]:
        """One per seed and distinct setting, in the order of the methods."""
        distinct = dict.fromkeys(self.settings.values())
        return [Job(seed, "-".join(map(str, setting)), passes(self.benchmark, self.data, self.sizes, setting), setting) for setting in distinct for seed in self.seeds]

    def budgets(self) -> list[dict]:
        """By point: its bytes, and each method's network, exemplars and bytes by the published account.

        counted_exemplars: how many would fit after each task if everything were counted; None without a budget.
        """
        image, tasks = self.data.x_train[0].nbytes, len(self.sizes)
        found = []
        for number, point in enumerate(self.benchmark.memo.points):
            settings = {method: self.settings[method, number] for method in self._methods(point)}
            found.append(
                {
                    "budget": None if point.anchor == "each" else self._budget(point),
                    "methods": {
                        method: s._asdict()
                        | {
                            "bytes": memory.model_bytes(growth(method), self._costs(s.network).size, tasks) + s.exemplars * image,
                            "counted_exemplars": self._counted(method, s, point),
                        }
                        for method, s in settings.items()
                        if method != "focil"  # has an account of its own
                    },
                }
            )
        return found

    def finish(self) -> dict:
        """All numbers, written to result.json. Raises StudyError while trainings are missing."""
        found: dict[str, list[dict]] = {}
        for job in self.jobs():
            if (content := self.read(job)) is not None:
                found.setdefault(job.name, []).append({key: value for key, value in content.items() if key != "identity"})
        names = {key: "-".join(map(str, setting)) for key, setting in self.settings.items()}
        points = [budget | {"runs": {m: name for (m, n), name in names.items() if n == number}} for number, budget in enumerate(self.budgets())]
        image, whole = self.data.x_train[0].nbytes, self._costs(self.benchmark.memo.network).size.whole
        about = {"image_bytes": image, "exemplars_of_a_network": memory.in_exemplars(memory.FLOAT * whole, image), "sizes": self.sizes}
        return self.write(about | {"points": points, "runs": found})

    def _methods(self, point: Point) -> list[str]:
        return [method for method in self.benchmark.memo.methods if point.methods is None or method in point.methods]

    def _setting(self, method: str, point: Point) -> Setting:
        if method == "focil":
            return Setting(method, self.benchmark.backbone, 0)
        if method in BOUNDS:
            return Setting(method, self.benchmark.memo.network, 0)
        network = point.network if method in GROWTH else self.benchmark.memo.network
        if point.anchor == "each":
            return Setting(method, network, point.exemplars)
        image, tasks = self.data.x_train[0].nbytes, len(self.sizes)
        return Setting(method, network, memory.exemplars_within(self._budget(point), growth(method), self._costs(network).size, tasks, image))

    def _budget(self, point: Point) -> int:
        network = point.network if point.anchor == "der" else self.benchmark.memo.network
        return memory.budget_of(point.anchor, self._costs(network).size, len(self.sizes), point.exemplars, self.data.x_train[0].nbytes)

    def _counted(self, method: str, setting: Setting, point: Point) -> list[int] | None:
        if point.anchor == "each" or method in BOUNDS:
            return None
        seen = list(itertools.accumulate(self.sizes))
        image = self.data.x_train[0].nbytes
        return memory.counted_exemplars(self._budget(point), growth(method), self._costs(setting.network), seen, image, method in DISTILS)

    def _costs(self, network: str) -> Costs:
        parts = split.build(network, self.data.image_shape, 0, self.benchmark.memo.last_shared)
        size = Size(split.parameters(parts.generalized), split.parameters(parts.specialised))
        buffers = [sum(buffer.nbytes for buffer in part.buffers()) for part in (parts.generalized, parts.specialised)]
        return Costs(size, *buffers, parts.features)


def growth(method: str) -> Growth:
    """How a method's networks grow with the tasks."""
    return GROWTH.get(method, "single")


def order_of(benchmark: Benchmark, data: Dataset, seed: int) -> Any:
    """Class ids task by task."""
    return class_order(data, benchmark.tasks, seed, benchmark.class_order, benchmark.memo.first_classes)


def passes(benchmark: Benchmark, data: Dataset, sizes: list[int], setting: Setting) -> int:
    """Training images that a job will pass through its network, about: new ones and exemplars, in all epochs."""
    per_class, options = len(data.x_train) / data.num_classes, benchmark.memo.training
    if setting.method == "focil":
        return len(data.x_train)
    total, seen = 0.0, 0
    for task, classes in enumerate(sizes):
        kept = seen * per_class if setting.method == "joint" else min(setting.exemplars, seen * per_class)
        epochs = schedule(options.schedule, task == 0, options.lr, options.cpu_epochs).epochs
        total += epochs * (classes * per_class + kept)
        seen += classes
    return round(total)


def train_online(benchmark: Benchmark, data: Dataset, job: Job) -> dict:
    """FOCIL on the same tasks: one pass, nothing stored between them."""
    stream = Stream(
        data,
        order_of(benchmark, data, job.seed),
        job.seed,
        batch_size=benchmark.batch_size,
        augmentation=Augmentation(benchmark.crop, benchmark.flip),
        hold=benchmark.held_batches,
        device=benchmark.device,
    )
    stream.on_draw = advance
    method, stages, start = OnePass(benchmark, stream), Stages(stream), time.perf_counter()
    for task in stream:
        method.learn(task)
        stages.after(method)
    return job.what._asdict() | stages.report(0) | {"layers": [], "cka": {}, "seconds": time.perf_counter() - start}


def build(benchmark: Benchmark, data: Dataset, seed: int, setting: Setting) -> Offline:
    """A method before its first task, with its stream."""
    memo, order = benchmark.memo, order_of(benchmark, data, seed)
    stream = Stream(
        data,
        order,
        seed,
        passes=1_000,  # offline: as many as the schedule asks for
        augmentation=Augmentation(benchmark.crop, benchmark.flip, memo.brightness),
        device=benchmark.device,
    )
    sizes = [len(classes) for classes in order]
    return METHODS[setting.method](setting.network, data.image_shape, sizes, seed, stream, memo.training, setting.exemplars, memo.last_shared)


def train(benchmark: Benchmark, job: Job, path: Path) -> dict:
    """Train one method over all tasks and return what a result says of it; a checkpoint beside `path` lets it continue inside a task."""
    data = load_data(benchmark)
    if job.what.method == "focil":
        return train_online(benchmark, data, job)
    method = build(benchmark, data, job.seed, job.what)
    checkpoint, stages = path.with_suffix(".pt"), Stages(method.stream)
    seconds = {"before": 0.0, "start": time.perf_counter(), "saved": time.perf_counter()}
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True, map_location="cpu")
        method.load(state["method"])
        stages.__dict__.update(state["stages"])
        seconds["before"] = state["seconds"]
        advance(round(job.size * state["share"]))
    seen = [0]

    def count(images: int) -> None:
        seen[0] += images
        advance(images)

    def save(always: bool = False) -> None:
        if not always and time.perf_counter() < seconds["saved"] + SAVE_EVERY:
            return
        seconds["saved"] = time.perf_counter()
        spent = seconds["before"] + seconds["saved"] - seconds["start"]
        content = {"method": method.state(), "stages": stages.state(), "seconds": spent, "share": min(1.0, seen[0] / job.size)}
        with atomic_path(checkpoint) as part:
            torch.save(content, part)

    method.stream.on_draw = count
    for task in list(method.stream)[method.done :]:
        method.learn(task, save)
        stages.after(method)
        save()
    checkpoint.unlink(missing_ok=True)
    found = job.what._asdict() | stages.report(len(method.exemplars)) | {"layers": method.report, "seconds": seconds["before"] + time.perf_counter() - seconds["start"]}
    names = list(method.grams[0])
    return found | {"cka": {name: layers.cka_matrix(grams[name] for grams in method.grams) for name in names}}


Equal.worker = staticmethod(train)


def curves(result: dict) -> Iterator[tuple[str, list[float], list[list[float]], list[list[float]]]]:
    """(method, bytes of each point, average and last accuracy of each seed at each point), for methods with a budget."""
    for method in result["benchmark"]["memo"]["methods"]:
        if method not in BOUNDS:
            points = [point for point in result["points"] if method in point["runs"]]
            runs = [result["runs"][point["runs"][method]] for point in points]
            used = [point["methods"][method]["bytes"] for point in points]
            yield method, used, [[run["average"] for run in seeds] for seeds in runs], [[run["last"] for run in seeds] for seeds in runs]


def areas(result: dict) -> Iterator[str]:
    """The area under average and last accuracy over MiB, a line a method; only where it has several budgets."""
    for method, used, average, last in curves(result):
        if len(used) > 1:
            order = sorted(range(len(used)), key=used.__getitem__)
            mib = [used[i] / memory.MIB for i in order]
            found = [memory.auc(mib, [sum(values[i]) / len(values[i]) for i in order]) for values in (average, last)]
            yield f"{method:10} AUC-A {found[0]:6.2f}  AUC-L {found[1]:6.2f}  ({len(used)} budgets, {mib[0]:.1f} to {mib[-1]:.1f} MiB)"


def table(result: dict) -> list[str]:
    """One line a run: last and average accuracy by `sample`, and last by `oracle`, in %, with 95 % intervals over seeds."""

    def words(values: list[float]) -> str:
        mean, half = metrics.mean_interval(values)
        return f"{100 * mean:5.1f}" + ("" if half is None else f" +- {100 * half:4.1f}")

    lines = []
    for name, reports in result["runs"].items():
        oracle = words([report["oracle"]["final_average"] for report in reports])
        last, average = (words([report[which] for report in reports]) for which in ("last", "average"))
        lines.append(f"  {name:24} last {last} %, average {average} %, oracle {oracle} %, stored {reports[0]['stored']:5}, n = {len(reports)}")
    return lines


def verdict(result: dict) -> Iterator[str]:
    """By point: MEMO, which saves parts of models, less each method that saves only exemplars, paired by seed, and what follows."""
    for point in result["points"]:
        runs = {method: result["runs"][name] for method, name in point["runs"].items()}
        most = max(entry["exemplars"] for entry in point["methods"].values())
        budget = f"{most} exemplars each, whatever the networks take" if point["budget"] is None else f"{point['budget'] / memory.MIB:.1f} MiB each"
        for other in ("replay", "icarl", "wa", "der"):
            if "memo" in runs and other in runs:
                gaps = [100 * (mine["last"] - theirs["last"]) for mine, theirs in zip(runs["memo"], runs[other], strict=True)]
                mean, half = metrics.mean_interval(gaps)
                yield f"{budget}: MEMO less {other}, last accuracy: {mean:+.1f}" + ("" if half is None else f" +- {half:.1f}") + f" points: {_meaning(mean, half)}"


def _meaning(mean: float, half: float | None) -> str:
    if abs(mean) <= NEARLY:
        return "nearly identical"
    if half is not None and abs(mean) <= half:
        return "no difference beyond the interval"
    return ("MEMO is better" if mean > 0 else "MEMO is worse") + ("" if half is not None else " (one seed)")
