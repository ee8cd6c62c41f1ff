"""The study of equal memory: every offline method at every budget, from the same images in the same order.

Budgets follow MEMO (Zhou et al. 2023, section 5): one method's networks and exemplars set the bytes, and the others may keep what fits in them.
"""

import itertools
from pathlib import Path

from focil import memory, offline_runs, split
from focil.benchmark import Benchmark, Point
from focil.exemplars import Exemplars
from focil.memory import Costs, Size
from focil.methods.table import OFFLINE, ONLINE, has_budget
from focil.offline_runs import Setting
from focil.results import shortened
from focil.sources import order_of, sizes_of
from focil.studies import Job, Study, StudyError


class Equal(Study):
    """`settings` says who has what at each point; `finish` reads all of it together."""

    unit = "image"
    worker = staticmethod(offline_runs.train)

    def __init__(self, out: str | Path, benchmark: Benchmark, seeds: list[int]):
        super().__init__(out, benchmark, seeds)
        self.sizes = sizes_of(order_of(benchmark, self.data, 0))
        if ONLINE in benchmark.memo.methods and len(set(self.sizes)) > 1:
            raise StudyError(f"focil has tasks of one size, but these have {self.sizes} classes; leave focil out of `methods`, or first_classes out")
        self.settings = {(m, number): self._setting(m, point) for number, point in enumerate(benchmark.memo.points) for m in self._methods(point)}

    def run(self) -> None:
        """As `Study.run`. Raises ExemplarError or StudyError for exemplars that cannot be kept, before anything is trained."""
        for setting in self.settings.values():
            Exemplars(setting.exemplars, sum(self.sizes), len(self.data.x_train))
            if setting.method == "icarl" and not setting.exemplars:
                raise StudyError("icarl answers by its exemplars, and in this budget there is none for it; raise the budget, or leave icarl out")
        super().run()

    def jobs(self) -> list[Job]:
        """One per seed and distinct setting, in the order of the methods."""
        distinct = dict.fromkeys(self.settings.values())
        return [Job(seed, "-".join(map(str, setting)), offline_runs.passes(self.benchmark, self.data, self.sizes, setting), setting) for setting in distinct for seed in self.seeds]

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
                            "bytes": memory.model_bytes(OFFLINE[method].growth, self._costs(s.network).size, tasks) + s.exemplars * image,
                            "counted_exemplars": self._counted(method, s, point),
                        }
                        for method, s in settings.items()
                        if method != ONLINE  # has an account of its own
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
        return self.write(about | {"points": points, "runs": shortened(found)})

    def _methods(self, point: Point) -> list[str]:
        return [method for method in self.benchmark.memo.methods if point.methods is None or method in point.methods]

    def _setting(self, method: str, point: Point) -> Setting:
        if method == ONLINE:
            return Setting(method, self.benchmark.backbone, 0)
        if not has_budget(method):
            return Setting(method, self.benchmark.memo.network, 0)
        network = point.network if OFFLINE[method].growth != "single" else self.benchmark.memo.network
        if point.anchor == "each":
            return Setting(method, network, point.exemplars)
        image, tasks = self.data.x_train[0].nbytes, len(self.sizes)
        return Setting(method, network, memory.exemplars_within(self._budget(point), OFFLINE[method].growth, self._costs(network).size, tasks, image))

    def _budget(self, point: Point) -> int:
        network = point.network if point.anchor == "der" else self.benchmark.memo.network
        return memory.budget_of(point.anchor, self._costs(network).size, len(self.sizes), point.exemplars, self.data.x_train[0].nbytes)

    def _counted(self, method: str, setting: Setting, point: Point) -> list[int] | None:
        if point.anchor == "each" or not has_budget(method):
            return None
        seen = list(itertools.accumulate(self.sizes))
        image = self.data.x_train[0].nbytes
        return memory.counted_exemplars(self._budget(point), OFFLINE[method].growth, self._costs(setting.network), seen, image, OFFLINE[method].distils)

    def _costs(self, network: str) -> Costs:
        parts = split.build(network, self.data.image_shape, 0, self.benchmark.memo.last_shared)
        size = Size(split.parameters(parts.generalized), split.parameters(parts.specialised))
        buffers = [sum(buffer.nbytes for buffer in part.buffers()) for part in (parts.generalized, parts.specialised)]
        return Costs(size, *buffers, parts.features)
