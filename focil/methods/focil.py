"""FOCIL: finetune and freeze randomly pruned sparse experts (arXiv 2403.14684 v1), one pass, nothing stored for replay."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from focil import answers, backbones, protocols, seeds
from focil.answers import Evidence
from focil.backbones import ImageShape
from focil.confidence import RULES, Rule, calibrate
from focil.expert import Expert, gather_statistics, masked_weights
from focil.masks import Allocation, Ledger
from focil.patches import Recipe
from focil.router import Router
from focil.search import Batch, Candidate, halve
from focil.stream import Task
from focil.trainer import Learners, Sgd

Share = Annotated[float, Field(gt=0, lt=1)]
Rate = Annotated[float, Field(gt=0)]


class FocilOptions(BaseModel):
    """What a params file may say under `focil:`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    sparsities: tuple[Share, ...] = Field((0.90, 0.94, 0.96, 0.98), min_length=1, description="candidates: share of connections left out")
    learning_rates: tuple[Rate, ...] = Field((0.01, 0.02, 0.05, 0.1), min_length=1, description="candidates: learning rates as they act")
    first_rung: int = Field(25, ge=1, description="batches before the candidates are halved; doubled after each halving")
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(5e-4, ge=0)
    averaging: float = Field(0.98, ge=0, lt=1, description="weight of the past in the average of the weights, per step; 0: none")
    label_smoothing: float = Field(0.05, ge=0, lt=1, description="keeps the logits of all experts on one scale")
    precision: backbones.Precision = Field("float32", description="of the passes through the backbone, training and scoring")
    allocation: Allocation = Field("planned", description="planned: every task has an equal part of the free connections")
    again: int = Field(0, ge=0, description="images of the task's held batches that a step learns again, augmented anew, once one candidate is left")
    rule: Rule = Field("entropy", description="how an expert is chosen: softmax, entropy or energy")
    calibrated: bool = Field(True, description="confidence in standard deviations from the expert's own mean on its own task")
    router: Literal["patches", "none"] = Field("patches", description="what finds an image's task beside the experts")
    router_megabytes: float = Field(10, gt=0, description="MB (10^6 bytes) that all of the router may take")
    router_cells: int = Field(2, ge=1, description="the router pools an image to cells x cells")
    router_mirror: bool = Field(False, description="for the router, a mirrored image shows the same thing")


