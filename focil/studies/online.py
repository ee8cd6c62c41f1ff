"""The study of online methods: what others reach on the very stream that FOCIL learns, at counted bytes.

Options of every method are chosen first, on the development split and with the same number of trials for
all; then each is run with what was chosen, at every memory and with every seed, on the real test images.
"""

import itertools
from statistics import mean
from typing import Any, NamedTuple

from focil.engine.worker import Progress
from focil.online.buffer import Buffer
from focil.online.table import ONLINE
from focil.runs.params import Benchmark
from focil.runs.params_files import FOCIL, changed_by
from focil.runs.results import shortened
from focil.search import DivergedError
from focil.studies.one_pass import Pass
from focil.studies.study import Checkpoint, Job, StudyError
from focil.studies.tuned import TunedStudy


class Setting(NamedTuple):
    """What a job trains.

    options: what differs from the method's defaults, as (name, value). tuning: on the development split, to
    choose options.
    """

    method: str
    exemplars: int
    options: tuple[tuple[str, Any], ...] = ()
    tuning: bool = False


class OnlineStudy(TunedStudy):
    """Online methods on one stream, each with the options that were best in its trials."""

    unit = "image"

    def run(self) -> None:
        """As `TunedStudy.run`.

        Raises BufferError for images that cannot be stored, before anything is trained.
        """
        for exemplars in self.section.exemplars:
            Buffer(exemplars, self.data.num_classes, len(self.data.x_train), (1, 1, 1))
        super().run()

    @property
    def section(self) -> Any:
        """What the params file says under `online:`."""
        return self.benchmark.online

    def trials(self) -> list[Job]:
        """One for each combination of a method's choices and each tuning seed, at the middle one of the
        memories."""
        tasks = self.section.tuning_tasks or self.benchmark.tasks
        size = len(self.data.x_train) * tasks // self.benchmark.tasks
        middle = sorted(self.section.exemplars)[len(self.section.exemplars) // 2]
        return [
            Job(
                seed,
                f"{_name(method, middle)}-trial-{number}",
                size,
                Setting(method, middle if stores(method) else 0, options, tuning=True),
            )
            for method in self.section.methods
            for number, options in enumerate(combinations(method))
            for seed in range(self.section.tuning_seeds)
        ]

    def finals(self) -> list[Job]:
        """One for each seed, method and memory, with the options that were chosen."""
        chosen = {method: tuple(options.items()) for method, options in self.chosen().items()}
        return [
            Job(
                seed,
                _name(method, exemplars),
                len(self.data.x_train),
                Setting(method, exemplars, chosen[method]),
            )
            for method in self.section.methods
            for exemplars in (self.section.exemplars if stores(method) else (0,))
            for seed in (self.seeds[:1] if method in self.section.heavy else self.seeds)
        ]

    def chosen(self) -> dict[str, dict[str, Any]]:
        """Method -> the options of its best trial; empty where there is nothing to choose."""
        best: dict[str, dict] = {}
        for trial in self.tried():
            if trial["sample"] > best.get(trial["method"], {"sample": -1})["sample"]:
                best[trial["method"]] = trial
        return {method: best[method]["options"] if method in best else {} for method in self.section.methods}

    def tried(self) -> list[dict]:
        """Every trial that has ended: method, options, and final average by `sample`, 0 where it diverged,
        over the tuning seeds."""
        found: dict[Setting, list[float]] = {}
        for job in self.trials():
            if (content := self.read(job)) is not None:
                found.setdefault(job.what, []).append(content["sample"])
        return [
            {"method": setting.method, "options": dict(setting.options), "sample": mean(shares)}
            for setting, shares in found.items()
        ]

    def read(self, job: Job) -> dict | None:
        """As `Study.read`; what was trained with other options than are chosen now is not there."""
        content = super().read(job)
        return content if content and content["options"] == dict(job.what.options) else None

    def train(self, job: Job, progress: Progress) -> dict:
        """Do one training, trial or not."""
        setting = job.what
        data = self.data.development() if setting.tuning else self.data
        benchmark = _benchmark(self.benchmark, setting)
        passed = Pass(benchmark, data, job.seed, self.section.tuning_tasks if setting.tuning else None)
        passed.stream.on_draw = progress.advance
        if setting.tuning:
            return {"options": dict(setting.options), "sample": _tried(passed)}
        checkpoint, tasks = Checkpoint(self, job), list(passed.stream)
        checkpoint.go_on(passed.load)
        progress.advance(sum(task.size for task in tasks[: passed.done]))
        for task in tasks[passed.done :]:
            try:
                passed.learn(task)
            except DivergedError as error:
                raise StudyError(
                    f"{error}. That rate was best in the trials, but seed {job.seed} does not bear it: set "
                    "online.tuning_seeds higher, or leave the method out of online.methods"
                ) from None
            passed.judge(task.index)
            checkpoint.write(passed.state)
        title = "FOCIL" if setting.method == FOCIL else ONLINE[setting.method].title
        about = {"seed": job.seed, "options": dict(setting.options)}
        about |= {"method": setting.method, "title": title, "exemplars": setting.exemplars}
        return about | passed.numbers() | {"made_on": checkpoint.made_on}

    def finish(self) -> dict:
        """All numbers, written to result.json. Raises StudyError while trainings are missing."""
        found: dict[str, list[dict]] = {}
        for job in self.jobs():
            if not job.what.tuning and (content := self.read(job)) is not None:
                content.pop("identity")
                content["accuracy"] = {name: _told(rows) for name, rows in content["accuracy"].items()}
                found.setdefault(job.name, []).append(content)
        sizes = {"training_set": self.data.x_train.nbytes, "image": self.data.x_train[0].nbytes}
        about = {"trials": self.tried(), "chosen": self.chosen(), "data_bytes": sizes}
        return self.write(about | {"runs": shortened(found)})


def stores(method: str) -> bool:
    """Whether a method keeps images of the stream."""
    return method != FOCIL and "exemplars" in ONLINE[method].options_of.model_fields


def combinations(method: str) -> list[tuple[tuple[str, Any], ...]]:
    """The trials of a method: every combination of its choices. FOCIL has none: it searches in its pass."""
    choices = {} if method == FOCIL else ONLINE[method].choices
    rows = itertools.product(*choices.values())
    return [tuple(zip(choices, row, strict=True)) for row in rows] if choices else []


def _tried(passed: Pass) -> float:
    """Final average by `sample`; 0 for what diverges."""
    try:
        for task in passed.stream:
            passed.learn(task)
    except DivergedError:
        return 0.0
    passed.judge(task.index)
    (row,) = passed.evaluation.rows["sample-network"]
    return sum(row) / len(row)


def _benchmark(study: Benchmark, setting: Setting) -> Benchmark:
    """The benchmark that a setting is a run of."""
    given = study.model_dump(exclude_unset=True, exclude={"online"})
    if setting.method == FOCIL:
        return Benchmark(**given)
    section = study.online
    common = {"network": section.network, "precision": section.precision, "exemplars": setting.exemplars}
    known = ONLINE[setting.method].options_of.model_fields
    options = {key: value for key, value in common.items() if key in known} | dict(setting.options)
    return Benchmark(**changed_by(given, {"method": setting.method, "online": options}))


def _told(accuracy: dict) -> dict:
    """An accuracy with the average over the tasks so far, task by task, in place of its matrix."""
    averages = [mean(row[: task + 1]) for task, row in enumerate(accuracy["matrix"])]
    return {key: value for key, value in accuracy.items() if key != "matrix"} | {"so_far": averages}


def _name(method: str, exemplars: int) -> str:
    return f"{method}-{exemplars}" if stores(method) else method
