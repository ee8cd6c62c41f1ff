"""What to run: everything that a params file may say, validated before anything starts."""

import difflib
import os
from pathlib import Path
from typing import Literal

import torch
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from focil.errors import FocilError
from focil.image_folder import LARGEST, SMALLEST
from focil.methods import table
from focil.methods.focil import FocilOptions
from focil.schedule import OfflineOptions
from focil.shortcuts import SHORTCUTS, Shortcut

NetworkName = Literal["convnet2", "resnet14", "resnet20", "resnet26", "resnet32", "resnet18-imagenet"]
MethodName = Literal[table.NAMES]


class BenchmarkError(FocilError):
    """A params file or configuration that cannot be run; the message says what to change."""


class AuditOptions(BaseModel):
    """What a params file may say under `audit:`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    shortcuts: tuple[Shortcut, ...] = Field(SHORTCUTS, min_length=1, description="what is switched on from ours and off from the release")
    first_tasks: int | None = Field(None, ge=2, description="only the first tasks of the stream are learned; default: all")


class Point(BaseModel):
    """One budget of memory, and the network of the methods that grow with the tasks.

    anchor: whose exemplars are given, `der` or `single` (one network); the others get what fits in the same bytes. `each`: every method has
    as many, whatever its networks take.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    network: NetworkName
    exemplars: int = Field(ge=1)
    anchor: Literal["der", "single", "each"] = "der"
    methods: tuple[MethodName, ...] | None = Field(None, min_length=1, description="only these of the study's methods; default: all")


class MemoOptions(BaseModel):
    """What a params file may say under `memo:` and `layers:`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    methods: tuple[MethodName, ...] = Field(("finetune", "replay", "icarl", "wa", "der", "memo", "joint", "focil"), min_length=1)
    network: NetworkName = Field("resnet32", description="of the methods with one network")
    points: tuple[Point, ...] = Field(min_length=1, description="budgets; finetuning and joint training are run once for all")
    first_classes: int | None = Field(None, ge=1, description="classes of the first task where it is larger")
    last_shared: str | None = Field(None, description="MEMO's last generalized block; default: the network's own")
    brightness: float = Field(0.0, ge=0, le=1, description="training images times 1 - b to 1 + b")
    training: OfflineOptions = OfflineOptions()


class LayersOptions(BaseModel):
    """What a params file may say under `layers:`; names as under `memo:`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    network: NetworkName = "resnet32"
    exemplars: int = Field(ge=1)
    brightness: float = Field(0.0, ge=0, le=1)
    training: OfflineOptions = OfflineOptions()


