"""The explorer: how sparsity, tasks and allocation decide who owns what. Widgets above, one plain function below them."""

import base64
import html
import math
from functools import cache

import ipywidgets as widgets

from focil import backbones, seeds
from focil.backbones import ImageShape
from focil.figures import occupancy, parts, style
from focil.masks import Allocation, erk_counts, erk_densities

NETWORKS: dict[str, tuple[str, ImageShape]] = {
    "MLP 784-300-100 (28 x 28 pixels)": ("mlp", (1, 28, 28)),
    "MLP 64-300-100 (8 x 8 pixels)": ("mlp", (1, 8, 8)),
    "ResNet18 (32 x 32 pixels, colour)": ("resnet18", (3, 32, 32)),
}


def plan(backbone: str, image_shape: ImageShape, tasks: int, sparsity: float, allocation: Allocation, seed: int) -> dict:
    """Who would own what, without drawing a mask: counts only, in milliseconds.

    For `planned` the counts are those of `Ledger`, to the connection, for every seed. For `independent` they are one draw of the same
    distribution (hypergeometric in each layer), not the draw of a run with this seed.

    backbone: a name of `backbones.BACKBONES`. image_shape: (C, H, W). sparsity: share of connections left out, in [0, 1).
    Returns "capacity" (as `Ledger.occupancy`), "densities" and "sizes" (layer -> share, connections; shallow to deep), "memory_bytes"
    (backbone; masks regenerated from their seed, packed as bits, or stored as float32; statistics of all experts).
    """
    shapes, own_bytes = _network(backbone, image_shape)
    counts = dict(zip(shapes, erk_counts(list(shapes.values()), 1 - sparsity), strict=True))
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    random = seeds.numpy_generator(seed, "masks")
    free, capacity = dict(sizes), []
    for task in range(tasks):
        if allocation == "planned":
            new = {name: min(counts[name], free[name] // (tasks - task)) for name in sizes}
        else:
            new = {name: int(random.hypergeometric(free[name], sizes[name] - free[name], counts[name])) for name in sizes}
        reused = {name: min(counts[name] - new[name], sizes[name] - free[name]) for name in sizes}
        free = {name: free[name] - new[name] for name in sizes}
        share = sum(new.values()) / (sum(new.values()) + sum(reused.values()))
        capacity.append({"owned": new, "reused": reused, "free": free, "trainable_share": share})
    densities = dict(zip(shapes, erk_densities(list(shapes.values()), 1 - sparsity), strict=True))
    memory = _memory(sum(sizes.values()), own_bytes, tasks)
    return {"capacity": capacity, "densities": densities, "sizes": sizes, "memory_bytes": memory}


def summary(planned: dict, allocation: Allocation) -> str:
    """What a plan comes to, in sentences for the page and its screen readers."""
    capacity, memory = planned["capacity"], planned["memory_bytes"]
    layers = list(planned["densities"].items())
    first, last = (f"{density:.3f} in {parts.short(name)}" for name, density in (layers[0], layers[-1]))
    how = "exact, the same for every seed" if allocation == "planned" else "one random draw, another seed gives slightly other counts"
    return (
        f"Counts: {how}. The last of {len(capacity)} tasks trains {parts.percent(capacity[-1]['trainable_share'])} of its mask. "
        f"ERK density from {first} to {last}. "
        f"Memory: backbone {_mb(memory['backbone'])}, statistics {_mb(memory['statistics'])}; masks {_mb(memory['masks_regenerated'])} "
        f"regenerated, {_mb(memory['masks_packed'])} packed, {_mb(memory['masks_float32'])} as float32."
    )


def explorer() -> widgets.VBox:
    """The controls and the pictures that follow them; every control has a name and works from the keyboard."""
    wide = {"style": {"description_width": "9em"}, "layout": {"width": "32em"}}
    controls = {
        "network": widgets.Dropdown(options=list(NETWORKS), description="Backbone", **wide),
        "sparsity": widgets.FloatSlider(0.94, min=0.5, max=0.99, step=0.01, description="Sparsity", continuous_update=False, **wide),
        "tasks": widgets.IntSlider(20, min=1, max=100, description="Tasks planned", continuous_update=False, **wide),
        "allocation": widgets.Dropdown(options=["planned", "independent"], description="Allocation", **wide),
        "seed": widgets.BoundedIntText(0, min=0, max=2**31 - 1, description="Seed", **wide),
    }
    page = widgets.HTML()

    def follow(_change=None) -> None:
        page.value = render(**{name: control.value for name, control in controls.items()})

    for control in controls.values():
        control.observe(follow, names="value")
    follow()
    return widgets.VBox([*controls.values(), page])


def render(network: str, sparsity: float, tasks: int, allocation: Allocation, seed: int) -> str:
    """The explorer's page for these settings, as HTML: the summary and two pictures with alternative text."""
    planned = plan(*NETWORKS[network], tasks, sparsity, allocation, seed)
    pictures = [occupancy.trainable(planned["capacity"]), occupancy.heatmap(planned["capacity"])]
    return f'<p role="status">{html.escape(summary(planned, allocation))}</p>' + "".join(map(_img, pictures))


def _img(picture: style.Picture) -> str:
    data = base64.b64encode(style.png(picture)).decode()
    return f'<img alt="{html.escape(picture.alt)}" src="data:image/png;base64,{data}" style="max-width: 100%; display: block">'


@cache
def _network(backbone: str, image_shape: ImageShape) -> tuple[dict[str, tuple[int, ...]], int]:
    module = backbones.build(backbone, image_shape, seed=0)  # shapes do not depend on the seed
    return backbones.masked_shapes(module), sum(tensor.nbytes for tensor in backbones.own_tensors(module).values())


def _memory(connections: int, own_bytes: int, tasks: int) -> dict[str, int]:
    return {
        "backbone": 4 * connections,
        "masks_regenerated": (8 + 32) * tasks,  # one float64 density and one SHA-256 each
        "masks_packed": -(-connections // 8) * tasks,
        "masks_float32": 4 * connections * tasks,
        "statistics": own_bytes * tasks,
    }


def _mb(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count:,} bytes"
