"""What can be made of the sums that a router keeps: other classifiers than its own, for `variants`."""

from collections.abc import Callable

import torch
from torch import Tensor

from focil.router import discriminant
from focil.router.discriminant import Discriminant
from focil.router.router import RIDGE

RANK = 256
COARSE = 30 * RIDGE  # what rounding to float16 adds and takes away must not make the covariance indefinite
# Sums over the stream, features of other images -> scores (N, classes).
Rule = Callable[[Discriminant, Tensor], Tensor]


def scores(sums: Discriminant, features: Tensor) -> Tensor:
    """The default."""
    return sums.scores(features)


def with_ridge(ridge: float) -> Rule:
    """Another ridge."""

    def rule(sums: Discriminant, features: Tensor) -> Tensor:
        return _like(sums, sums.moments[0], ridge).scores(features)

    return rule


def least_squares(sums: Discriminant, features: Tensor) -> Tensor:
    """Ridge regression on one-hot labels, with a constant, from the same sums."""
    total, count = discriminant.unpack(sums.moments[0]).double(), sums.counts.sum()
    mean = sums.sums.sum(dim=0).double() / count
    spread = total / count - mean.outer(mean)
    spread.diagonal().add_(sums.ridge * spread.diagonal().mean())
    share = sums.counts / count
    shared = sums.sums.T.double() / count - mean[:, None] * share
    return ((features.double() - mean) @ torch.linalg.solve(spread, shared) + share).float()


def half_precision(sums: Discriminant, features: Tensor) -> Tensor:
    """The second moments rounded to float16, in units of the features' own, as if they had been kept so."""
    total = discriminant.unpack(sums.moments[0])
    scale = total.diagonal().sqrt().clamp(min=1e-30)
    rounded = (total / scale.outer(scale)).half().float() * scale.outer(scale)
    return _like(sums, discriminant.pack(rounded), COARSE).scores(features)


def low_rank(sums: Discriminant, features: Tensor) -> Tensor:
    """The within-class scatter as its strongest directions, and what is left on the diagonal."""
    between = sums.sums.T @ (sums.sums / sums.counts[:, None])
    within = discriminant.unpack(sums.moments[0]) - between
    values, axes = torch.linalg.eigh(within)
    strong = axes[:, -RANK:] * values[-RANK:] @ axes[:, -RANK:].T
    strong.diagonal().copy_(within.diagonal())
    return _like(sums, discriminant.pack(strong + between), sums.ridge).scores(features)


def _like(sums: Discriminant, moments: Tensor, ridge: float) -> Discriminant:
    other = Discriminant(sums.sums.shape[1], len(sums.counts), ridge, sums.sums.device)
    other.load(sums.state() | {"moments": moments[None]})
    return other
