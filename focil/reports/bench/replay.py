"""What ER adds to the bare passes of its batches: the buffer, normalisation, augmentation, the step."""

import time

import numpy as np
import torch
import torch.nn.functional as F

from focil.data.datasets import Dataset
from focil.data.images import Augmentation
from focil.data.stream import Stream, class_order
from focil.online import networks
from focil.online.er import ExperienceReplay

IMAGES, STORED, CLASSES = 1_000, 500, 100


def main(repeats: int = 3) -> None:
    """Print both, on one core, for the slim ResNet18 and images of CIFAR's size."""
    torch.set_num_threads(1)
    bare, learned = min(_bare() for _ in range(repeats)), min(_learned() for _ in range(repeats))
    print(f"  bare forward + backward of the same batches {bare:8.2f} s")
    print(f"  ER                                          {learned:8.2f} s   {learned / bare:.2f} x")


def _learned() -> float:
    """Seconds in which ER learns a task of IMAGES images, with a buffer that is nearly full."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (2 * IMAGES, 32, 32, 3), dtype=np.uint8)
    data = Dataset.from_arrays(
        images, np.arange(2 * IMAGES) % CLASSES, images[:CLASSES], np.arange(CLASSES), name="noise"
    )
    stream = Stream(data, class_order(data, 2, 0), 0, augmentation=Augmentation(crop=4, flip=True))
    options = ExperienceReplay.options_of(exemplars=STORED, network="resnet18-slim", lr=0.01)
    method = ExperienceReplay(data.image_shape, 2, CLASSES // 2, 0, stream, options)
    first, second = stream
    method.learn(first)
    start = time.perf_counter()
    method.learn(second)
    return time.perf_counter() - start


def _bare() -> float:
    """Seconds of as many forward and backward passes of batches of 20: ten new images, ten stored ones."""
    net = networks.build("resnet18-slim", (3, 32, 32), CLASSES, 0).train()
    images = torch.randn(20, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    labels = torch.arange(20)
    start = time.perf_counter()
    for _ in range(IMAGES // 10):
        net.zero_grad(set_to_none=True)
        F.cross_entropy(net(images), labels).backward()
    return time.perf_counter() - start
