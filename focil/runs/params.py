"""What to run: everything that a params file may say, validated before anything starts."""

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from focil.base.places import shipped
from focil.data.image_folder import LARGEST, SMALLEST
from focil.memo import split, table
from focil.memo.schedule import OfflineOptions
from focil.router.routed import RoutedOptions
from focil.runs.params_files import (
    BACKBONE,
    METHODS,
    NETWORK,
    STUDIES,
    BenchmarkError,
    extended,
    joined,
    kind_of,
    read_config,
)

NetworkName = Literal[tuple(split.NETWORKS)]
MethodName = Literal[table.NAMES]
Shortcut = Literal["R1", "R2", "R3", "R4", "R5", "R6", "R7", "R8", "R9", "R12"]
SHORTCUTS: tuple[Shortcut, ...] = get_args(Shortcut)  # of the released code, see `studies.audit.shortcuts`


class Section(BaseModel):
    """A part of a params file; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class AuditOptions(Section):
    """What a params file may say under `audit:`."""

    shortcuts: tuple[Shortcut, ...] = Field(
        SHORTCUTS, min_length=1, description="what is switched on from ours and off from the release"
    )
    first_tasks: int | None = Field(
        None, ge=2, description="only the first tasks of the stream are learned; default: all"
    )


class OfflineSection(Section):
    """What the studies of offline methods share."""

    network: NetworkName = Field(NETWORK, description="of the methods with one network")
    last_shared: str | None = Field(
        None, description="MEMO's last generalized block; default: the network's own"
    )
    brightness: float = Field(0.0, ge=0, le=1, description="training images times 1 - b to 1 + b")
    training: OfflineOptions = OfflineOptions()


class Point(Section):
    """One budget of memory, and the network of the methods that grow with the tasks.

    anchor: whose exemplars are given, `der` or `single` (one network); the others get what fits in the same
    bytes. `each`: every method has as many, whatever its networks take.
    """

    network: NetworkName
    exemplars: int = Field(ge=1)
    anchor: Literal["der", "single", "each"] = "der"
    methods: tuple[MethodName, ...] | None = Field(
        None, min_length=1, description="only these of the study's methods; default: all"
    )


class MemoryOptions(OfflineSection):
    """What a params file may say under `memory:`."""

    methods: tuple[MethodName, ...] = Field(METHODS, min_length=1)
    points: tuple[Point, ...] = Field(
        min_length=1, description="budgets; finetuning and joint training are run once for all"
    )
    first_classes: int | None = Field(None, ge=1, description="classes of the first task where it is larger")


class LayersOptions(OfflineSection):
    """What a params file may say under `layers:`."""

    exemplars: int = Field(ge=1)


class Benchmark(Section):
    """One benchmark: data, stream, method and machine. Unknown keys are refused.

    A params file says only what differs from these defaults; `extends: NAME` starts from another file
    instead. `device` and `threads` are filled in from the machine, so that a result always records them.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="names the folder of results")
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
    tasks: int = Field(ge=1, le=100_000)
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

    @classmethod
    def recorded(cls, values: Mapping[str, Any]) -> "Benchmark":
        """The benchmark that a result or a checkpoint was made with, whatever its version called the keys.

        Keys that the record lacks have their default. Raises BenchmarkError for what never was a benchmark.
        """
        if not isinstance(values, Mapping):
            raise BenchmarkError(f"a recorded benchmark is a mapping, not a {type(values).__name__}")
        known = {key: value for key, value in values.items() if (key, value) != ("method", "focil")}
        if "memo" in known:
            known["memory"] = known.pop("memo")
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

        Which methods and budgets are compared may differ, and the number of threads.
        """

        def any_choice(benchmark: Benchmark) -> Benchmark:
            memory = benchmark.memory and benchmark.memory.model_copy(update={"methods": (), "points": ()})
            return benchmark.model_copy(update={"memory": memory, "threads": 1})

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
        return kind_of({"audit": self.audit, "memory": self.memory, "layers": self.layers})

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
        return Benchmark(**joined(config, changes or {}) | given)
    except BenchmarkError as error:
        raise BenchmarkError(f"{path}: {error}") from None


def _check_studies(benchmark: Benchmark) -> None:
    if len(named := [name for name in STUDIES if getattr(benchmark, name)]) > 1:
        raise BenchmarkError(
            f"{' and '.join(named)} are two studies; keep one, and give the other a file of its own"
        )
    if benchmark.audit and (benchmark.audit.first_tasks or 0) > benchmark.tasks:
        raise BenchmarkError(
            f"'audit.first_tasks' is {benchmark.audit.first_tasks}, but there are {benchmark.tasks} tasks; "
            "lower it, or leave it out for all of them"
        )
    if benchmark.offline and benchmark.tasks < 2:
        raise BenchmarkError(
            f"'tasks' is {benchmark.tasks}, but a study of offline methods compares tasks; take 2 or more"
        )
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


def _explain(error: ValidationError, values: dict) -> str:
    return "; ".join(_explain_one(item, values) for item in error.errors())


def _explain_one(item: dict, values: dict) -> str:
    *parents, key = item["loc"] or ("",)
    place = ".".join(map(str, item["loc"]))
    if item["type"] == "extra_forbidden":
        known = list(_section(parents).model_fields)
        close = difflib.get_close_matches(str(key), known, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(known)}"
        return f"unknown key {place!r}; {hint}"
    if item["type"] == "missing":
        return f"{place!r} is missing" + ("" if parents else "; a benchmark needs name, data and tasks")
    return f"{place!r} is {item['input']!r}: {item['msg'][0].lower() + item['msg'][1:]}"


def _section(parents: list) -> type[BaseModel]:
    if not parents:
        return Benchmark
    found = {
        "focil": RoutedOptions,
        "audit": AuditOptions,
        "memory": MemoryOptions,
        "layers": LayersOptions,
    }[parents[0]]
    return {"training": OfflineOptions, "points": Point}[parents[1]] if len(parents) > 1 else found
