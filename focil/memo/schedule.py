"""How an offline task is trained: the paper's steps, the survey's cosine, or few epochs for a CPU."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field

from focil.base.precision import Precision

Kind = Literal["paper", "cosine", "cpu", "budget"]
FIRST, LATER = 200, 170  # epochs of the first and of every later task (MEMO, section 6 and appendix)
STEPS = {FIRST: (60, 120, 170), LATER: (80, 120, 150)}  # epochs after which the rate is divided by 10
DECAY = {FIRST: 5e-4, LATER: 2e-4}  # weight decay
WARM_UP = 0.1  # part of a `budget`'s epochs in which the rate rises, as usual where epochs are few


class OfflineOptions(BaseModel):
    """How every offline method trains: what a params file may say under `memory: training:`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    schedule: Kind = Field(
        "cpu",
        description="paper: 200 then 170 epochs in steps; cosine: the same epochs; cpu: `epochs`, cosine; "
        "budget: `epochs`, warm-up and cosine, Nesterov",
    )
    epochs: int = Field(6, ge=1, description="epochs of every task with the schedules cpu and budget")
    lr: Annotated[float, Field(gt=0)] = 0.1
    momentum: float = Field(0.9, ge=0, lt=1)
    batch_size: int = Field(128, ge=4, description="an epoch is cut into equal parts of at most as many")
    shared_blocks: Literal["trained", "frozen"] = Field(
        "trained", description="MEMO: generalized blocks after the first task"
    )
    aligning: Literal["published", "shrink"] = Field(
        "published",
        description="shrink: new head rows are never made longer, as short training would ask for",
    )
    precision: Precision = Field("float32", description="of the passes through the networks")


@dataclass(frozen=True)
class Schedule:
    """epochs: of the task. lr: the highest rate.

    steps: epochs after which the rate is divided by 10; None: half a cosine down to 0. warm_up: epochs in
    which the rate rises from 0 in a line, before the cosine. nesterov: SGD looks ahead.
    """

    epochs: int
    lr: float
    weight_decay: float
    steps: tuple[int, ...] | None
    warm_up: float = 0.0
    nesterov: bool = False

    def rate(self, epochs_done: float) -> float:
        """Learning rate after so many epochs (a fraction within one)."""
        if self.steps is not None:
            return self.lr * 0.1 ** sum(epochs_done >= step for step in self.steps)
        if epochs_done < self.warm_up:
            return self.lr * epochs_done / self.warm_up
        passed = (epochs_done - self.warm_up) / (self.epochs - self.warm_up)
        return self.lr * 0.5 * (1 + math.cos(math.pi * passed))


def schedule(kind: Kind, first_task: bool, lr: float, epochs: int) -> Schedule:
    """The schedule of a task.

    `paper` and `cosine` have the published epochs, `cpu` and `budget` have `epochs` and the same decays.
    """
    published = FIRST if first_task else LATER
    if kind in ("paper", "cosine"):
        epochs = published
    return Schedule(
        epochs=epochs,
        lr=lr,
        weight_decay=DECAY[published],
        steps=STEPS[published] if kind == "paper" else None,
        warm_up=WARM_UP * epochs if kind == "budget" else 0.0,
        nesterov=kind == "budget",
    )


def sgd(
    parameters: Iterable[torch.Tensor], plan: Schedule, options: OfflineOptions, device: torch.device
) -> torch.optim.SGD:
    """The optimiser of a task; on a GPU its rate is a tensor, so that a recorded step can read it."""
    on_gpu = device.type == "cuda"
    return torch.optim.SGD(
        parameters,
        torch.tensor(plan.lr, device=device) if on_gpu else plan.lr,
        options.momentum,
        weight_decay=plan.weight_decay,
        nesterov=plan.nesterov,
        fused=on_gpu,
    )


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """The rate of the next step; a tensor stays the same one, as a recorded step asks for."""
    for group in optimiser.param_groups:
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate
