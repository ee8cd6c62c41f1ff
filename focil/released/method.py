"""FOCIL as released: what a shortcut changes in training and in what an expert answers with."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from focil import backbones, seeds
from focil.backbones import ImageShape
from focil.confidence import RULES, calibrate
from focil.expert import Expert, Store, gather_statistics, masked_weights
from focil.masks import FREE, Mask, erk_densities
from focil.methods.focil import Focil, FocilOptions
from focil.released.learners import TEST_BATCH, Classified, ReleasedLearners, batch_normalised, normalises
from focil.released.search import TRIALS, asynchronous_halving
from focil.search import Batch, Candidate, halve
from focil.stream import Task
from focil.trainer import Learners, Sgd

SLOWER = 0.01  # R3

# What the release has where ours differs, beside its shortcuts.
OPTIONS = FocilOptions(
    sparsities=(0.98, 0.96, 0.94, 0.92, 0.90),
    learning_rates=(0.05, 0.10, 0.15, 0.20, 0.25, 0.30),
    averaging=0,
    label_smoothing=0,
    router="none",
)


class Released(Focil):
    """FOCIL with `shortcuts` taken in training: R2, R3, R4, R5, R6, R7, R12. Those at test time are the audit's (`audit.Answers`).

    Arguments as of `Focil`. `passes` holds how often each task's images were read; `calibrations` each expert's confidence on
    its held images, (rules, 2), with running statistics (False) and with those of each batch (True, R8).
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
        super().__init__(self._network, image_shape, tasks, classes, seed, options.model_copy(update={"router": "none"}), device)
        self.image_shape = image_shape
        self.passes: list[float] = []
        self.calibrations: list[dict[bool, Tensor]] = []
        self.head = torch.cat([self._new_head(task) for task in range(tasks)])  # (all classes, F)
        if "R5" in self.shortcuts:
            self.head = self.head[:0]  # the backbone has it

    def learn(self, task: Task) -> None:
        """Train the task's expert, by 20 trials (R2) or as `Focil` does, then freeze it."""
        self._rows = slice(task.index * self.classes, (task.index + 1) * self.classes)
        searched = "R2" in self.shortcuts
        trials = self._trials(task.index) if searched else [Candidate(s, lr) for s in self.options.sparsities for lr in self.options.learning_rates]
        self._stores = [self._fresh(trial) if searched and not self.experts else self.store for trial in range(len(trials))]
        groups = self._learners(trials)

        def again() -> Batch | None:
            return task.again(self.options.again)

        if searched:
            learners, best = asynchronous_halving(groups, trials, task.batches(), again)
        else:
            learners, best = halve(groups, trials, task.batches(), self.options.first_rung, again)
        self.store = next(store for store, trial in zip(self._stores, trials, strict=True) if trial is best)
        self.experts.append(self._freeze(learners, task.held()[0]))
        task.release()
        self.passes.append(sum(len(trial.accuracy) for trial in trials) / len(best.accuracy) if searched else task.draws_per_sample)
        self.report.append({"sparsity": best.sparsity, "lr": best.lr, "prequential": float(np.mean(best.accuracy))})

    def logits(self, expert: int, images: Tensor, groups: Sequence[Tensor] | None = None) -> Tensor:
        """Logits (N, classes of the task, or of all tasks with R7) of one expert for normalised images (N, C, H, W).

        groups (R8): positions of the images that are normalised together, each with its own group's statistics.
        """
        if groups is None:
            return self.scores(images, [expert])[:, 0]
        return batch_normalised(self.backbone, self.store, self.experts[expert], images, groups, self.options.precision)

    def _network(self, image_shape: ImageShape) -> nn.Module:
        network = self._build(image_shape)
        if "R5" not in self.shortcuts:
            return network
        return Classified(network, backbones.feature_size(network, image_shape), self.total)

    def _trials(self, task: int) -> list[Candidate]:
        generator = seeds.numpy_generator(self.seed, "trials", task)
        pairs = zip(generator.choice(self.options.sparsities, TRIALS), generator.choice(self.options.learning_rates, TRIALS), strict=True)
        return [Candidate(float(sparsity), float(rate)) for sparsity, rate in pairs]

    def _fresh(self, trial: int) -> Store:
        """Initial weights of a trial of its own, as the first task of the release has them."""
        seed = int(seeds.sequence(self.seed, "trial weights", trial).generate_state(1)[0])
        network = backbones.build(self._network, self.image_shape, seed)
        return {name: weights.detach().to(self.device) for name, weights in network.named_parameters() if name in self.store}

    def _learners(self, candidates: Sequence[Candidate]) -> list[Learners]:
        options = self.options
        sgd = Sgd(options.momentum, options.weight_decay, options.averaging, options.label_smoothing, options.precision)
        slower = SLOWER if "R3" in self.shortcuts else 1
        own, head, rest = self._rows, self.head[self._rows], None
        if "R7" in self.shortcuts and len(head):
            rest = self.head[: own.start], self.head[own.stop :]
        elif len(head):
            own = slice(0, self.classes)
        masks = [self._draw(number, 1 - candidate.sparsity) for number, candidate in enumerate(candidates)]
        single = self.device.type == "cpu" and any(w.ndim > 2 for w in self.store.values())  # as in Focil
        numbers = range(len(candidates))
        return [
            ReleasedLearners(
                self.backbone,
                [self._stores[i] for i in group],
                [self._in_optimiser(masks[i]) for i in group],
                [slower * candidates[i].lr for i in group],
                [head] * len(group),
                [backbones.own_tensors(self.backbone)] * len(group),
                sgd,
                rows=own,
                rest=rest,
                everywhere="R7" in self.shortcuts,
                owned=[masks[i].reused for i in group],
            )
            for group in ([[i] for i in numbers] if single else [list(numbers)])
        ]

    def _draw(self, trial: int, density: float) -> Mask:
        if "R12" not in self.shortcuts:
            return self.ledger.draw(density)
        generator = seeds.numpy_generator(self.seed, "trial masks", len(self.experts), trial)
        densities = erk_densities(list(self.ledger.shapes.values()), density)
        drawn = {n: np.flatnonzero(generator.random(o.size) < d) for (n, o), d in zip(self.ledger.owner.items(), densities, strict=True)}
        return self._divided(density, drawn)

    def _divided(self, density: float, positions: dict[str, np.ndarray]) -> Mask:
        free = {name: self.ledger.owner[name][where] == FREE for name, where in positions.items()}
        new = {name: where[free[name]] for name, where in positions.items()}
        return Mask(len(self.experts), density, new, {name: where[~free[name]] for name, where in positions.items()})

    def _in_optimiser(self, mask: Mask) -> Mask:
        """R6: frozen connections are in the optimiser too, without a gradient."""
        if "R6" not in self.shortcuts:
            return mask
        return replace(mask, new={name: mask.positions(name) for name in mask.new}, reused={name: part[:0] for name, part in mask.reused.items()})

    def _freeze(self, learners: Learners, images: Tensor) -> Expert:
        values, own, head = learners.finished()
        trained = learners.masks[0]
        mask = self._divided(trained.density, {name: trained.positions(name) for name in trained.new})
        self.ledger.claim(mask)
        for name, positions in trained.new.items():
            self.store[name].view(-1)[torch.as_tensor(positions, device=self.device)] = values[name]
        if "R4" in self.shortcuts and not self.experts:
            for name, owner in self.ledger.owner.items():  # saved masked: what the first task did not learn is 0 from now on
                self.store[name].view(-1)[torch.as_tensor(owner == FREE, device=self.device)] = 0
        own = gather_statistics(self.backbone, masked_weights(self.store, mask), own, images, self.options.precision)
        expert = Expert(mask, own, self._head(head), calibration=torch.zeros(len(RULES), 2, dtype=torch.float64))
        parts = torch.arange(len(images), device=self.device).split(TEST_BATCH)
        ways: dict[bool, Callable[[], Tensor]] = {False: lambda: expert.logits(self.backbone, self.store, images, self.options.precision)}
        if normalises(self.backbone):
            ways[True] = lambda: batch_normalised(self.backbone, self.store, expert, images, parts, self.options.precision)
        self.calibrations.append({batches: torch.from_numpy(calibrate(logits().cpu().numpy())) for batches, logits in ways.items()})
        return replace(expert, calibration=self.calibrations[-1][False])

    def _head(self, learned: Tensor) -> Tensor:
        """What turns features into the logits that an expert answers with: of all classes (R7), or of its own."""
        if "R5" in self.shortcuts:
            every = torch.eye(self.total, device=self.device)  # the features are logits already
        else:
            self.head[self._rows] = learned
            every = self.head.clone()
        return every if "R7" in self.shortcuts else every[self._rows]
