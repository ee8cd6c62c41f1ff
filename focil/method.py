"""FOCIL: finetune and freeze randomly pruned sparse experts (arXiv 2403.14684 v1), one pass, nothing stored.

The paper on one screen: `Focil.learn` draws a mask for every candidate, lets all of them learn each batch
once, and freezes the best as the task's expert. `focil.router.routed.RoutedFocil` sets a router
beside the experts.
"""

import warnings
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Annotated

import numpy as np
import torch
from jaxtyping import Float, Int
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from focil import backbones, confidence
from focil.backbones import ImageShape
from focil.base import seeds
from focil.base.precision import Precision
from focil.confidence import RULES, Evidence, Rule
from focil.data.stream import Task
from focil.expert import Expert, Store, blank_weights, gather_statistics, masked_weights
from focil.masks import RECORD_BYTES, Allocation, Ledger, Mask
from focil.search import Candidate, DivergedError, Halving, Search
from focil.trainer import Learners, Sgd, Start, can_be_batched, in_turns, is_slow_batched

ONE_BY_ONE = (
    "this backbone cannot be computed for several candidates at once (it may read its own numbers, by "
    ".item() or in an if), so they learn one after the other, which is slower"
)
Share = Annotated[float, Field(gt=0, lt=1)]
Rate = Annotated[float, Field(gt=0, le=1e6)]


