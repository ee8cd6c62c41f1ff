"""A streaming linear discriminant over all classes seen: no task id, no stored image, no gradient.

All that is kept are sums over the stream: images, feature sums of each class, and a matrix of second
moments. So nothing can be forgotten, and neither the order of classes nor their split into tasks matters.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int64
from torch import Tensor


class Discriminant:
    """Gaussian classes with one covariance (Fisher 1936; streaming: Hayes and Kanan 2020, "Deep SLDA").

    features: length of a feature vector. classes: classes that will be seen, in the order of the tasks.
    ridge: what is added to the diagonal of the within-class covariance, in units of its mean. blocks: equal
    parts of the features, of even length, that are taken as independent of each other: as many discriminants
    whose scores are added. For the same bytes they see more features.
    """

    def __init__(
        self,
        features: int,
        classes: int,
        ridge: float,
        device: str | torch.device = "cpu",
        blocks: int = 1,
    ):
        if features % (2 * blocks):
            raise ValueError(
                f"the packed covariance needs an even number of features a block, not {features} in {blocks}"
            )
        size = features // blocks
        self.ridge = ridge
        self.counts = torch.zeros(classes, dtype=torch.int64, device=device)
        self.sums = torch.zeros(classes, features, device=device)
        self.moments = torch.zeros(blocks, size // 2, size + 1, device=device)  # symmetric, see `unpack`
        self._rule: tuple[Tensor, Tensor] | None = None

    def observe(self, features: Float[Tensor, "N F"], labels: Int64[Tensor, " N"]) -> None:
        """Add features of classes to the sums."""
        for moments, part in zip(self.moments, features.chunk(len(self.moments), dim=1), strict=True):
            half = len(moments)
            left, right = part[:, :half], part[:, half:]
            # A quarter of the products that symmetry gives is left out.
            moments[:, :half] += left.T @ right
            moments[:, half + 1 :] += (left.T @ left).triu_()
            moments[:, half:-1] += (right.T @ right).tril_()
        self.sums.index_add_(0, labels, features)
        self.counts += torch.bincount(labels, minlength=len(self.counts))
        self._rule = None

    def scores(self, features: Float[Tensor, "N F"]) -> Float[Tensor, "N classes"]:
        """Log-posterior of every class up to a constant per row, equal priors; -inf for classes not seen."""
        if self._rule is None:
            self._rule = self._solve()
        weights, biases = self._rule
        return features @ weights + biases

    def part(self, kept: Int64[Tensor, " kept"]) -> "Discriminant":
        """The discriminant that would have been learned on the features `kept` alone, as many of each
        block."""
        blocks, size = len(self.moments), self.sums.shape[1] // len(self.moments)
        smaller = Discriminant(len(kept), len(self.counts), self.ridge, self.sums.device, blocks)
        smaller.counts, smaller.sums = self.counts, self.sums[:, kept]
        inside = kept.view(blocks, -1) - size * torch.arange(blocks, device=kept.device)[:, None]
        smaller.moments = torch.stack(
            [pack(unpack(moments)[own][:, own]) for moments, own in zip(self.moments, inside, strict=True)]
        )
        return smaller

    @property
    def nbytes(self) -> int:
        """Bytes of the sums."""
        return nbytes(self.sums.shape[1], len(self.counts), len(self.moments))

    def state(self) -> dict:
        """Tensors for `load`."""
        return {"counts": self.counts, "sums": self.sums, "moments": self.moments}

    def load(self, state: dict) -> None:
        """Continue from a `state`."""
        device, shape = self.counts.device, self.moments.shape
        self.counts, self.sums, moments = (state[key].to(device) for key in ("counts", "sums", "moments"))
        self.moments = moments.reshape(shape)  # earlier versions had one block, and no dimension for it
        self._rule = None

    def _solve(self) -> tuple[Tensor, Tensor]:
        seen = self.counts > 0
        weights = self.sums.new_zeros(self.sums.shape[1], len(seen))
        biases = self.sums.new_full((len(seen),), -torch.inf)
        biases[seen] = 0
        blocks = len(self.moments)
        parts = zip(self.moments, self.sums.chunk(blocks, dim=1), weights.chunk(blocks), strict=True)
        for moments, sums, directions in parts:
            # Blocks are not quite independent: the sum of their scores is surer than it is right.
            own, constants = self._solve_block(moments, sums[seen], self.counts[seen])
            directions[:, seen] = (own / blocks**0.5).float()
            biases[seen] += (constants / blocks**0.5).float()
        return weights, biases

    def _solve_block(self, moments: Tensor, sums: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
        means = sums.double() / counts[:, None]
        total = unpack(moments).double() / counts.sum()
        within = total - sums.double().T @ means / counts.sum()
        # Classes without any scatter of their own (one image each) leave only what the float32 sums were
        # rounded by.
        rounding = 1e-6 * total.trace() + torch.finfo(torch.float32).tiny
        within.diagonal().add_(torch.maximum(self.ridge * within.diagonal().mean(), rounding))
        directions = torch.cholesky_solve(means.T, torch.linalg.cholesky(within))  # (size, seen)
        return directions, -0.5 * (means.T * directions).sum(dim=0)


def class_offsets(
    sums: Float[Tensor, "all_classes F"],
    counts: Int64[Tensor, " all_classes"],
    tasks: int,
    scores: Callable[[Tensor], Tensor],
) -> Float[Tensor, "tasks classes"]:
    """Score that each class has on average over the images of its task, all classes weighing the same.

    Known from the sums alone; nan for tasks not seen. scores: features (N, F) -> (N, tasks, classes). Inside
    one task the discriminant's constants hold classes back by their distance from the mean of all;
    subtracting these lets the classes of a task start even.
    """
    means = (sums / counts[:, None]).unflatten(0, (tasks, -1)).nanmean(dim=1)  # (tasks, F)
    own = torch.arange(tasks)
    return scores(means)[own, own]


def nbytes(features: int, classes: int, blocks: int = 1) -> int:
    """Bytes of the sums of a `Discriminant`."""
    return 2 * features * (features // blocks + 1) + 4 * classes * features + 8 * classes


def pack(matrix: Float[Tensor, "F F"]) -> Float[Tensor, "F//2 F+1"]:
    """A symmetric matrix of even size, each of its numbers once; the inverse of `unpack`."""
    half = len(matrix) // 2
    packed = matrix.new_zeros(half, 2 * half + 1)
    packed[:, :half] = matrix[:half, half:]
    packed[:, half + 1 :] += matrix[:half, :half].triu()
    packed[:, half:-1] += matrix[half:, half:].tril()
    return packed


def unpack(packed: Float[Tensor, "half columns"]) -> Float[Tensor, "2*half 2*half"]:
    """The symmetric matrix [[A, B], [B', D]] from [B | A's upper and D's lower triangle side by side].

    The idea is LAPACK's "rectangular full packed" format.
    """
    half = len(packed)
    upper, lower = packed[:, half + 1 :].triu(), packed[:, half:-1].tril()
    first = upper + upper.triu(1).T
    second = lower + lower.tril(-1).T
    across = packed[:, :half]
    return torch.cat([torch.cat([first, across], dim=1), torch.cat([across.T, second], dim=1)])
