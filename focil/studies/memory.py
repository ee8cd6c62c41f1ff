"""The study of memory: offline methods at equal memory, every one at every budget, and what follows from it.

Budgets follow MEMO (Zhou et al. 2023, section 5): one method's networks and exemplars set the bytes, and the
others may keep what fits in them.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path

from focil.base import words
from focil.engine.worker import Progress
from focil.evaluation.metrics import mean_interval
from focil.memo import account, split
from focil.memo.account import Costs, Size
from focil.memo.exemplars import Exemplars
from focil.memo.table import OFFLINE, ONLINE, has_budget
from focil.runs.params import Benchmark
from focil.runs.results import shortened
from focil.runs.sections import Point
from focil.runs.sources import order_of, sizes_of
from focil.studies import training
from focil.studies.study import Job, Study, StudyError
from focil.studies.training import Setting

NEARLY = 1.0  # points; what is called nearly identical


class Memory(Study):
    """`settings` says who has what at each point; `finish` reads all of it together."""

    unit = "image"

    def __init__(self, out: str | Path, benchmark: Benchmark, seeds: list[int]):
        super().__init__(out, benchmark, seeds)
        self.sizes = sizes_of(order_of(benchmark, self.data, 0))
        if ONLINE in benchmark.memory.methods and len(set(self.sizes)) > 1:
            raise StudyError(
                f"focil has tasks of one size, but these have {self.sizes} classes; leave focil out of "
                "`methods`, or first_classes out"
            )
        self.settings = {
            (method, number): self._setting(method, point)
            for number, point in enumerate(benchmark.memory.points)
            for method in self._methods(point)
        }

    def run(self) -> None:
        """As `Study.run`.

        Raises ExemplarError or StudyError for exemplars that cannot be kept, before anything is trained.
        """
        for setting in self.settings.values():
            Exemplars(setting.exemplars, sum(self.sizes), len(self.data.x_train))
            if setting.method == "icarl" and not setting.exemplars:
                raise StudyError(
                    "icarl answers by its exemplars, and in this budget there is none for it; raise the "
                    "budget, or leave icarl out"
                )
        super().run()

    def jobs(self) -> list[Job]:
        """One per seed and distinct setting, in the order of the methods."""
        return [
            Job(
                seed, _name(setting), training.passes(self.benchmark, self.data, self.sizes, setting), setting
            )
            for setting in dict.fromkeys(self.settings.values())
            for seed in self.seeds
        ]

    def train(self, job: Job, progress: Progress) -> dict:
        """Train one method over all tasks."""
        if job.what.method == ONLINE:
            return training.train_online(self, job, progress)[1]
        return training.train(self, job, progress)

    def budgets(self) -> list[dict]:
        """By point: its bytes, and each method's network, exemplars and bytes by the published account.

        counted_exemplars: how many would fit after each task if everything were counted; None without a
        budget.
        """
        found = []
        for number, point in enumerate(self.benchmark.memory.points):
            settings = {method: self.settings[method, number] for method in self._methods(point)}
            methods = {
                m: self._entry(m, s, point) for m, s in settings.items() if m != ONLINE
            }  # FOCIL's is its own
            found.append(
                {"budget": None if point.anchor == "each" else self._budget(point), "methods": methods}
            )
        return found

    def finish(self) -> dict:
        """All numbers, written to result.json. Raises StudyError while trainings are missing."""
        found: dict[str, list[dict]] = {}
        for job in self.jobs():
            if (content := self.read(job)) is not None:
                content.pop("identity")
                found.setdefault(job.name, []).append(content)
        points = self.budgets()
        for number, point in enumerate(points):
            point["runs"] = {m: _name(setting) for (m, n), setting in self.settings.items() if n == number}
        image, whole = self._image_bytes, self._costs(self.benchmark.memory.network).size.whole
        about = {
            "image_bytes": image,
            "exemplars_of_a_network": account.in_exemplars(account.FLOAT * whole, image),
            "sizes": self.sizes,
        }
        return self.write(about | {"points": points, "runs": shortened(found)})

    @property
    def _image_bytes(self) -> int:
        return self.data.x_train[0].nbytes

    def _entry(self, method: str, setting: Setting, point: Point) -> dict:
        size, tasks = self._costs(setting.network).size, len(self.sizes)
        networks = account.model_bytes(OFFLINE[method].growth, size, tasks)
        return setting._asdict() | {
            "bytes": networks + setting.exemplars * self._image_bytes,
            "counted_exemplars": self._counted(method, setting, point),
        }

    def _methods(self, point: Point) -> list[str]:
        chosen = self.benchmark.memory.methods
        return [method for method in chosen if point.methods is None or method in point.methods]

    def _setting(self, method: str, point: Point) -> Setting:
        if method == ONLINE:
            return Setting(method, self.benchmark.backbone, 0)
        if not has_budget(method):
            return Setting(method, self.benchmark.memory.network, 0)
        network = point.network if OFFLINE[method].growth != "single" else self.benchmark.memory.network
        if point.anchor == "each":
            return Setting(method, network, point.exemplars)
        growth, size = OFFLINE[method].growth, self._costs(network).size
        fit = account.exemplars_within(self._budget(point), growth, size, len(self.sizes), self._image_bytes)
        return Setting(method, network, fit)

    def _budget(self, point: Point) -> int:
        network = point.network if point.anchor == "der" else self.benchmark.memory.network
        size = self._costs(network).size
        return account.budget_of(point.anchor, size, len(self.sizes), point.exemplars, self._image_bytes)

    def _counted(self, method: str, setting: Setting, point: Point) -> list[int] | None:
        if point.anchor == "each" or not has_budget(method):
            return None
        seen, kind = list(itertools.accumulate(self.sizes)), OFFLINE[method]
        costs, budget = self._costs(setting.network), self._budget(point)
        return account.counted_exemplars(budget, kind.growth, costs, seen, self._image_bytes, kind.distils)

    def _costs(self, network: str) -> Costs:
        parts = split.build(network, self.data.image_shape, 0, self.benchmark.memory.last_shared)
        size = Size(split.parameters(parts.generalized), split.parameters(parts.specialised))
        buffers = [
            sum(buffer.nbytes for buffer in part.buffers()) for part in (parts.generalized, parts.specialised)
        ]
        return Costs(size, *buffers, parts.feature_size)


def curves(result: dict) -> Iterator[tuple[str, list[float], list[list[float]], list[list[float]]]]:
    """(method, bytes of each point, average and last accuracy of each seed at each point), for methods
    with a budget."""
    for method in Benchmark.recorded(result["benchmark"]).memory.methods:
        if has_budget(method):
            points = [point for point in result["points"] if method in point["runs"]]
            runs = [result["runs"][point["runs"][method]] for point in points]
            used = [point["methods"][method]["bytes"] for point in points]
            average, last = (
                [[run[which] for run in seeds] for seeds in runs] for which in ("average", "last")
            )
            yield method, used, average, last


def areas(result: dict) -> Iterator[str]:
    """The area under average and last accuracy over MiB, a line a method.

    Only where it has several budgets.
    """
    for method, used, average, last in curves(result):
        if len(used) > 1:
            order = sorted(range(len(used)), key=used.__getitem__)
            mib = [used[i] / account.MIB for i in order]
            found = [
                account.auc(mib, [sum(values[i]) / len(values[i]) for i in order])
                for values in (average, last)
            ]
            yield (
                f"{method:10} AUC-A {found[0]:6.2f}  AUC-L {found[1]:6.2f}  ({len(used)} budgets, "
                f"{mib[0]:.1f} to {mib[-1]:.1f} MiB)"
            )


def verdict(result: dict) -> Iterator[str]:
    """By point: MEMO, which saves parts of models, less each method that saves only exemplars, paired by
    seed, and what follows."""
    for point in result["points"]:
        runs = {method: result["runs"][name] for method, name in point["runs"].items()}
        most = max(entry["exemplars"] for entry in point["methods"].values())
        if point["budget"] is None:
            budget = f"{most} exemplars each, whatever the networks take"
        else:
            budget = f"{point['budget'] / account.MIB:.1f} MiB each"
        for other in ("replay", "icarl", "wa", "der"):
            if "memo" in runs and other in runs:
                pairs = zip(runs["memo"], runs[other], strict=True)
                mean, half = mean_interval([mine["last"] - theirs["last"] for mine, theirs in pairs])
                gap = words.in_percent(mean, half, signed=True)
                yield f"{budget}: MEMO less {other}, last accuracy: {gap} points: {_meaning(mean, half)}"


def _name(setting: Setting) -> str:
    return "-".join(map(str, setting))


def _meaning(mean: float, half: float | None) -> str:
    if 100 * (abs(mean) + (half or 0)) <= NEARLY:
        return "nearly identical"
    if half is not None and abs(mean) <= half:
        return "no difference beyond the interval"
    return ("MEMO is better" if mean > 0 else "MEMO is worse") + ("" if half is not None else " (one seed)")
