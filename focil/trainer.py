"""The step: sub-networks of one backbone that learn side by side on the same batches.

Only trainable numbers are stored, updated and averaged: all of them lie in one flat vector per quantity
(values, velocity, average). Frozen connections are not in it, so no optimiser, weight decay or averaging can
touch them.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.func import vmap

from focil.backbones import compute_features
from focil.base.precision import Precision
from focil.expert import Store, masked_weights
from focil.masks import Mask


@dataclass(frozen=True)
class Sgd:
    """SGD with Nesterov momentum and weight decay, and an average of the weights over the pass.

    averaging: weight of the past in the running average, per step; 0 keeps the last weights. label_smoothing:
    share of the target that is spread over the task's classes. precision: of the forward and backward pass
    through the backbone; values, velocity, average and head are float32 in any case.
    """

    momentum: float = 0.9
    weight_decay: float = 5e-4
    averaging: float = 0.98
    label_smoothing: float = 0.05
    precision: Precision = "float32"


@dataclass
class _Slot:
    """One tensor of all C sub-networks: `leaf` (C, ...) is what the network computes with.

    index: flat positions of the trainable entries in `leaf`, candidate by candidate; None where all are
    trainable. sizes: number of trainable entries of each candidate.
    """

    name: str
    leaf: Tensor
    index: Tensor | None
    sizes: list[int]
    _by_layout: dict[tuple[int, ...], Tensor] = field(default_factory=dict)

    def gather(self, tensor: Tensor) -> Tensor:
        if self.index is None:
            return tensor.reshape(-1)
        if (
            sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True)) + 1
            != tensor.numel()
        ):
            tensor = tensor.contiguous()  # expanded or sliced: its memory is not the tensor, whole and once
        flat = tensor.as_strided((tensor.numel(),), (1,))
        return flat.index_select(0, self._index_in(tensor)).float()

    def _index_in(self, tensor: Tensor) -> Tensor:
        # Gradients often come transposed in memory; reading them where they lie spares a copy of the whole
        # dense tensor.
        layout = tensor.stride()
        if layout not in self._by_layout:
            rest, places = self.index, torch.zeros_like(self.index)
            for size, stride in zip(reversed(tensor.shape), reversed(layout), strict=True):
                places += rest % size * stride
                rest = rest // size
            self._by_layout[layout] = places
        return self._by_layout[layout]

    def scatter(self, values: Tensor) -> None:
        flat = self.leaf.detach().view(-1)
        if self.index is None:
            flat.copy_(values)
        else:
            flat.index_copy_(0, self.index, values.to(flat.dtype))  # scatter_ copies a bfloat16 tensor whole


HEAD = ".head"  # a name that no parameter of a network can have


class Start(NamedTuple):
    """What one sub-network starts from; its tensors are copied, never changed.

    store: dense weights by layer. mask: which of them it has. lr: learning rate. head: (classes, F). own:
    name -> parameters and buffers that masks do not cover.
    """

    store: Store
    mask: Mask
    lr: float
    head: Tensor
    own: dict[str, Tensor]


def in_turns(starts: Sequence[Start], together: bool = True) -> list[list[Start]]:
    """Which sub-networks take their steps in one call: all together, or each alone.

    together: False where the backbone does not allow it, see `can_be_batched`.
    """
    return (
        [[start] for start in starts] if not together or is_slow_batched(starts[0].store) else [list(starts)]
    )


def is_slow_batched(store: Store) -> bool:
    """Whether sub-networks had better take turns: batched convolutions are grouped ones, slow on a CPU."""
    return any(weights.ndim > 2 and weights.device.type == "cpu" for weights in store.values())


def can_be_batched(backbone: nn.Module, image_shape: tuple[int, int, int]) -> bool:
    """Whether several sub-networks of a backbone can be computed in one call (`torch.func.vmap`).

    A network that reads its own numbers, by `.item()` or in an `if`, cannot.
    """
    own = backbone.state_dict(keep_vars=True)
    tensors = {name: torch.stack([tensor.detach().clone()] * 2) for name, tensor in own.items()}
    images = torch.ones(2, *image_shape, device=next(backbone.parameters()).device)

    def one(values: dict[str, Tensor]) -> Tensor:
        return compute_features(backbone, values, images, "float32")

    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            vmap(one, randomness="different")(tensors)
    except Exception:  # torch raises many kinds
        return False
    return True


class Learners:
    """C masked sub-networks of one backbone, one learning rate each, that take every step on the same batch.

    backbone: the module; its own values are not used, and it is left alone.
    """

    def __init__(self, backbone: nn.Module, starts: Sequence[Start], sgd: Sgd):
        self.backbone, self.starts, self.sgd = _twin(backbone), list(starts), sgd
        self.steps = 0
        parameters = dict(backbone.named_parameters())
        self.buffers = [{n: t.clone() for n, t in s.own.items() if n not in parameters} for s in self.starts]
        weights = [masked_weights(start.store, start.mask) for start in self.starts]
        layers = list(self.starts[0].store)
        self._slots = [
            _masked_slot(name, [w[name] for w in weights], [s.mask.new[name] for s in self.starts])
            for name in layers
        ]
        dense = [name for name in self.starts[0].own if name in parameters]
        self._slots += [_dense_slot(name, [start.own[name] for start in self.starts]) for name in dense]
        self._slots.append(_dense_slot(HEAD, [start.head for start in self.starts]))
        # Only what a sub-network may train is gathered here: nothing else can move or decay.
        self._values = torch.cat([slot.gather(slot.leaf.detach()) for slot in self._slots])
        for slot in self._slots[: len(layers)]:
            slot.leaf = slot.leaf.detach().to(getattr(torch, sgd.precision)).requires_grad_()
        self._velocity = torch.zeros_like(self._values)
        self._average = self._values.clone()
        self._set_rates()

    def __len__(self) -> int:
        return len(self.starts)

    def step(
        self,
        images: Float[Tensor, "B channels H W"],
        labels: Int64[Tensor, " B"],
        again: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Float[Tensor, " C"], Float[Tensor, " C"]]:
        """Score a batch, then train on it and on `again`: images and labels of held batches.

        Returns the prequential accuracy and loss of each sub-network: of the new batch, measured before the
        update, over the task's own logits.
        """
        new = len(labels)
        if again is not None:
            images, labels = torch.cat([images, again[0]]), torch.cat([labels, again[1]])
        logits = self._forward(images)  # (C, B + again, classes)
        losses = self._losses(logits, labels)
        gradients = torch.autograd.grad(
            losses.mean(1).sum(), [slot.leaf for slot in self._slots], materialize_grads=True
        )
        with torch.no_grad():
            self._update(torch.cat([slot.gather(g) for slot, g in zip(self._slots, gradients, strict=True)]))
        return self._accuracy(logits.detach()[:, :new], labels[:new]), losses.detach()[:, :new].mean(1)

    def keep(self, which: Sequence[int]) -> None:
        """Go on with these sub-networks only (positions, ascending)."""
        for name in ("_values", "_velocity", "_average"):
            setattr(self, name, self._select(getattr(self, name), which))
        self._slots = [_select_slot(slot, which) for slot in self._slots]
        self.starts, self.buffers = ([part[i] for i in which] for part in (self.starts, self.buffers))
        self._set_rates()

    def finite(self) -> list[bool]:
        """Whether all numbers of each sub-network are finite, and their averages."""
        kept = torch.isfinite(self._values) & torch.isfinite(self._average)
        parts = kept.split([size for slot in self._slots for size in slot.sizes])
        flags = torch.stack([part.all() for part in parts]).view(len(self._slots), len(self))
        return flags.all(dim=0).tolist()

    def finished(self) -> tuple[Store, dict[str, Tensor], Tensor]:
        """The average of the one sub-network that is left.

        Values of its new connections by layer, own tensors, head (classes, F).
        """
        if len(self) != 1:
            raise ValueError(f"{len(self)} sub-networks are still learning; keep one first")
        parts = self._average.split([slot.sizes[0] for slot in self._slots])
        tensors = {slot.name: part.clone() for slot, part in zip(self._slots, parts, strict=True)}
        values = {name: tensors.pop(name) for name in self.starts[0].mask.new}
        own = {
            slot.name: tensors[slot.name].view_as(slot.leaf[0])
            for slot in self._slots
            if slot.name in tensors
        }
        head = own.pop(HEAD)
        return values, own | self.buffers[0], head

    def _losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        smoothing = self.sgd.label_smoothing
        flat = F.cross_entropy(
            logits.flatten(0, 1), labels.repeat(len(self)), reduction="none", label_smoothing=smoothing
        )
        return flat.view(len(self), -1)

    def _accuracy(self, logits: Tensor, labels: Tensor) -> Tensor:
        return (logits.argmax(2) == labels).float().mean(1)

    def _forward(self, images: Tensor) -> Tensor:
        self.backbone.train(len(images) > 1)  # one image alone has no statistics of its own
        leaves = {slot.name: slot.leaf for slot in self._slots}
        if len(self) == 1:
            # Squeezed: the gradient of leaf[0] would be copied into a tensor of zeros.
            alone = {name: leaf.squeeze(0) for name, leaf in leaves.items()}
            return self._one(alone, self.buffers[0], images)[None]
        buffers = {name: torch.stack([b[name] for b in self.buffers]) for name in self.buffers[0]}
        return vmap(self._one, (0, 0, None), randomness="different")(leaves, buffers, images)

    def _one(self, tensors: dict[str, Tensor], buffers: dict[str, Tensor], images: Tensor) -> Tensor:
        tensors = dict(tensors)
        head = tensors.pop(HEAD)
        return compute_features(self.backbone, tensors | buffers, images, self.sgd.precision) @ head.T

    def _update(self, gradient: Tensor) -> None:
        gradient.add_(self._values, alpha=self.sgd.weight_decay)
        self._velocity.mul_(self.sgd.momentum).add_(gradient)
        gradient.add_(self._velocity, alpha=self.sgd.momentum)
        self._values.addcmul_(gradient, self._rate, value=-1)
        self.steps += 1
        # A young average must not be held back by the random start: its memory grows with the steps taken.
        past = min(self.sgd.averaging, self.steps / (self.steps + 10)) if self.sgd.averaging else 0.0
        self._average.lerp_(self._values, 1 - past)
        self._push(self._values)

    def _push(self, values: Tensor) -> None:
        for slot, part in zip(
            self._slots, values.split([sum(slot.sizes) for slot in self._slots]), strict=True
        ):
            slot.scatter(part)

    def _select(self, flat: Tensor, which: Sequence[int]) -> Tensor:
        parts = flat.split([size for slot in self._slots for size in slot.sizes])
        rows = np.arange(len(parts)).reshape(len(self._slots), len(self))[:, list(which)]
        return torch.cat([parts[i] for i in rows.ravel()])

    def _set_rates(self) -> None:
        sizes = torch.tensor([size for slot in self._slots for size in slot.sizes])
        rates = torch.tensor([start.lr for start in self.starts]).repeat(len(self._slots))
        self._rate = rates.repeat_interleave(sizes).to(self._values.device)


def _twin(module: nn.Module) -> nn.Module:
    """A module of the same tensors for another thread: a pass puts its own tensors into the module."""
    shared = [*module.parameters(), *module.buffers()]
    return copy.deepcopy(module, {id(tensor): tensor for tensor in shared})


def _masked_slot(name: str, weights: list[Tensor], trainable: list[np.ndarray]) -> _Slot:
    size = weights[0].numel()
    index = np.concatenate([positions + c * size for c, positions in enumerate(trainable)])
    leaf = torch.stack(weights).requires_grad_()
    return _Slot(
        name, leaf, torch.as_tensor(index, device=leaf.device), [len(positions) for positions in trainable]
    )


def _dense_slot(name: str, tensors: Sequence[Tensor]) -> _Slot:
    return _Slot(
        name,
        torch.stack([t.detach().clone() for t in tensors]).requires_grad_(),
        None,
        [t.numel() for t in tensors],
    )


def _select_slot(slot: _Slot, which: Sequence[int]) -> _Slot:
    leaf = slot.leaf.detach()[list(which)].requires_grad_()
    sizes = [slot.sizes[i] for i in which]
    if slot.index is None:
        return _Slot(slot.name, leaf, None, sizes)
    size = leaf[0].numel()
    parts = slot.index.split(slot.sizes)
    index = torch.cat([parts[old] + (new - old) * size for new, old in enumerate(which)])
    return _Slot(slot.name, leaf, index, sizes)
