"""The study of memory: offline methods at equal memory, every one at every budget, and what follows from it.

Budgets follow MEMO (Zhou et al. 2023, section 5): one method's networks and exemplars set the bytes, and the
others may keep what fits in them.
"""

import itertools
from pathlib import Path
from statistics import mean

from focil.engine.worker import Progress
from focil.memo import account, split
from focil.memo.account import Costs, Size
from focil.memo.exemplars import Exemplars
from focil.memo.table import OFFLINE, ONLINE, has_budget
from focil.runs.params import Benchmark
from focil.runs.results import shortened
from focil.runs.sections import Point
from focil.runs.sources import order_of, sizes_of
from focil.studies import training
from focil.studies.study import Job, StudyError
from focil.studies.training import Setting
from focil.studies.tuned import TunedStudy


class Memory(TunedStudy):
    """`settings` says who has what, by method, point and number of epochs; `finish` reads all of it together.

    Where `rates` are named, trials choose one for all methods.
    """

    unit = "image"

    def __init__(self, out: str | Path, benchmark: Benchmark, seeds: list[int]):
        super().__init__(out, benchmark, seeds)
        self.sizes = sizes_of(order_of(benchmark, self.data, 0))
        if ONLINE in benchmark.memory.methods and len(set(self.sizes)) > 1:
            raise StudyError(
                f"focil has tasks of one size, but these have {self.sizes} classes; leave focil out of "
                "`methods`, or first_classes out"
            )
        self.settings: dict[tuple[str, int, int | None], Setting] = {
            (method, number, epochs): self._setting(method, point, epochs)
            for epochs in benchmark.memory.epochs or (None,)
            for number, point in enumerate(benchmark.memory.points)
            for method in self._methods(point, epochs)
        }

    def run(self) -> None:
        """As `TunedStudy.run`.

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

    def trials(self) -> list[Job]:
        """One for each rate and each method that has a budget, at the first point, with the first seed."""
        section = self.benchmark.memory
        if not section.rates:
            return []
        tasks, shortest = min(section.tuning_tasks, len(self.sizes)), min(section.epochs, default=None)
        tried = {
            method: setting._replace(epochs=shortest)
            for (method, number, _), setting in self.settings.items()
            if number == 0 and has_budget(method)
        }
        found = []
        for setting in tried.values():
            size = training.passes(self.benchmark, self.data, self.sizes[:tasks], setting)
            for rate in section.rates:
                name = f"{_name(setting)}-trial-{rate:g}"
                found.append(Job(self.seeds[0], name, size, setting._replace(lr=rate, tuning=True)))
        return found

    def finals(self) -> list[Job]:
        """One per seed and distinct setting, in the order of epochs, points and methods."""
        section, chosen, found = self.benchmark.memory, self.chosen(), []
        for setting in dict.fromkeys(self.settings.values()):
            size = training.passes(self.benchmark, self.data, self.sizes, setting)
            once, epochs = section.one_seed_from, setting.epochs or 0
            seeds = self.seeds[:1] if once and epochs >= once else self.seeds
            rate = section.rate_after.get(epochs, chosen)
            what = setting if setting.method == ONLINE else setting._replace(lr=rate)
            found += [Job(seed, _name(setting), size, what) for seed in seeds]
        return found

    def chosen(self) -> float | None:
        """The rate with the best mean over methods; None where there is nothing to choose."""
        by_rate: dict[float, list[float]] = {}
        for trial in self.tried():
            by_rate.setdefault(trial["lr"], []).append(trial["last"])
        return max(by_rate, key=lambda rate: mean(by_rate[rate]), default=None)

    def tried(self) -> list[dict]:
        """Every trial that has ended: method, rate, and last accuracy on the development split."""
        found = [(job.what, self.read(job)) for job in self.trials()]
        return [
            {"method": what.method, "lr": what.lr, "last": content["last"]}
            for what, content in found
            if content
        ]

    def read(self, job: Job) -> dict | None:
        """As `Study.read`; what was trained with another rate than is chosen now is not there."""
        content = super().read(job)
        return content if content and content.get("lr") == job.what.lr else None

    def train(self, job: Job, progress: Progress) -> dict:
        """Train one method, over all tasks unless it is a trial."""
        if job.what.tuning:
            last = training.try_rate(self, job, self.benchmark.memory.tuning_tasks, progress)
            return {"lr": job.what.lr, "last": last}
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
            methods = {
                method: self._entry(setting, point)
                for (method, n, _), setting in self.settings.items()
                if n == number and method != ONLINE  # FOCIL's budget is its own
            }
            budget = None if point.anchor == "each" else self._budget(point)
            found.append({"budget": budget, "methods": methods})
        return found

    def finish(self) -> dict:
        """All numbers, written to result.json. Raises StudyError while trainings are missing.

        runs of a point: method -> its training; of several numbers of epochs the largest one after which most
        of those with a budget are there. by_epochs: the same for each number.
        """
        found: dict[str, list[dict]] = {}
        for job in self.jobs():
            if not job.what.tuning and (content := self.read(job)) is not None:
                content.pop("identity")
                found.setdefault(job.name, []).append(content)
        points = self.budgets()
        for number, point in enumerate(points):
            by_epochs: dict[str, dict[str, str]] = {}
            for (method, n, epochs), setting in self.settings.items():
                if n == number:
                    by_epochs.setdefault(str(epochs), {})[method] = _name(setting)
            rivals = {epochs: sum(map(has_budget, runs)) for epochs, runs in by_epochs.items()}
            *_, longest = (n for n, count in rivals.items() if count == max(rivals.values()))
            point["runs"] = by_epochs[longest]
            if self.benchmark.memory.epochs:
                point["by_epochs"] = by_epochs
        order = order_of(self.benchmark, self.data, self.seeds[0])
        image, whole = self._image_bytes, self._costs(self.benchmark.memory.network).size.whole
        about = {
            "image_bytes": image,
            "exemplars_of_a_network": account.in_exemplars(account.FLOAT * whole, image),
            "sizes": self.sizes,
            "classes": [self.data.classes[label] for task in order for label in task],  # of the first seed
        }
        about["untrained"] = {
            point.network: training.untrained_likeness(
                self.benchmark, self.data, point.network, len(self.sizes)
            )
            for point in self.benchmark.memory.points
        }
        if self.benchmark.memory.rates:
            about |= {"trials": self.tried(), "chosen": self.chosen()}
        return self.write(about | {"points": points, "runs": shortened(found)})

    @property
    def _image_bytes(self) -> int:
        return self.data.x_train[0].nbytes

    def _entry(self, setting: Setting, point: Point) -> dict:
        size, tasks = self._costs(setting.network).size, len(self.sizes)
        networks = account.model_bytes(OFFLINE[setting.method].growth, size, tasks)
        return {
            "method": setting.method,
            "network": setting.network,
            "exemplars": setting.exemplars,
            "bytes": networks + setting.exemplars * self._image_bytes,
            "counted_exemplars": self._counted(setting.method, setting, point),
        }

    def _methods(self, point: Point, epochs: int | None) -> list[str]:
        section = self.benchmark.memory
        allowed = set(point.methods or section.methods) & set(section.only.get(epochs, section.methods))
        return [method for method in section.methods if method in allowed]

    def _setting(self, method: str, point: Point, epochs: int | None) -> Setting:
        if method == ONLINE:
            return Setting(method, self.benchmark.backbone, 0)
        if not has_budget(method):
            return Setting(method, self.benchmark.memory.network, 0, epochs)
        network = point.network if OFFLINE[method].growth != "single" else self.benchmark.memory.network
        if point.anchor == "each":
            return Setting(method, network, point.exemplars, epochs)
        growth, size = OFFLINE[method].growth, self._costs(network).size
        fit = account.exemplars_within(self._budget(point), growth, size, len(self.sizes), self._image_bytes)
        return Setting(method, network, fit, epochs)

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


def _name(setting: Setting) -> str:
    name = f"{setting.method}-{setting.network}-{setting.exemplars}"
    return name if setting.epochs is None else f"{name}-{setting.epochs}-epochs"