class Focil:
    """One backbone, one sparse expert per task.

    backbone: name or factory (see `backbones.build`). image_shape: (C, H, W). classes: classes per task. tasks: number of tasks
    that capacity is planned for. After `learn`, `report` holds what the search did, one entry per task.
    """

    def __init__(
        self,
        backbone: str | backbones.Factory,
        image_shape: ImageShape,
        tasks: int,
        classes: int,
        seed: int,
        options: FocilOptions = FocilOptions(),
        device: str | torch.device = "cpu",
    ):
        self.options, self.seed, self.classes, self.device = options, seed, classes, torch.device(device)
        self.backbone: nn.Module = backbones.build(backbone, image_shape, seed).to(self.device)
        self.features = backbones.feature_size(self.backbone, image_shape)
        shapes = backbones.masked_shapes(self.backbone)
        parameters = dict(self.backbone.named_parameters())
        self.store = {name: parameters[name].detach().clone() for name in shapes}
        self.ledger = Ledger(shapes, tasks, seed, options.allocation)
        self.experts: list[Expert] = []
        self.report: list[dict] = []
        self._held_bytes = 0
        self.router = self._new_router(image_shape, tasks) if options.router == "patches" else None

    def learn(self, task: Task) -> None:
        """Train the task's expert on one pass over its batches, then freeze it."""
        candidates = [Candidate(s, lr) for s in self.options.sparsities for lr in self.options.learning_rates]
        learners, best = halve(
            self._learners(candidates), candidates, self._routed(task), self.options.first_rung, lambda: task.again(self.options.again)
        )
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
            }
        )

    def scores(self, images: Tensor, experts: Sequence[int] | None = None) -> Tensor:
        """Logits (N, experts, classes per task) of all experts, or of those named, for normalised images (N, C, H, W)."""
        chosen = self.experts if experts is None else [self.experts[e] for e in experts]
        return torch.stack([expert.logits(self.backbone, self.store, images, self.options.precision) for expert in chosen], dim=1)

    def evidence(self, images: Tensor) -> dict[str, Evidence]:
        """Of normalised images (N, C, H, W), by who answers: the experts alone and, where there is a router, the router alone and both."""
        logits = self.scores(images).cpu().double().numpy()
        calibration = self.calibration() if self.options.calibrated else None
        found = {"experts": answers.experts(logits, self.options.rule, calibration)}
        if self.router is None:
            return found
        return found | answers.routed(*self.router.heard(self.router.features(images), len(self.experts)), logits)

    def answer(self, images: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Task (N,) and label inside it (N,) of normalised images (N, C, H, W), each alone: what `sample` measures.

        With a router, only the expert of the task that it finds is asked.
        """
        if self.router is None:
            return protocols.sample(self.evidence(images)["experts"])
        scores, offsets = self.router.heard(self.router.features(images), len(self.experts))
        found = protocols.sample(answers.router(scores, offsets))[0]
        logits = np.zeros_like(scores)  # an expert that is not asked has no say
        for task in np.unique(found):
            logits[found == task, task] = self.scores(images[torch.from_numpy(found == task)], [task])[:, 0].cpu().numpy()
        return protocols.sample(answers.both(scores, offsets, logits))

    def fingerprint(self, expert: int) -> str:
        """SHA-256 of every number that an expert computes with; it must never change once the expert is frozen."""
        return self.experts[expert].fingerprint(self.store)

    def calibration(self) -> np.ndarray:
        """Mean and standard deviation of each expert's confidence on its own task, (experts, rules, 2)."""
        return torch.stack([expert.calibration for expert in self.experts]).numpy()

    def capacity(self) -> list[dict]:
        """Owned, re-used and free connections per task, by layer (see `Ledger.occupancy`)."""
        return self.ledger.occupancy()

    def memory(self) -> dict[str, int]:
        """Bytes that must be kept between tasks and at test time. Masks are regenerated from (seed, density), see `records`."""
        return {
            "backbone": sum(weights.nbytes for weights in self.store.values()),
            "masks": sum(8 + 32 for _ in self.experts),  # one float64 density and one SHA-256 each
            "statistics": sum(t.nbytes for expert in self.experts for t in (*expert.own.values(), expert.calibration)),
            "held_batches": self._held_bytes,
            "heads": sum(expert.head.nbytes for expert in self.experts),
            "router": self.router.nbytes if self.router else 0,
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
            "router": self.router and self.router.state(),
        }

    def load(self, state: dict) -> None:
        """Continue from a `state`; masks are regenerated and checked. Raises MaskMismatch if one differs."""
        self.store = {name: state["store"][name].to(self.device) for name in self.store}
        self.ledger.restore(state["masks"])
        parts = zip(self.ledger.claimed, state["own"], state["heads"], state["calibration"], strict=True)
        self.experts = [
            Expert(mask, {n: t.to(self.device) for n, t in own.items()}, head.to(self.device), calibration)
            for mask, own, head, calibration in parts
        ]
        self.report, self._held_bytes = state["report"], state["held_bytes"]
        if self.router:
            self.router.load(state["router"])

    def _routed(self, task: Task) -> Iterator[Batch]:
        """The task's batches; the router observes them once held, un-augmented, whenever all that are held are new, and at the end."""
        waiting = 0  # held images that the router has not observed
        for images, labels in task.batches():
            if waiting >= task.room:
                self._observe(task, waiting)
                waiting = 0
            yield images, labels
            waiting += len(images)
        self._observe(task, waiting)

    def _observe(self, task: Task, waiting: int) -> None:
        if self.router:
            images, labels = task.held()
            self.router.observe(images[-waiting:], task.index, labels[-waiting:])

    def _new_router(self, image_shape: ImageShape, tasks: int) -> Router:
        options = self.options
        return Router(
            image_shape,
            tasks,
            self.classes,
            budget=round(1e6 * options.router_megabytes),
            recipe=Recipe(cells=options.router_cells, mirror=options.router_mirror),
            seed=self.seed,
            precision=options.precision,
            device=self.device,
        )

    def _freeze(self, learners: Learners, images: Tensor) -> Expert:
        values, own, head = learners.finished()
        mask = learners.masks[0]
        self.ledger.claim(mask)
        for name, positions in mask.new.items():
            self.store[name].view(-1)[torch.as_tensor(positions, device=self.device)] = values[name]
        own = gather_statistics(self.backbone, masked_weights(self.store, mask), own, images, self.options.precision)
        expert = Expert(mask, own, head, calibration=torch.zeros(len(RULES), 2, dtype=torch.float64))
        logits = expert.logits(self.backbone, self.store, images, self.options.precision)
        return replace(expert, calibration=torch.from_numpy(calibrate(logits.cpu().numpy())))

    def _learners(self, candidates: Sequence[Candidate]) -> list[Learners]:
        drawn = {c.sparsity: self.ledger.draw(1 - c.sparsity) for c in candidates}
        head = self._new_head(len(self.experts))
        own = backbones.own_tensors(self.backbone)
        options = self.options
        sgd = Sgd(options.momentum, options.weight_decay, options.averaging, options.label_smoothing, options.precision)
        # Convolutions batched over candidates become grouped convolutions, slow on a CPU: there each has a turn of its own.
        single = self.device.type == "cpu" and any(w.ndim > 2 for w in self.store.values())
        groups = [[c] for c in candidates] if single else [list(candidates)]
        return [
            Learners(
                self.backbone,
                [self.store] * len(group),
                [drawn[c.sparsity] for c in group],
                [c.lr for c in group],
                [head] * len(group),
                [own] * len(group),
                sgd,
            )
            for group in groups
        ]

    def _new_head(self, task: int) -> Tensor:
        generator = seeds.torch_generator(self.seed, "head", task)
        bound = self.features**-0.5
        return ((torch.rand(self.classes, self.features, generator=generator) * 2 - 1) * bound).to(self.device)
