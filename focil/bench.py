"""What `make bench` prints: where the time goes. Run it on a quiet machine; it needs no data set."""

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch.func import functional_call

from focil import backbones
from focil.benchmark import available_cores
from focil.datasets import Dataset
from focil.masks import Ledger
from focil.methods.focil import Focil, FocilOptions
from focil.stream import Stream, class_order
from focil.trainer import Learners, Sgd

MNIST = (1, 28, 28)
CIFAR = (3, 32, 32)
BATCH = 10


def main() -> None:
    """Print all timings: medians, in milliseconds unless said otherwise."""
    print(f"torch {torch.__version__}, {available_cores()} cores available")
    torch.set_num_threads(1)
    print("\n5 tasks of MNIST's size with search (60 000 noise images, 16 candidates), one core")
    whole_run()
    print(f"\none step of the MLP, batch {BATCH}, one core")
    steps()
    print("\ndrawing one mask at density 0.05")
    masks()


def whole_run() -> None:
    """Train and score five tasks of MNIST's size. The time does not depend on what the pixels show."""
    generator = np.random.default_rng(0)
    images, labels = generator.integers(0, 256, (70_000, 28, 28), dtype=np.uint8), np.arange(70_000) % 10
    data = Dataset.from_arrays(images[:60_000], labels[:60_000], images[60_000:], labels[60_000:], name="noise")
    stream = Stream(data, class_order(data, 5, 0), 0)
    method = Focil("mlp", data.image_shape, 5, 2, 0)
    start = time.perf_counter()
    for task in stream:
        method.learn(task)
    trained = time.perf_counter()
    method.scores(stream.prepare(stream.test))
    print(f"  training {trained - start:8.1f} s   {len(labels) - 10_000} images, each drawn once")
    print(f"  scoring  {time.perf_counter() - trained:8.1f} s   10 000 test images by 5 experts")


def steps() -> None:
    """One step for 1 to 16 candidates, beside the bare forward and backward pass of one dense network."""
    backbone = backbones.build("mlp", MNIST, 0)
    images, labels = torch.randn(BATCH, *MNIST), torch.randint(2, (BATCH,))
    dense = {name: p.detach().clone().requires_grad_() for name, p in backbone.named_parameters()}
    head = torch.randn(2, 100, requires_grad=True)

    def bare() -> None:
        loss = F.cross_entropy(functional_call(backbone, dense, (images,)) @ head.T, labels)
        torch.autograd.grad(loss, [*dense.values(), head])

    base = milliseconds(bare)
    print(f"  bare dense forward + backward  {base:7.2f}")
    options = FocilOptions()
    pairs = [(s, lr) for s in options.sparsities for lr in options.learning_rates]
    ledger = Ledger(backbones.masked_shapes(backbone), 5, 0)
    for count in (1, 2, 4, 8, 16):
        chosen = pairs[:: len(pairs) // count]
        store = {name: w.detach() for name, w in dense.items()}
        learners = Learners(
            backbone, store, [ledger.draw(1 - s) for s, _ in chosen], [lr for _, lr in chosen], [head.detach()] * count, [{}] * count, Sgd()
        )
        took = milliseconds(lambda: learners.step(images, labels))
        print(f"  {count:2} candidates side by side      {took:7.2f}   {took / base:5.2f} x bare, {took / base / count:5.2f} x bare each")


def masks() -> None:
    """Drawing a task's mask from raw bits, by backbone."""
    for name, shape in (("mlp", MNIST), ("resnet18", CIFAR)):
        shapes = backbones.masked_shapes(backbones.build(name, shape, 0))

        def draw() -> None:
            Ledger(shapes, 20, 0).draw(0.05)

        print(f"  {name:10} {sum(map(np.prod, shapes.values())):>10} connections  {milliseconds(draw, 5):8.1f}")


def milliseconds(call: Callable[[], object], repeats: int = 100) -> float:
    """Median time of a call, after three that are not counted."""
    for _ in range(3):
        call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


if __name__ == "__main__":
    main()
