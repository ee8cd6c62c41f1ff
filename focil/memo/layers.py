"""By depth: how strongly each block of a network is pulled at while a task is learned, how far it moves, and
how alike networks see.

The analyses behind MEMO's split (Zhou et al. 2023, section 4.1), raw and per weight, since deep blocks hold
many times more weights.
"""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn


class Watch:
    """Gradient norm and shift of named blocks while one task is learned.

    blocks: name -> module, shallow to deep, those with weights. steps: how many were noted; who calls `step`
    counts them, since a recorded step runs no Python.
    """

    def __init__(self, blocks: Mapping[str, nn.Module]):
        self.weights = {
            name: [p for p in block.parameters() if p.requires_grad] for name, block in blocks.items()
        }
        self.weights = {name: parameters for name, parameters in self.weights.items() if parameters}
        self.squares = {
            name: torch.zeros((), device=parameters[0].device) for name, parameters in self.weights.items()
        }
        self.steps = 0
        self.first: dict[str, list[Tensor]] = {}

    def step(self) -> None:
        """Note the gradients of a step."""
        for name, parameters in self.weights.items():
            norms = torch._foreach_norm([p.grad for p in parameters if p.grad is not None])
            self.squares[name] += (
                torch.stack(norms).square().sum()
            )  # stays on the device: reading it would wait for the step

    def epoch(self) -> None:
        """Note where the weights are after an epoch; the first one counts."""
        if not self.first:
            self.first = {
                name: [p.detach().clone() for p in parameters] for name, parameters in self.weights.items()
            }

    def report(self) -> dict[str, dict[str, float]]:
        """{block: weights, gradient (root mean square norm over steps), shift (norm, from the first epoch
        to now), and both per weight}."""
        found = {}
        for name, parameters in self.weights.items():
            count = sum(p.numel() for p in parameters)
            moved = (
                torch.stack(
                    [
                        (p.detach() - then).square().sum()
                        for p, then in zip(parameters, self.first[name], strict=True)
                    ]
                )
                .sum()
                .sqrt()
                .item()
            )
            gradient = (self.squares[name].item() / max(self.steps, 1)) ** 0.5
            found[name] = {
                "weights": count,
                "gradient": gradient,
                "gradient_per_weight": gradient / count**0.5,
                "shift": moved,
                "shift_per_weight": moved / count**0.5,
            }
        return found

    def state(self) -> dict:
        """For a checkpoint inside the task."""
        return {"squares": self.squares, "steps": self.steps, "first": self.first}

    def load(self, state: dict) -> None:
        """Continue from a `state`."""
        self.squares = {
            name: square.to(self.squares[name].device) for name, square in state["squares"].items()
        }
        self.steps = state["steps"]
        self.first = {
            name: [t.to(self.weights[name][0].device) for t in tensors]
            for name, tensors in state["first"].items()
        }


def gram(activations: Tensor) -> Tensor:
    """Centred inner products (N, N) of the activations (N, ...) of N images: all that `cka` needs of them."""
    flat = activations.flatten(1).double()
    flat = flat - flat.mean(0)
    return (flat @ flat.T).float()


def grams(blocks: Mapping[str, nn.Module], images: Tensor) -> dict[str, Tensor]:
    """Block -> `gram` of what the blocks, one after the other, make of normalised images (N, C, H, W), as at
    test time."""
    hidden, found = images, {}
    with torch.no_grad():
        for name, block in blocks.items():
            hidden = block.eval()(hidden)
            found[name] = gram(hidden).cpu()
    return found


def cka(one: Tensor, other: Tensor) -> float:
    """Linear CKA of two representations of the same images, from their `gram` matrices: 1 for equal up to
    rotation and scale.

    Kornblith et al. 2019, "Similarity of Neural Network Representations Revisited", equation 4.
    """
    one, other = one.double(), other.double()
    norms = one.norm() * other.norm()
    return (
        float((one * other).sum() / norms) if norms > 0 else 0.0
    )  # a representation that is the same for every image is like no other


def cka_matrix(grams: Iterable[Tensor]) -> list[list[float]]:
    """CKA of every two of several representations, e.g. task x task."""
    grams = list(grams)
    return [[cka(one, other) for other in grams] for one in grams]
