"""One seed in, one independent random stream per purpose out.

Masks and initial weights must never come from the same numbers: with one seed for both, `rand < density`
keeps exactly the most negative weights and the network stays at chance. Here that mistake cannot be written:
a stream is asked for by its purpose.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

# The position of a purpose is part of every stream: append, never reorder.
PURPOSES = tuple(
    "class order, sample order, initial weights, head, masks, augmentation, batch groups, held batches, "
    "patches, trials, trial weights, trial masks, test crops, dropout, replay".split(", ")
)


def sequence(seed: int, purpose: str, *keys: int) -> np.random.SeedSequence:
    """The seed sequence of one purpose, independent of all others; `keys` tell e.g. tasks or layers apart."""
    return np.random.SeedSequence(seed, spawn_key=(PURPOSES.index(purpose), *keys))


def numpy_generator(seed: int, purpose: str, *keys: int) -> np.random.Generator:
    """A NumPy generator on its own stream."""
    return np.random.Generator(np.random.Philox(sequence(seed, purpose, *keys)))


def torch_seed(seed: int, purpose: str, *keys: int) -> int:
    """A 63-bit seed for torch on its own stream."""
    return int(sequence(seed, purpose, *keys).generate_state(1, np.uint64)[0] >> np.uint64(1))


def torch_generator(
    seed: int, purpose: str, *keys: int, device: str | torch.device = "cpu"
) -> torch.Generator:
    """A torch generator on its own stream."""
    return torch.Generator(device=device).manual_seed(torch_seed(seed, purpose, *keys))


def raw_bits(seed: int, purpose: str, *keys: int, count: int) -> np.ndarray:
    """`count` raw 64-bit words (uint64) of a counter-based generator (Philox).

    Raw words stay the same across library versions; the distributions built on them need not.
    """
    return np.random.Philox(sequence(seed, purpose, *keys)).random_raw(count)


@contextmanager
def as_torchs_own(seed: int, purpose: str, *keys: int, device: str | torch.device = "cpu") -> Iterator[None]:
    """torch's global generators on a stream of their own inside, and as they were afterwards.

    For what draws from them without asking: initial weights, and dropout in a network of a user's own.
    """
    devices = [device] if torch.device(device).type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(torch_seed(seed, purpose, *keys))
        if devices:
            torch.cuda.manual_seed_all(torch_seed(seed, purpose, *keys))
        yield