class Benchmark(BaseModel):
    """One benchmark: data, stream, method and machine. Unknown keys are refused.

    A params file says only what differs from these defaults. `device` and `threads` are filled in from the machine, so that
    a result always records them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="names the folder of results")
    data: str = Field(description="a data set by name, or the path of an .npz with x_train, y_train, x_test, y_test, or of a folder of images")
    image_size: int | None = Field(None, ge=SMALLEST, le=LARGEST, description="pixels to which images of a folder are resized and cropped; default 224")
    split: Literal["official", "sha256"] = Field("official", description="sha256: pooled and split again by the pixels' hash")
    development: bool = Field(False, description="test on the last 10 % of each class's training images, for making choices")
    tasks: int = Field(ge=1)
    class_order: Literal["natural", "shuffled"] = "natural"
    crop: int = Field(0, ge=0, description="padding in pixels before a random crop of training images")
    flip: bool = Field(False, description="random horizontal flip of training images")
    batch_size: int = Field(10, ge=1)
    held_batches: int = Field(50, ge=1, description="last batches of a task that are held while it passes, counted as memory")
    backbone: Literal["mlp", "resnet18", "own"] = Field("mlp", description="own: a module that is handed over in Python")
    method: Literal["focil"] = "focil"
    focil: FocilOptions = FocilOptions()
    audit: AuditOptions | None = Field(None, description="what the released code's shortcuts are worth, instead of one run")
    memo: MemoOptions | None = Field(None, description="a model or exemplars: offline methods at equal memory, instead of one run")
    layers: LayersOptions | None = Field(None, description="what shallow and deep blocks do in DER, MEMO and FOCIL, instead of one run")
    device: Literal["cpu", "cuda"] = Field(default_factory=lambda: "cuda" if torch.cuda.is_available() else "cpu")
    threads: int = Field(default_factory=lambda: available_cores(), ge=1)

    def is_same(self, recorded: dict) -> bool:
        """Whether a recorded benchmark (`model_dump`) is this one, whatever its number of threads; keys that it lacks have their default."""
        try:
            return Benchmark(**recorded | {"threads": self.threads}) == self
        except BenchmarkError:
            return False

    def trains_as(self, recorded: dict) -> bool:
        """Whether the same training under a recorded benchmark gives the same numbers: which methods and budgets are compared may differ."""

        def any_choice(benchmark: Benchmark) -> Benchmark:
            memo = benchmark.memo and benchmark.memo.model_copy(update={"methods": (), "points": ()})
            return benchmark.model_copy(update={"memo": memo, "threads": 1})

        try:
            return any_choice(Benchmark(**recorded)) == any_choice(self)
        except BenchmarkError:
            return False

    @property
    def notebook(self) -> str:
        """The template that runs it: "benchmark" once per seed, any other once for all seeds."""
        return next((name for name, field in (("audit", self.audit), ("memory", self.memo), ("layers", self.layers)) if field), "benchmark")

    def __init__(self, /, **values):
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise BenchmarkError(_explain(error, values)) from None
        if self.audit and (self.audit.first_tasks or 0) > self.tasks:
            raise BenchmarkError(f"'audit.first_tasks' is {self.audit.first_tasks}, but there are {self.tasks} tasks; lower it, or leave it out for all of them")
        if (self.memo or self.layers) and self.tasks < 2:
            raise BenchmarkError(f"'tasks' is {self.tasks}, but a study of offline methods compares tasks; take 2 or more")
        for point in self.memo.points if self.memo else ():
            if unknown := [method for method in point.methods or () if method not in self.memo.methods]:
                raise BenchmarkError(f"'memo.points' names {', '.join(unknown)}, which 'memo.methods' has not; add it there, or leave it out")
        if self.notebook != "benchmark" and self.backbone == "own":
            raise BenchmarkError("a study rebuilds its network in new processes, so it takes a backbone by name: mlp or resnet18")


def available_cores() -> int:
    """Number of processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def read_params(path: str | Path, **overrides) -> Benchmark:
    """Read params/NAME.yaml: a top-level `config:` (so that `papermill -f` takes the same file), whose name is NAME.

    overrides: values that replace the file's, for example threads=1; None is ignored.
    Raises BenchmarkError for a missing or malformed file, unknown keys, wrong values, or another name inside.
    """
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        known = sorted(p.stem for p in path.parent.glob("*.yaml"))
        raise BenchmarkError(f"cannot read {path}: {error.strerror}. Params files here: {', '.join(known) or 'none'}.") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BenchmarkError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(content, dict) or set(content) != {"config"} or not isinstance(content["config"], dict):
        found = list(content) if isinstance(content, dict) else type(content).__name__
        raise BenchmarkError(
            f"{path} must hold exactly one top-level key, `config:`, with the benchmark below it; found {found}. "
            "Seeds and folders belong on the command line (--seed, --out)."
        )
    if odd := [key for key in content["config"] if not isinstance(key, str)]:
        raise BenchmarkError(f"{path}: unknown key {odd[0]!r}; keys are words (YAML reads an unquoted on, yes or 1 as something else)")
    try:
        benchmark = Benchmark(**content["config"] | {key: value for key, value in overrides.items() if value is not None})
    except BenchmarkError as error:
        raise BenchmarkError(f"{path}: {error}") from None
    if benchmark.name != path.stem:
        raise BenchmarkError(f"{path}: name is {benchmark.name!r} but the file is called {path.stem!r}; make them the same")
    return benchmark


def _explain(error: ValidationError, values: dict) -> str:
    return "; ".join(_explain_one(item, values) for item in error.errors())


def _explain_one(item: dict, values: dict) -> str:
    *parents, key = item["loc"] or ("",)
    place = ".".join(map(str, item["loc"]))
    if item["type"] == "extra_forbidden":
        known = list(_options(parents).model_fields)
        close = difflib.get_close_matches(str(key), known, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(known)}"
        return f"unknown key {place!r}; {hint}"
    if item["type"] == "missing":
        return f"{place!r} is missing" + ("" if parents else "; a benchmark needs name, data and tasks")
    return f"{place!r} is {item['input']!r}: {item['msg'][0].lower() + item['msg'][1:]}"


def _options(parents: list) -> type[BaseModel]:
    if not parents:
        return Benchmark
    found = {"focil": FocilOptions, "audit": AuditOptions, "memo": MemoOptions, "layers": LayersOptions}[parents[0]]
    return {"training": OfflineOptions, "points": Point}[parents[1]] if len(parents) > 1 else found
