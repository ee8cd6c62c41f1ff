"""What to run: everything that a params file may say, validated before anything starts."""

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, Field, ValidationError, ValidationInfo, field_validator

from focil.base.places import shipped
from focil.data.image_folder import LARGEST, SMALLEST
from focil.memo.schedule import OfflineOptions
from focil.online.table import ONLINE
from focil.router.routed import RoutedOptions
from focil.runs.params_files import (
    BACKBONE,
    FOCIL,
    FOCILS_OWN,
    STUDIES,
    BenchmarkError,
    changed_by,
    extended,
    kind_of,
    method_of,
    read_config,
)
from focil.runs.sections import (
    AuditOptions,
    LayersOptions,
    MemoryOptions,
    OfflineSection,
    OnlineName,
    OnlineStudyOptions,
    Point,
    Section,
)


class Benchmark(Section):
    """One benchmark: data, stream, method and machine. Unknown keys are refused.

    A params file says only what differs from these defaults; `extends: NAME` starts from another file
    instead. `device` and `threads` are filled in from the machine, so that a result always records them.
    """

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100, description="names the folder of results"
    )
    data: str = Field(
        description="a data set by name, or the path of an .npz with x_train, y_train, x_test, y_test, or of "
        "a folder of images"
    )
    image_size: int | None = Field(
        None,
        ge=SMALLEST,
        le=LARGEST,
        description="pixels to which images of a folder are resized and cropped; default 224",
    )
    split: Literal["official", "sha256"] = Field(
        "official", description="sha256: pooled and split again by the pixels' hash"
    )
    development: bool = Field(
        False, description="test on the last 10 % of each class's training images, for making choices"
    )
    tasks: int = Field(ge=1, le=32_767)
    class_order: Literal["natural", "shuffled"] = "natural"
    crop: int = Field(
        0, ge=0, le=256, description="padding in pixels before a random crop of training images"
    )
    flip: bool = Field(False, description="random horizontal flip of training images")
    batch_size: int = Field(10, ge=1, le=100_000)
    held_batches: int = Field(
        50,
        ge=1,
        le=1_000_000,
        description="last batches of a task that are held while it passes, counted as memory",
    )
    method: OnlineName = Field(
        FOCIL, description="of another one, `online` says how it learns and what it stores"
    )
    backbone: Literal["mlp", "resnet18", "own"] = Field(
        BACKBONE, description="own: a module that is handed over in Python"
    )
    focil: RoutedOptions = RoutedOptions()
    audit: AuditOptions | None = Field(
        None, description="what the released code's shortcuts are worth, instead of one run"
    )
    memory: MemoryOptions | None = Field(
        None, description="a model or exemplars: offline methods at equal memory, instead of one run"
    )
    layers: LayersOptions | None = Field(
        None, description="what shallow and deep blocks do in DER, MEMO and FOCIL, instead of one run"
    )
    online: Any = Field(
        None,
        validate_default=True,
        description="options of the method that is named; where none is, what other online methods reach on "
        "this stream, instead of one run",
    )
    device: Literal["cpu", "cuda"] = Field(
        default_factory=lambda: "cuda" if torch.cuda.is_available() else "cpu"
    )
    threads: int = Field(default_factory=lambda: available_cores(), ge=1, le=1024)

    def __init__(self, /, **values):
        values = extended(values, shipped("params"))
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise BenchmarkError(_explain(error, values)) from None
        _check_studies(self)

    @field_validator("online")
    @classmethod
    def _of_the_method(cls, value: Any, about: ValidationInfo) -> BaseModel | None:
        kind = _online_section(about.data.get("method", FOCIL))
        if value is None and kind is OnlineStudyOptions:
            return None
        return kind.model_validate({} if value is None else value)

    @classmethod
    def recorded(cls, values: Mapping[str, Any]) -> "Benchmark":
        """The benchmark that a result or a checkpoint was made with, whatever its version called the keys.

        Keys that the record lacks have their default. Raises BenchmarkError for what never was a benchmark.
        """
        if not isinstance(values, Mapping):
            raise BenchmarkError(f"a recorded benchmark is a mapping, not a {type(values).__name__}")
        foreign = () if method_of(values) == FOCIL else FOCILS_OWN
        known = {key: value for key, value in values.items() if key not in foreign}
        if "memo" in known:
            known["memory"] = known.pop("memo")
        for study in ("memory", "layers"):
            match known.get(study):
                case {"training": {"cpu_epochs": epochs, **others}, **rest}:
                    known[study] = rest | {"training": others | {"epochs": epochs}}
        return cls(**known)

    def is_same(self, recorded: Mapping[str, Any]) -> bool:
        """Whether a recorded benchmark is this one, whatever its number of threads."""
        try:
            return Benchmark.recorded(recorded).model_copy(update={"threads": self.threads}) == self
        except BenchmarkError:
            return False

    def must_run_here(self) -> None:
        """Raise BenchmarkError where this machine lacks the device that is asked for."""
        if self.device == "cuda" and not torch.cuda.is_available():
            raise BenchmarkError(
                "device is cuda, but torch finds no GPU on this machine; leave device out, or say cpu, or "
                "install a build of torch that fits the GPU"
            )

    def trains_as(self, recorded: Mapping[str, Any]) -> bool:
        """Whether the same training under a recorded benchmark gives the same numbers.

        Which methods and budgets are compared may differ, the number of threads, and the device: of a study
        some trainings may be made on a GPU and some on a processor, and each says on what.
        """

        def any_choice(benchmark: Benchmark) -> Benchmark:
            compared = ("methods", "points", "epochs", "only", "one_seed_from", "rates", "rate_after")
            memory = benchmark.memory and benchmark.memory.model_copy(update=dict.fromkeys(compared))
            online = benchmark.online
            if isinstance(online, OnlineStudyOptions):
                chosen = {"methods": (), "exemplars": (), "heavy": (), "tuning_seeds": 1}
                online = online.model_copy(update=chosen)
            return benchmark.model_copy(
                update={"memory": memory, "online": online, "threads": 1, "device": "cpu"}
            )

        try:
            return any_choice(Benchmark.recorded(recorded)) == any_choice(self)
        except BenchmarkError:
            return False

    def renamed(self, name: str, **changes: Any) -> "Benchmark":
        """The same benchmark under another name, validated."""
        return Benchmark(**self.model_dump(exclude_unset=True) | {"name": name} | changes)

    @property
    def notebook(self) -> str:
        """The template that runs it: "benchmark" once per seed, a study's once for all seeds."""
        return kind_of({"method": self.method} | {study: getattr(self, study) for study in STUDIES})

    @property
    def is_study(self) -> bool:
        """Whether one notebook reads all seeds together."""
        return self.notebook != "benchmark"

    @property
    def offline(self) -> OfflineSection | None:
        """The section that says how offline methods train, where there are any."""
        return self.memory or self.layers


