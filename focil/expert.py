"""An expert: a masked, frozen sub-network of the shared backbone, with its own statistics and head rows."""

import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from focil.backbones import compute_features
from focil.base.precision import Precision
from focil.masks import Mask

STATISTICS_BATCH = 100  # images normalised together: nearer to the mean of all than batches of 10
CHUNK = 200_000  # pixels scored at a time, whole images: few enough that activations stay in a cache
Store = dict[str, Tensor]  # layer name -> dense weights of the shared backbone


@dataclass(frozen=True)
class Expert:
    """What a finished task leaves behind.

    mask: its connections. own: name -> tensor of parameters and statistics that no other expert sees. head:
    (classes of the task, F), rows that belong to this task and to no other. calibration: (rules, 2), see
    `confidence.calibrate`.
    """

    mask: Mask
    own: dict[str, Tensor]
    head: Tensor
    calibration: Tensor

    def logits(
        self,
        backbone: nn.Module,
        store: Store,
        images: Float[Tensor, "N C H W"],
        precision: Precision = "float32",
        blank: Store | None = None,
    ) -> Float[Tensor, "N classes"]:
        """Logits over the task's classes for normalised images; one image is enough.

        blank: `blank_weights` of the store, written and wiped here: for a single image, new zeros would take
        as long as all the rest.
        """
        blank = blank_weights(store, precision) if blank is None else blank
        tensors = masked_weights(store, self.mask, blank) | self.own
        backbone.eval()
        with torch.no_grad(), _wiped(blank, self.mask):
            size = max(1, CHUNK // math.prod(images.shape[2:]))
            parts = (_laid(part, precision) for part in images.split(size))
            return torch.cat(
                [compute_features(backbone, tensors, part, precision) @ self.head.T for part in parts]
            )

    def fingerprint(self, store: Store) -> str:
        """SHA-256 of every number that this expert computes with: its connections' weights, its own tensors,
        its head.

        Logits on a few images can hide a change of one unit in the last place; this cannot.
        """
        digest = hashlib.sha256(self.mask.sha256.encode())
        for name in self.mask.new:
            positions = torch.as_tensor(self.mask.positions(name), device=store[name].device)
            digest.update(_bytes(store[name].flatten()[positions]))
        for tensor in (*self.own.values(), self.head, self.calibration):
            digest.update(_bytes(tensor))
        return digest.hexdigest()


def blank_weights(store: Store, precision: Precision = "float32") -> Store:
    """Zeros in the place of all weights, of the type that a pass in `precision` computes with.

    Rounded here, where few weights are not 0, or autocast would round all of them.
    """
    kind = torch.bfloat16 if precision == "bfloat16" else torch.float32
    return {name: torch.zeros_like(dense, dtype=kind) for name, dense in store.items()}


def masked_weights(store: Store, mask: Mask, blank: Store | None = None) -> Store:
    """Dense weights of one expert: the store's where the mask is, 0 elsewhere. blank: zeros to write into."""
    weights = blank_weights(store) if blank is None else blank
    for name, positions in _places(weights, mask):
        values = store[name].take(positions)  # index_select would take one core
        weights[name].view(-1).index_copy_(0, positions, values.to(weights[name].dtype))
    return weights


@contextmanager
def _wiped(weights: Store, mask: Mask) -> Iterator[None]:
    """`weights` are all 0 again afterwards."""
    try:
        yield
    finally:
        for name, positions in _places(weights, mask):
            weights[name].view(-1).index_fill_(0, positions, 0)


def _places(weights: Store, mask: Mask) -> Iterator[tuple[str, Tensor]]:
    """Layer and flat positions of all connections of a mask."""
    for name, layer in weights.items():
        for part in (mask.new[name], mask.reused[name]):
            yield name, torch.as_tensor(part, device=layer.device)


def gather_statistics(
    backbone: nn.Module,
    weights: Store,
    own: dict[str, Tensor],
    images: Float[Tensor, "N C H W"],
    precision: Precision,
) -> dict[str, Tensor]:
    """`own` with running statistics of these weights: a plain mean over equal parts of the images.

    One image alone has no spread, so its statistics stay what they are.
    """
    if not list(backbone.buffers()) or len(images) == 1:
        return own
    norms = [m for m in backbone.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    kept = [norm.momentum for norm in norms]
    own = {name: tensor.clone() for name, tensor in own.items()}
    backbone.eval()  # nothing else, such as dropout, behaves as in training
    for norm in norms:
        norm.train()
        norm.momentum = None  # torch: cumulative average instead of an exponential one
    for name, tensor in own.items():
        if name.endswith(("running_mean", "running_var", "num_batches_tracked")):
            tensor.zero_()
    with torch.no_grad():
        for part in images.tensor_split(
            -(-len(images) // STATISTICS_BATCH)
        ):  # equal parts: none of a single image
            compute_features(backbone, weights | own, part, precision)
    for norm, momentum in zip(norms, kept, strict=True):
        norm.momentum = momentum
    return own


def _laid(images: Tensor, precision: Precision) -> Tensor:
    """Images as convolutions read them fastest: in bfloat16 the channels of a pixel side by side."""
    return images.contiguous(memory_format=torch.channels_last) if precision == "bfloat16" else images


def _bytes(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().numpy().tobytes()
