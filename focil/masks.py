"""Which connections an expert has: ERK densities, drawing within a planned capacity, and the ledger of
owners.

FOCIL (arXiv 2403.14684 v1, section 3) draws one random mask per task over the backbone's weights. Connections
that an older expert owns are used but never changed; the others are trained and belong to the task from then
on.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from focil.base import seeds
from focil.base.errors import FocilError

FREE = -1  # owner of a connection that no task owns
RECORD_BYTES = 8 + 32  # what is kept of a mask: its density as float64, and its SHA-256
Shapes = Mapping[str, tuple[int, ...]]
Allocation = Literal["planned", "independent"]


class MaskError(FocilError, ValueError):
    """A mask that cannot be drawn or claimed as asked."""


class MaskMismatch(FocilError):
    """A regenerated mask is not the recorded one."""


def erk_densities(shapes: Sequence[tuple[int, ...]], density: float) -> list[float]:
    """Density of each layer by the Erdos-Renyi-kernel rule.

    Layer l of shape s gets eps * sum(s) / prod(s), with eps such that the whole has `density`; a layer that
    would pass 1 is dense and eps is solved again for the rest (Evci et al. 2020, "Rigging the Lottery",
    section 3; FOCIL section 3).

    shapes: weight shapes, shallow to deep. density: share of connections kept over all layers, in (0, 1].
    Returns one density per layer, in (0, 1]. Raises MaskError for a density outside (0, 1] or without layers.

    >>> [round(share, 3) for share in erk_densities([(300, 64), (100, 300)], density=0.06)]
    [0.073, 0.052]
    """
    if not 0 < density <= 1:
        raise MaskError(
            f"density {density} is outside (0, 1]; density = 1 - sparsity, for example 0.06 for a sparsity "
            "of 0.94"
        )
    if not shapes:
        raise MaskError("there is no layer to mask: the backbone has no weight with two or more dimensions")
    sizes = np.array([np.prod(shape) for shape in shapes], dtype=np.float64)
    raw = np.array([np.sum(shape) for shape in shapes]) / sizes
    dense = np.zeros(len(sizes), dtype=bool)
    while True:
        rest = density * sizes.sum() - sizes[dense].sum()
        eps = rest / (raw * sizes)[~dense].sum() if not dense.all() else 0.0
        overfull = ~dense & (eps * raw > 1)
        if not overfull.any():
            return np.where(dense, 1.0, eps * raw).tolist()
        dense |= overfull


def erk_counts(shapes: Sequence[tuple[int, ...]], density: float) -> list[int]:
    """Number of connections of each layer by ERK, exact: they sum to round(density * all connections).

    Fractions are settled by the largest remainder, not by a coin per weight. Arguments and errors as in
    `erk_densities`.

    >>> erk_counts([(300, 64), (100, 300)], density=0.06)
    [1406, 1546]
    """
    sizes = np.array([np.prod(shape) for shape in shapes], dtype=np.int64)
    quotas = np.array(erk_densities(shapes, density)) * sizes
    counts = np.minimum(np.floor(quotas).astype(np.int64), sizes)
    missing = round(density * int(sizes.sum())) - int(counts.sum())
    by_remainder = np.argsort(counts - quotas, kind="stable")
    by_remainder = by_remainder[counts[by_remainder] < sizes[by_remainder]]
    counts[by_remainder[:missing]] += 1
    return counts.tolist()


@dataclass(frozen=True)
class Mask:
    """The connections of one task's expert, as sorted flat positions (int64) per layer name.

    `new` are trained by this task and owned by it afterwards; `reused` belong to older tasks and are read
    only.
    """

    task: int
    density: float
    new: dict[str, np.ndarray]
    reused: dict[str, np.ndarray]

    @cached_property
    def sha256(self) -> str:
        """Hash of the task and of every position; a regenerated mask must have the recorded one."""
        digest = hashlib.sha256(str(self.task).encode())
        for name in self.new:
            for part in (self.new[name], self.reused[name]):
                digest.update(f"{name}:{len(part)};".encode())
                digest.update(part.astype("<i8").tobytes())
        return digest.hexdigest()

    @property
    def size(self) -> int:
        """Number of connections, new and re-used."""
        return sum(map(len, self.new.values())) + sum(map(len, self.reused.values()))

    @property
    def trainable_share(self) -> float:
        """Share of the mask's connections that this task trains."""
        return sum(map(len, self.new.values())) / self.size

    def positions(self, name: str) -> np.ndarray:
        """All positions of a layer, new and re-used, sorted (int64)."""
        return np.sort(np.concatenate([self.new[name], self.reused[name]]))