def available_cores() -> int:
    """Number of processors this process may use: the variable FOCIL_CORES, or all that the system gives it.

    Raises BenchmarkError for a number that cannot be meant.
    """
    if given := os.environ.get("FOCIL_CORES"):
        if not given.isdecimal() or not 1 <= int(given) <= 1024:
            raise BenchmarkError(f"FOCIL_CORES is {given!r}; expected a number of cores from 1 to 1024")
        return int(given)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def read_params(path: str | Path, changes: Mapping[str, Any] | None = None, **overrides: Any) -> Benchmark:
    """Read params/NAME.yaml: a top-level `config:`, so that `papermill -f` takes the same file too.

    `extends` in it names another file. changes: values that replace the file's, sections key by key.
    overrides: the same for plain values, for example threads=1; None is ignored. Raises BenchmarkError
    for a missing or malformed file, unknown keys, wrong values, or another name inside than the file's.
    """
    path = Path(path)
    config = read_config(path)
    if config.get("name") not in (None, path.stem):
        raise BenchmarkError(
            f"{path}: name is {config['name']!r} but the file is called {path.stem!r}; make them the same"
        )
    given = {key: value for key, value in overrides.items() if value is not None}
    try:
        return Benchmark(**changed_by(config, changes or {}) | given)
    except BenchmarkError as error:
        raise BenchmarkError(f"{path}: {error}") from None


def _check_studies(benchmark: Benchmark) -> None:
    named = [name for name in STUDIES if getattr(benchmark, name)]
    if benchmark.method != FOCIL:
        _check_other_method(benchmark, [name for name in named if name != "online"])
    elif len(named) > 1:
        raise BenchmarkError(
            f"{' and '.join(named)} are two studies; keep one, and give the other a file of its own"
        )
    if benchmark.audit and (benchmark.audit.first_tasks or 0) > benchmark.tasks:
        raise BenchmarkError(
            f"'audit.first_tasks' is {benchmark.audit.first_tasks}, but there are {benchmark.tasks} tasks; "
            "lower it, or leave it out for all of them"
        )
    if benchmark.is_study and benchmark.tasks < 2:
        raise BenchmarkError(f"'tasks' is {benchmark.tasks}, but a study compares tasks; take 2 or more")
    for point in benchmark.memory.points if benchmark.memory else ():
        if unknown := [method for method in point.methods or () if method not in benchmark.memory.methods]:
            raise BenchmarkError(
                f"'memory.points' names {', '.join(unknown)}, which is not among 'memory.methods'; add it "
                "there, or leave it out"
            )
    if benchmark.is_study and benchmark.backbone == "own":
        raise BenchmarkError(
            "a study rebuilds its network in new processes, so it takes a backbone by name: mlp or resnet18"
        )


def _check_other_method(benchmark: Benchmark, studies: list[str]) -> None:
    defaults = {key: field.default for key, field in Benchmark.model_fields.items()}
    own = [key for key in FOCILS_OWN if getattr(benchmark, key) != defaults[key]]
    if foreign := own + studies:
        raise BenchmarkError(
            f"{', '.join(map(repr, foreign))} goes with FOCIL, but 'method' is {benchmark.method!r}; leave "
            "it out, and say under 'online' how that method learns"
        )


def _online_section(method: Any) -> type[BaseModel]:
    """What `online` may say: of an online method its options; a wrong method is told elsewhere."""
    known = isinstance(method, str) and method in ONLINE
    return ONLINE[method].options_of if known else OnlineStudyOptions


def _explain(error: ValidationError, values: dict) -> str:
    return "; ".join(_explain_one(item, values) for item in error.errors())


def _explain_one(item: dict, values: dict) -> str:
    *parents, key = item["loc"] or ("",)
    place = ".".join(map(str, item["loc"]))
    if item["type"] == "extra_forbidden":
        known = list(_section(parents, method_of(values)).model_fields)
        close = difflib.get_close_matches(str(key), known, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(known)}"
        return f"unknown key {place!r}; {hint}"
    if item["type"] == "missing":
        return f"{place!r} is missing" + ("" if parents else "; a benchmark needs name, data and tasks")
    return f"{place!r} is {item['input']!r}: {item['msg'][0].lower() + item['msg'][1:]}"


def _section(parents: list, method: Any) -> type[BaseModel]:
    if not parents:
        return Benchmark
    found = {
        "focil": RoutedOptions,
        "audit": AuditOptions,
        "memory": MemoryOptions,
        "layers": LayersOptions,
        "online": _online_section(method),
    }[parents[0]]
    return {"training": OfflineOptions, "points": Point}[parents[1]] if len(parents) > 1 else found
