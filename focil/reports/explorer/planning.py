"""What a plan comes to before anything is trained.

Who would own which connections, and how many bytes that takes.
"""

import math
from functools import cache

from focil import backbones
from focil.backbones import ImageShape
from focil.base import seeds
from focil.masks import RECORD_BYTES, Allocation, erk_counts, erk_densities, fair_share


def plan(
    backbone: str,
    image_shape: ImageShape,
    tasks: int,
    sparsity: float,
    allocation: Allocation,
    seed: int,
) -> dict:
    """Who would own what, without drawing a mask: counts only, in milliseconds.

    For `planned` the counts are those of `Ledger`, to the connection, for every seed. For `independent` they
    are one draw of the same distribution (hypergeometric in each layer), not the draw of a run with this
    seed.

    backbone: a name of `backbones.BACKBONES`. image_shape: (C, H, W). sparsity: share of connections left
    out, in [0, 1). Returns "capacity" (as `Ledger.occupancy`), "densities" and "sizes" (layer -> share,
    connections; shallow to deep), "memory_bytes" (backbone; masks regenerated from their seed, packed as
    bits, or stored as float32; statistics of all experts).
    """
    shapes, own_bytes = _network(backbone, image_shape)
    counts = dict(zip(shapes, erk_counts(list(shapes.values()), 1 - sparsity), strict=True))
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    random = seeds.numpy_generator(seed, "masks")
    free, capacity = dict(sizes), []
    for task in range(tasks):
        new, reused = {}, {}
        for name, size in sizes.items():
            owned = size - free[name]
            if allocation == "planned":
                new[name], reused[name] = fair_share(counts[name], free[name], owned, tasks - task)
            else:
                new[name] = int(random.hypergeometric(free[name], owned, counts[name]))
                reused[name] = counts[name] - new[name]
            free[name] -= new[name]
        share = sum(new.values()) / (sum(new.values()) + sum(reused.values()))
        capacity.append({"owned": new, "reused": reused, "free": dict(free), "trainable_share": share})
    densities = dict(zip(shapes, erk_densities(list(shapes.values()), 1 - sparsity), strict=True))
    memory = _memory(sum(sizes.values()), own_bytes, tasks)
    return {"capacity": capacity, "densities": densities, "sizes": sizes, "memory_bytes": memory}


@cache
def _network(backbone: str, image_shape: ImageShape) -> tuple[dict[str, tuple[int, ...]], int]:
    module = backbones.build(backbone, image_shape, seed=0)  # shapes do not depend on the seed
    return backbones.masked_shapes(module), sum(
        tensor.nbytes for tensor in backbones.own_tensors(module).values()
    )


def _memory(connections: int, own_bytes: int, tasks: int) -> dict[str, int]:
    return {
        "backbone": 4 * connections,
        "statistics": own_bytes * tasks,
        "masks_regenerated": RECORD_BYTES * tasks,
        "masks_packed": -(-connections // 8) * tasks,
        "masks_float32": 4 * connections * tasks,
    }