class FocilOptions(BaseModel):
    """How FOCIL's experts learn and answer: the candidates, the step, and the rule that chooses an expert.

    `FocilOptions.model_fields` describes each value.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    sparsities: tuple[Share, ...] = Field(
        (0.90, 0.94, 0.96, 0.98), min_length=1, description="candidates: share of connections left out"
    )
    learning_rates: tuple[Rate, ...] = Field(
        (0.01, 0.02, 0.05, 0.1), min_length=1, description="candidates: learning rates as they act"
    )
    first_rung: int = Field(
        25,
        ge=1,
        le=1_000_000_000,
        description="batches before the candidates are halved; doubled after each halving",
    )
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(5e-4, ge=0, le=1)
    averaging: float = Field(
        0.98, ge=0, lt=1, description="weight of the past in the average of the weights, per step; 0: none"
    )
    label_smoothing: float = Field(
        0.05, ge=0, lt=1, description="keeps the logits of all experts on one scale"
    )
    precision: Precision = Field(
        "float32", description="of the passes through the backbone, training and scoring"
    )
    allocation: Allocation = Field(
        "planned", description="planned: every task has an equal part of the free connections"
    )
    again: int = Field(
        0,
        ge=0,
        le=100_000,
        description="images of the task's held batches that a step learns again, augmented anew, once one "
        "candidate is left",
    )
    rule: Rule = Field("entropy", description="how an expert is chosen: softmax, entropy or energy")
    calibrated: bool = Field(
        True, description="confidence in standard deviations from the expert's own mean on its own task"
    )


class Focil:
    """One backbone, one sparse expert per task.

    backbone: name or factory (see `backbones.build`). image_shape: (C, H, W). classes: classes per task.
    tasks: number of tasks that capacity is planned for. After `learn`, `report` holds what the search did,
    one entry per task.

    >>> import focil
    >>> stream = focil.Stream(data := focil.load("digits"), focil.class_order(data, tasks=5, seed=0), seed=0)
    >>> method = Focil("mlp", data.image_shape, tasks=5, classes=2, seed=0)
    >>> for task in list(stream)[:2]:
    ...     method.learn(task)
    >>> method.scores(stream.prepare(stream.test[:3])).shape  # images, experts, classes of a task
    torch.Size([3, 2, 2])
    """

    options_of: type[FocilOptions] = FocilOptions
    router: None = None  # a subclass may have one

    def __init__(
        self,
        backbone: str | backbones.Factory,
        image_shape: ImageShape,
        tasks: int,
        classes: int,
        seed: int,
        options: FocilOptions | None = None,
        device: str | torch.device = "cpu",
    ):
        self.options = self.options_of() if options is None else options
        self.image_shape, self.tasks, self.classes, self.seed = image_shape, tasks, classes, seed
        self.device = torch.device(device)
        self.backbone: nn.Module = backbones.build(backbone, image_shape, seed).to(self.device)
        self.feature_size = backbones.feature_size(self.backbone, image_shape)
        shapes = backbones.masked_shapes(self.backbone)
        parameters = dict(self.backbone.named_parameters())
        self.store: Store = {name: parameters[name].detach().clone() for name in shapes}
        self.ledger = Ledger(shapes, tasks, seed, self.options.allocation)
        self._together = is_slow_batched(self.store) or can_be_batched(self.backbone, image_shape)
        if not self._together:
            warnings.warn(ONE_BY_ONE, stacklevel=2)
        self.experts: list[Expert] = []
        self.report: list[dict] = []
        self._held_bytes = 0
        self._blank: Store | None = None  # working memory, see `Expert.logits`

    def learn(self, task: Task) -> None:
        """Train the task's expert on one pass over its batches, then freeze it."""
        candidates = self._candidates(task.index)
        search = self._search(candidates)
        # A network of a user's own may have dropout, which draws from torch's own generator.
        with seeds.as_torchs_own(self.seed, "dropout", task.index, device=self.device):
            for images, labels in task.batches():  # each training image is drawn here, once
                self._look(task)
                again = task.again(self.options.again) if search.learns_again else None
                search.step(images, labels, again)
        self._look(task, at_the_end=True)
        learners, best = search.winner()
        self.experts.append(self._freeze(learners, task.held()[0]))
        self._held_bytes = max(self._held_bytes, task.held_bytes)
        task.release()
        self.report.append(
            {
                "sparsity": best.sparsity,
                "lr": best.lr,
                "prequential": sum(best.accuracy) / len(best.accuracy),
                "candidates": [asdict(candidate) for candidate in candidates],
                "draws_per_sample": task.draws_per_sample,
                "passes": search.passed / task.size,
            }
        )

    def scores(
        self, images: Float[Tensor, "N C H W"], experts: Sequence[int] | None = None
    ) -> Float[Tensor, "N experts classes"]:
        """Logits of all experts, or of those named, for normalised images."""
        chosen = self.experts if experts is None else [self.experts[e] for e in experts]
        precision = self.options.precision
        if self._blank is None:
            self._blank = blank_weights(self.store, precision)
        given = self.backbone, self.store, images, precision, self._blank
        return torch.stack([expert.logits(*given) for expert in chosen], dim=1)

    def evidence(self, images: Float[Tensor, "N C H W"]) -> dict[str, Evidence]:
        """What is said of normalised images, by who says it: here the experts alone."""
        return self.weigh(self.scores(images).cpu().numpy())

    def weigh(self, logits: Float[np.ndarray, "N experts classes"]) -> dict[str, Evidence]:
        """`evidence` from the experts' logits, which never change and so may be kept."""
        calibration = self.calibration() if self.options.calibrated else None
        return {"experts": confidence.evidence(logits.astype(np.float64), self.options.rule, calibration)}

    def answer(self, images: Float[Tensor, "N C H W"]) -> tuple[Int[np.ndarray, " N"], Int[np.ndarray, " N"]]:
        """Task and label inside it of normalised images, each alone: what the protocol `sample` measures."""
        return confidence.answer(self.evidence(images)["experts"])

    def fingerprint(self, expert: int) -> str:
        """SHA-256 of every number that an expert computes with.

        It must never change once the expert is frozen.
        """
        return self.experts[expert].fingerprint(self.store)

    def calibration(self) -> Float[np.ndarray, "experts rules 2"]:
        """Mean and standard deviation of each expert's confidence on its own task."""
        return torch.stack([expert.calibration for expert in self.experts]).numpy()

    def capacity(self) -> list[dict]:
        """Owned, re-used and free connections per task, by layer (see `Ledger.occupancy`)."""
        return self.ledger.occupancy()

    def memory(self) -> dict[str, int]:
        """Bytes that must be kept between tasks and at test time.

        Masks are drawn again from their records.
        """
        return {
            "backbone": sum(weights.nbytes for weights in self.store.values()),
            "masks": RECORD_BYTES * len(self.experts),
            "statistics": sum(t.nbytes for e in self.experts for t in (*e.own.values(), e.calibration)),
            "held_batches": self._held_bytes,
            "heads": sum(expert.head.nbytes for expert in self.experts),
        }

    def state(self) -> dict:
        """Tensors and plain values from which `load` rebuilds everything, in a new process too."""
        return {
            "store": self.store,
            "masks": self.ledger.records(),
            "own": [expert.own for expert in self.experts],
            "heads": [expert.head for expert in self.experts],
            "calibration": [expert.calibration for expert in self.experts],
            "report": self.report,
            "held_bytes": self._held_bytes,
        }

    def load(self, state: dict) -> None:
        """Continue from a `state`; masks are drawn again and checked. Raises MaskMismatch if one differs."""
        self.store = {name: state["store"][name].to(self.device) for name in self.store}
        self.ledger.restore(state["masks"])
        if any(tuple(head.shape) != (self.classes, self.feature_size) for head in state["heads"]):
            raise ValueError("a head has another shape than this network and number of classes need")
        parts = zip(self.ledger.claimed, state["own"], state["heads"], state["calibration"], strict=True)
        self.experts = [
            Expert(mask, {n: t.to(self.device) for n, t in own.items()}, head.to(self.device), calibration)
            for mask, own, head, calibration in parts
        ]
        self.report, self._held_bytes = state["report"], state["held_bytes"]

    # The steps of `learn`

    def _candidates(self, task: int) -> list[Candidate]:
        return [Candidate(s, lr) for s in self.options.sparsities for lr in self.options.learning_rates]

    def _search(self, candidates: Sequence[Candidate]) -> Search:
        return Halving(self._learners(candidates), candidates, self.options.first_rung)

    def _look(self, task: Task, at_the_end: bool = False) -> None:
        """Look at the images that the task holds, before each step and at the end; experts alone need not."""

    def _learners(self, candidates: Sequence[Candidate]) -> list[Learners]:
        options = self.options
        sgd = Sgd(
            options.momentum,
            options.weight_decay,
            options.averaging,
            options.label_smoothing,
            options.precision,
        )
        return [
            self._side_by_side(group, sgd) for group in in_turns(self._starts(candidates), self._together)
        ]

    def _starts(self, candidates: Sequence[Candidate]) -> list[Start]:
        masks = {c.sparsity: self.ledger.draw(1 - c.sparsity) for c in candidates}
        head, own = self._new_head(len(self.experts)), backbones.own_tensors(self.backbone)
        return [Start(self.store, masks[c.sparsity], c.lr, head, own) for c in candidates]

    def _side_by_side(self, starts: Sequence[Start], sgd: Sgd) -> Learners:
        return Learners(self.backbone, starts, sgd)

    def _freeze(self, learners: Learners, images: Tensor) -> Expert:
        values, own, head = learners.finished()
        mask = learners.starts[0].mask
        self.ledger.claim(mask)
        self._write(mask, values)
        return self._expert(mask, own, head, images)

    def _write(self, mask: Mask, values: Store) -> None:
        for name, positions in mask.new.items():
            self.store[name].view(-1)[torch.as_tensor(positions, device=self.device)] = values[name]

    def _expert(self, mask: Mask, own: dict[str, Tensor], head: Tensor, images: Tensor) -> Expert:
        precision = self.options.precision
        own = gather_statistics(self.backbone, masked_weights(self.store, mask), own, images, precision)
        expert = Expert(mask, own, head, calibration=torch.zeros(len(RULES), 2, dtype=torch.float64))
        logits = expert.logits(self.backbone, self.store, images, precision).cpu().numpy()
        if not np.isfinite(logits).all():
            raise DivergedError(
                f"the chosen expert of task {mask.task} answers with numbers that are not finite; lower "
                "focil.learning_rates, or take larger batches"
            )
        return replace(expert, calibration=torch.from_numpy(confidence.calibrate(logits)))

    def _new_head(self, task: int) -> Tensor:
        generator = seeds.torch_generator(self.seed, "head", task)
        bound = self.feature_size**-0.5
        size = self.classes, self.feature_size
        return ((torch.rand(size, generator=generator) * 2 - 1) * bound).to(self.device)
