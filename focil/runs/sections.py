"""The sections of a params file that say what a study compares."""

from typing import Annotated, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from focil.base.precision import Precision
from focil.memo import split, table
from focil.memo.schedule import OfflineOptions
from focil.online import networks
from focil.online.table import ONLINE
from focil.runs.params_files import FOCIL, METHODS, NETWORK

NetworkName = Literal[tuple(split.NETWORKS)]
MethodName = Literal[table.NAMES]
OnlineName = Literal[(*ONLINE, FOCIL)]
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
    """What a params file may say under `memory:`.

    Where `epochs` are named, every method is trained anew with each number of them. Where `rates` are named,
    one for all methods is chosen first, on the development split of the first `tuning_tasks`, after the
    smallest number of epochs; `rate_after` says it where that is too short to judge by.
    """

    methods: tuple[MethodName, ...] = Field(METHODS, min_length=1)
    points: tuple[Point, ...] = Field(
        min_length=1, description="budgets; finetuning and joint training are run once for all"
    )
    first_classes: int | None = Field(None, ge=1, description="classes of the first task where it is larger")
    epochs: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (), description="of every task; each number is a training of its own. Default: training.epochs"
    )
    only: dict[int, tuple[MethodName, ...]] = Field(
        {}, description="number of epochs -> the only methods that are trained so long; default: all"
    )
    one_seed_from: int | None = Field(
        None, ge=1, description="number of epochs from which on only the first seed is trained"
    )
    rates: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        (), description="highest learning rates, one of which is chosen for all methods; default: training.lr"
    )
    rate_after: dict[int, Annotated[float, Field(gt=0)]] = Field(
        {}, description="number of epochs -> the highest rate of all methods there, whatever is chosen"
    )
    tuning_tasks: int = Field(3, ge=2, description="first tasks on which the rate is chosen")

    @model_validator(mode="after")
    def _something_to_compare(self) -> Self:
        for point in self.points:
            methods = point.methods or self.methods
            if not any(map(table.has_budget, methods)):
                raise ValueError(
                    f"methods are {', '.join(methods)}, none of which has a budget; add one that has: "
                    + ", ".join(filter(table.has_budget, table.NAMES))
                )
        return self

    @model_validator(mode="after")
    def _few_epochs(self) -> Self:
        few = ("cpu", "budget")
        if self.epochs and self.training.schedule not in few:
            raise ValueError(
                f"epochs go with the schedules {' and '.join(few)}, but it is {self.training.schedule!r}, "
                "which has the published ones; change one of them"
            )
        if list(self.epochs) != sorted(set(self.epochs)):
            raise ValueError(f"epochs are {list(self.epochs)}; name each number once, the smallest first")
        if len({f"{rate:g}" for rate in self.rates}) < len(self.rates):
            raise ValueError(f"rates are {list(self.rates)}; name each once, with six digits at most")
        for key, given in (("only", self.only), ("rate_after", self.rate_after)):
            if foreign := sorted(set(given) - set(self.epochs)):
                raise ValueError(f"{key} names {foreign[0]} epochs, which is not among epochs; add it there")
        for point in self.points if self.epochs else ():
            named = set(point.methods or self.methods)
            left = set().union(*(named & set(self.only.get(epochs, named)) for epochs in self.epochs))
            if not any(map(table.has_budget, left)):
                raise ValueError(
                    f"only leaves no method with a budget to the point with {point.exemplars} exemplars; "
                    "name one there, or leave the point out"
                )
        return self


class LayersOptions(OfflineSection):
    """What a params file may say under `layers:`."""

    exemplars: int = Field(ge=1)


class OnlineStudyOptions(Section):
    """What a params file may say under `online:`, unless it names a method; see `studies.online`."""

    methods: tuple[OnlineName, ...] = Field((FOCIL, *ONLINE), min_length=1)
    exemplars: tuple[int, ...] = Field(
        min_length=1, description="stored images: each method with a buffer is run with each of these"
    )
    network: networks.NetworkName = Field("mlp", description="of the methods that train one network")
    precision: Precision = Field("float32", description="of the passes through that network")
    tuning_tasks: int | None = Field(
        None, ge=2, description="first tasks on which options are chosen; default: all"
    )
    tuning_seeds: int = Field(1, ge=1, le=100, description="seeds 0, 1, ... over which a trial is averaged")
    heavy: tuple[OnlineName, ...] = Field((), description="methods that are run with the first seed only")

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        for key, named in (("methods", self.methods), ("exemplars", self.exemplars)):
            if len(set(named)) < len(named):
                raise ValueError(f"{key} are {', '.join(map(str, named))}; name each once")
        return self
