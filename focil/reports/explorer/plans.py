"""The page of a plan, as HTML: a sentence, a picture, and its numbers."""

import math

from focil.backbones import ImageShape
from focil.base import words
from focil.figures import occupancy, parts, planning
from focil.masks import Allocation
from focil.memo.account import in_exemplars
from focil.reports.explorer import pieces
from focil.reports.explorer.planning import plan

NETWORKS: dict[str, tuple[str, ImageShape]] = {
    "MLP 784-300-100 (28 x 28 pixels)": ("mlp", (1, 28, 28)),
    "MLP 64-300-100 (8 x 8 pixels)": ("mlp", (1, 8, 8)),
    "ResNet18 (32 x 32 pixels, colour)": ("resnet18", (3, 32, 32)),
}
MEMORY = {
    "backbone": "backbone, float32",
    "statistics": "biases and statistics of all experts",
    "masks_regenerated": "all masks, drawn again from the seed (what focil keeps)",
    "masks_packed": "all masks as packed bits",
    "masks_float32": "all masks as float32 (the released code)",
}


def planned(network: str, sparsity: float, tasks: int, allocation: Allocation, seed: int) -> str:
    """The page of a plan: a sentence, a picture, what it takes in memory, and the counts of every task.

    network: a key of `NETWORKS`. The rest as in `planning.plan`.
    """
    backbone, image_shape = NETWORKS[network]
    found = plan(backbone, image_shape, tasks, sparsity, allocation, seed)
    image = math.prod(image_shape)  # bytes: pixels are uint8
    memory = [
        (MEMORY[part], f"{size:,}", f"{in_exemplars(size, image):,.1f}")
        for part, size in found["memory_bytes"].items()
    ]
    used = occupancy.used(found["capacity"])
    counts = [
        (
            task,
            *(f"{sum(row[part].values()):,}" for part in ("owned", "reused", "free")),
            parts.percent(row["trainable_share"]),
            parts.percent(share),
        )
        for task, (row, share) in enumerate(zip(found["capacity"], used, strict=True), 1)
    ]
    return (
        pieces.status(summary(found, allocation))
        + pieces.picture(planning.plan(found))
        + pieces.table(
            "Memory; heads and router come on top",
            ("what", "bytes", f"worth as many images of {image:,} bytes"),
            memory,
        )
        + pieces.folded(
            "Every task in numbers",
            pieces.table(
                "Connections",
                ("task", "new", "re-used", "still free", "trained share", "network used"),
                counts,
            ),
        )
    )


def summary(found: dict, allocation: Allocation) -> str:
    """What a plan comes to, in sentences for the page and its screen readers.

    found: as `planning.plan` returns it.
    """
    capacity = found["capacity"]
    layers = list(found["densities"].items())
    first, last = (f"{density:.3f} in {words.layer(name)}" for name, density in (layers[0], layers[-1]))
    how = (
        "exact, the same for every seed"
        if allocation == "planned"
        else "one random draw, another seed gives slightly other counts"
    )
    return (
        f"Counts: {how}. The last of {len(capacity)} tasks trains "
        f"{parts.percent(capacity[-1]['trainable_share'])} of its mask. ERK density from {first} to {last}. "
        f"The backbone takes {found['memory_bytes']['backbone']:,} bytes."
    )