class Ledger:
    """Who owns which connection, and the drawing of the next task's mask.

    `planned` (ours): in each layer a task may take its equal part of what is still free, free / (tasks to
    come); the rest of its mask re-uses connections of older tasks, so that the last task still has
    connections to train. `independent` (as published): masks are drawn without regard to what is free.

    shapes: layer name -> weight shape, shallow to deep. tasks: number of tasks planned for. seed: of the run;
    masks have a random stream of their own, so the ledger can be rebuilt from (seed, densities) alone.
    """

    def __init__(self, shapes: Shapes, tasks: int, seed: int, allocation: Allocation = "planned"):
        self.shapes = dict(shapes)
        self.tasks = tasks
        self.seed = seed
        self.allocation = allocation
        self.owner = {
            name: np.full(int(np.prod(shape)), FREE, dtype=np.int16) for name, shape in self.shapes.items()
        }
        self.claimed: list[Mask] = []
        self._keys: tuple[int, dict[str, np.ndarray]] = (FREE, {})

    def draw(self, density: float) -> Mask:
        """The next task's mask at `density` (share of the masked layers' connections, head not counted).

        With planned allocation it is smaller where the task's part and all owned connections are fewer.

        Masks of several densities for one task share one random priority per connection: of the sparser one's
        new connections, as many as fit are in the denser one. Raises MaskError when all planned tasks have
        claimed theirs, or when none is left for this one.
        """
        task = len(self.claimed)
        if task >= self.tasks:
            raise MaskError(
                f"capacity was planned for {self.tasks} tasks and all have their mask; plan for more tasks "
                "from the start"
            )
        counts = erk_counts(list(self.shapes.values()), density)
        new, reused = {}, {}
        for (name, keys), count in zip(self._priorities(task).items(), counts, strict=True):
            new[name], reused[name] = self._draw_layer(name, keys, count)
        mask = Mask(task, density, new, reused)
        if not mask.size:
            raise MaskError(
                f"at density {density} task {task} of {self.tasks} has no connection at all: "
                f"{sum(o.size for o in self.owner.values())} connections are "
                "too few. Lower the sparsity, plan for fewer tasks, or take a larger backbone."
            )
        return mask

    def claim(self, mask: Mask) -> None:
        """Record that `mask.task` owns its new connections, for ever.

        Raises MaskError if one is owned or out of turn.
        """
        if mask.task != len(self.claimed):
            raise MaskError(f"task {mask.task} claims out of turn; task {len(self.claimed)} is next")
        for name, positions in mask.new.items():
            if (self.owner[name][positions] != FREE).any():
                raise MaskError(
                    f"task {mask.task} claims connections of layer {name} that an older task owns"
                )
        for name, positions in mask.new.items():
            self.owner[name][positions] = mask.task
        self.claimed.append(mask)

    def restore(self, records: Sequence[Mapping]) -> None:
        """Draw and claim recorded masks again: (density, sha256) per task.

        Raises MaskMismatch if a hash differs.
        """
        for record in records:
            mask = self.draw(record["density"])
            if mask.sha256 != record["sha256"]:
                raise MaskMismatch(
                    f"the mask of task {mask.task} was regenerated with hash {mask.sha256[:12]}, but "
                    f"{record['sha256'][:12]} is recorded: the run folder belongs to another seed or "
                    "backbone, or was altered; run it again from the start (--fresh)"
                )
            self.claim(mask)

    def records(self) -> list[dict]:
        """What `restore` needs: a few bytes per task."""
        return [{"density": mask.density, "sha256": mask.sha256} for mask in self.claimed]

    def occupancy(self) -> list[dict]:
        """Per claimed task: owned, reused and free connections by layer, as the task found and left them.

        owned + reused is the mask; free counts what no task up to this one owns.
        """
        free = {name: owner.size for name, owner in self.owner.items()}
        rows = []
        for mask in self.claimed:
            for name in free:
                free[name] -= len(mask.new[name])
            rows.append(
                {
                    "owned": {name: len(positions) for name, positions in mask.new.items()},
                    "reused": {name: len(positions) for name, positions in mask.reused.items()},
                    "free": dict(free),
                    "trainable_share": mask.trainable_share,
                }
            )
        return rows

    def _priorities(self, task: int) -> dict[str, np.ndarray]:
        if self._keys[0] != task:
            layers = enumerate(self.shapes)
            self._keys = (
                task,
                {
                    name: seeds.raw_bits(self.seed, "masks", task, i, count=self.owner[name].size)
                    for i, name in layers
                },
            )
        return self._keys[1]

    def _draw_layer(self, name: str, keys: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        free = np.flatnonzero(self.owner[name] == FREE)
        if self.allocation == "independent":
            chosen = _lowest(keys, np.arange(keys.size), count)
            owned = self.owner[name][chosen] != FREE
            return chosen[~owned], chosen[owned]
        owned = np.flatnonzero(self.owner[name] != FREE)
        new, reused = fair_share(count, len(free), len(owned), self.tasks - len(self.claimed))
        return _lowest(keys, free, new), _lowest(keys, owned, reused)


def fair_share(count: int, free: int, owned: int, tasks_left: int) -> tuple[int, int]:
    """How many new and re-used connections of a layer a planned mask of `count` has.

    free, owned: connections that nobody owns yet, and that an older task owns. tasks_left: tasks that still
    need a mask, this one among them; each may take an equal part of what is free.

    >>> fair_share(count=100, free=400, owned=600, tasks_left=10)
    (40, 60)
    """
    new = min(count, free // tasks_left)
    return new, min(count - new, owned)


def _lowest(keys: np.ndarray, pool: np.ndarray, count: int) -> np.ndarray:
    """The `count` positions of `pool` with the lowest keys, sorted by position."""
    if count >= len(pool):
        return pool
    return np.sort(pool[np.argpartition(keys[pool], count)[:count]])
