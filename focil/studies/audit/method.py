"""FOCIL as released: what a shortcut changes in training and in what an expert answers with."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from focil import backbones
from focil.backbones import ImageShape
from focil.base import seeds
from focil.confidence import calibrate
from focil.data.stream import Task
from focil.expert import Expert, Store
from focil.masks import FREE, Mask, erk_densities
from focil.method import Focil, FocilOptions
from focil.search import Candidate, Search
from focil.studies.audit.learners import (
    TEST_BATCH,
    Classified,
    ReleasedLearners,
    batch_normalised,
    normalises,
)
from focil.studies.audit.search import TRIALS, AsynchronousHalving
from focil.trainer import Learners, Sgd, Start

SLOWER = 0.01  # R3

# What the release has where ours differs, beside its shortcuts.
OPTIONS = FocilOptions(
    sparsities=(0.98, 0.96, 0.94, 0.92, 0.90),
    learning_rates=(0.05, 0.10, 0.15, 0.20, 0.25, 0.30),
    averaging=0,
    label_smoothing=0,
)


class Released(Focil):
    """FOCIL with `shortcuts` taken in training: R2, R3, R4, R5, R6, R7, R12. Those at test time:
    `audit.answers`.

    Arguments as of `Focil`. `passes` holds how often each task's images were read; `calibrations` each
    expert's confidence on its held images, (rules, 2), with running statistics (False) and with those of each
    batch (True, R8).
    """

    def __init__(
        self,
        backbone: str,
        image_shape: ImageShape,
        tasks: int,
        classes: int,
        seed: int,
        options: FocilOptions,
        shortcuts: Iterable[str] = (),
        device: str | torch.device = "cpu",
    ):
        self.shortcuts = frozenset(shortcuts)
        self.total = tasks * classes
        self._build = backbones.BACKBONES[backbone]
        super().__init__(self._network, image_shape, tasks, classes, seed, options, device)
        self.image_shape = image_shape
        self.passes: list[float] = []
        self.calibrations: list[dict[bool, Tensor]] = []
        self.head = torch.cat([self._new_head(task) for task in range(tasks)])  # (all classes, F)
        if "R5" in self.shortcuts:
            self.head = self.head[:0]  # the backbone has it

    def learn(self, task: Task) -> None:
        """Train the task's expert, by 20 trials (R2) or as `Focil` does, then freeze it."""
        self._rows = slice(task.index * self.classes, (task.index + 1) * self.classes)
        super().learn(task)
        self.passes.append(self._passes(task))

    def logits(
        self, expert: int, images: Float[Tensor, "N C H W"], groups: Sequence[Tensor] | None = None
    ) -> Float[Tensor, "N classes"]:
        """Logits of one expert for normalised images: over its task's classes, or all classes with R7.

        groups (R8): positions of the images that are normalised together, each with its own group's
        statistics.
        """
        if groups is None:
            return self.scores(images, [expert])[:, 0]
        frozen, precision = self.experts[expert], self.options.precision
        return batch_normalised(self.backbone, self.store, frozen, images, groups, precision)

    def _network(self, image_shape: ImageShape) -> nn.Module:
        network = self._build(image_shape)
        if "R5" not in self.shortcuts:
            return network
        return Classified(network, backbones.feature_size(network, image_shape), self.total)

    def _candidates(self, task: int) -> list[Candidate]:
        if "R2" not in self.shortcuts:
            return super()._candidates(task)
        generator = seeds.numpy_generator(self.seed, "trials", task)
        sparsities = generator.choice(self.options.sparsities, TRIALS)
        rates = generator.choice(self.options.learning_rates, TRIALS)
        return [Candidate(float(s), float(rate)) for s, rate in zip(sparsities, rates, strict=True)]

    def _search(self, candidates: Sequence[Candidate]) -> Search:
        if "R2" not in self.shortcuts:
            return super()._search(candidates)
        return AsynchronousHalving(self._learners(candidates), candidates)

    def _passes(self, task: Task) -> float:
        if "R2" not in self.shortcuts:
            return task.draws_per_sample
        batches = [len(trial["accuracy"]) for trial in self.report[-1]["candidates"]]
        return sum(batches) / max(batches)  # the chosen trial has read all of them

    def _starts(self, candidates: Sequence[Candidate]) -> list[Start]:
        slower, own = SLOWER if "R3" in self.shortcuts else 1, backbones.own_tensors(self.backbone)
        fresh = "R2" in self.shortcuts and not self.experts
        return [
            Start(
                self._fresh(number) if fresh else self.store,
                self._in_optimiser(self._draw(number, 1 - candidate.sparsity)),
                slower * candidate.lr,
                self.head[self._rows],
                own,
            )
            for number, candidate in enumerate(candidates)
        ]

    def _fresh(self, trial: int) -> Store:
        """Initial weights of a trial of its own, as the first task of the release has them."""
        seed = int(seeds.sequence(self.seed, "trial weights", trial).generate_state(1)[0])
        network = backbones.build(self._network, self.image_shape, seed)
        parameters = dict(network.named_parameters())
        return {name: parameters[name].detach().to(self.device) for name in self.store}

    def _side_by_side(self, starts: Sequence[Start], sgd: Sgd) -> Learners:
        rows, rest = self._rows, None
        if len(self.head) and "R7" in self.shortcuts:
            rest = self.head[: rows.start], self.head[rows.stop :]
        elif len(self.head):
            rows = slice(0, self.classes)
        return ReleasedLearners(
            self.backbone,
            starts,
            sgd,
            rows=rows,
            rest=rest,
            everywhere="R7" in self.shortcuts,
            free={name: owner == FREE for name, owner in self.ledger.owner.items()},
        )

    def _draw(self, trial: int, density: float) -> Mask:
        if "R12" not in self.shortcuts:
            return self.ledger.draw(density)
        generator = seeds.numpy_generator(self.seed, "trial masks", len(self.experts), trial)
        densities = erk_densities(list(self.ledger.shapes.values()), density)
        owners = self.ledger.owner.items()
        drawn = {
            name: np.flatnonzero(generator.random(owner.size) < share)
            for (name, owner), share in zip(owners, densities, strict=True)
        }
        return self._divided(density, drawn)

    def _divided(self, density: float, positions: dict[str, np.ndarray]) -> Mask:
        free = {name: self.ledger.owner[name][where] == FREE for name, where in positions.items()}
        new = {name: where[free[name]] for name, where in positions.items()}
        reused = {name: where[~free[name]] for name, where in positions.items()}
        return Mask(len(self.experts), density, new, reused)

    def _in_optimiser(self, mask: Mask) -> Mask:
        """R6: frozen connections are in the optimiser too, without a gradient."""
        if "R6" not in self.shortcuts:
            return mask
        none = {name: part[:0] for name, part in mask.reused.items()}
        return replace(mask, new={name: mask.positions(name) for name in mask.new}, reused=none)

    def _freeze(self, learners: Learners, images: Tensor) -> Expert:
        values, own, head = learners.finished()
        chosen = learners.starts[0]
        self.store = chosen.store
        mask = self._divided(chosen.mask.density, {n: chosen.mask.positions(n) for n in chosen.mask.new})
        self.ledger.claim(mask)
        self._write(chosen.mask, values)  # with R6 more than the mask's new connections
        if "R4" in self.shortcuts and not self.experts:
            # Saved masked: what the first task did not learn is 0 from now on.
            for name, owner in self.ledger.owner.items():
                self.store[name].view(-1)[torch.as_tensor(owner == FREE, device=self.device)] = 0
        expert = self._expert(mask, own, self._head(head), images)
        self.calibrations.append({False: expert.calibration})
        if normalises(self.backbone):
            parts, precision = (
                torch.arange(len(images), device=self.device).split(TEST_BATCH),
                self.options.precision,
            )
            logits = batch_normalised(self.backbone, self.store, expert, images, parts, precision)
            self.calibrations[-1][True] = torch.from_numpy(calibrate(logits.cpu().numpy()))
        return expert

    def _head(self, learned: Tensor) -> Tensor:
        """What turns features into the logits that an expert answers with.

        Of all classes (R7), or of its own.
        """
        if "R5" in self.shortcuts:
            every = torch.eye(self.total, device=self.device)  # the features are logits already
        else:
            self.head[self._rows] = learned
            every = self.head.clone()
        return every if "R7" in self.shortcuts else every[self._rows]
