"""What `make bench` prints: where the time goes. Run it on a quiet machine; it needs no data set."""

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch.func import functional_call

from focil import backbones
from focil.base import words
from focil.base.precision import Precision, passes
from focil.confidence import RULES
from focil.data.datasets import Dataset
from focil.data.images import Augmentation
from focil.data.stream import Stream, class_order
from focil.expert import Expert
from focil.masks import Ledger
from focil.memo.finetune import Finetune
from focil.memo.schedule import OfflineOptions
from focil.reports.bench import replay
from focil.reports.bench.engine import trainings
from focil.reports.bench.page import redraws
from focil.reports.bench.shares import shares
from focil.router.patches import Recipe
from focil.router.routed import RoutedFocil, RoutedOptions
from focil.router.router import Router
from focil.runs.params import available_cores
from focil.trainer import Learners, Sgd, Start, in_turns

MNIST = (1, 28, 28)
CIFAR = (3, 32, 32)
BATCH = 10


def main() -> None:
    """Print all timings: medians, in milliseconds unless said otherwise."""
    print(f"torch {torch.__version__}, {available_cores()} cores available")
    torch.set_num_threads(1)
    print("\n5 tasks of MNIST's size with search (60 000 noise images, 16 candidates), one core")
    whole_run()
    print(f"\none step of the MLP, batch {BATCH}, one core, by number of candidates")
    steps("mlp", MNIST, "float32", (1, 2, 4, 8, 16))
    torch.set_num_threads(available_cores())
    for precision in ("float32", "bfloat16"):
        print(f"\none step of ResNet18, batch {BATCH}, all cores, {precision}, by number of candidates")
        steps("resnet18", CIFAR, precision, (1, 8))
    print("\none step of ResNet18, batch 10, all cores, bfloat16, by density")
    densities()
    print("\none step of ResNet18 in the last of T tasks, batch 10, all cores, bfloat16, density 0.05")
    tasks()
    for name, side, classes, images in (("cifar100-20", 32, 5, 2500), ("tiny-imagenet-100", 64, 2, 1000)):
        print(f"\none task of {name}, {images} images of noise, all cores, bfloat16, in seconds")
        shares(name, side, classes, images)
    print("\nthe router beside ResNet18, 20 tasks of 5 classes, all cores, bfloat16, by MB")
    routers()
    print(
        "\none image answered by ResNet18 and a router of 10 MB, all cores, bfloat16, by number of its best "
        "tasks whose experts are asked"
    )
    answering()
    for precision in ("float32", "bfloat16"):
        print(
            "\none offline epoch of ResNet32, 2 560 images of CIFAR's size, batch 128, all cores, "
            f"{precision}, in ms an image"
        )
        epochs(precision)
    print(f"\nER with the slim ResNet18, {replay.IMAGES} images of CIFAR's size, one core, float32")
    replay.main()
    torch.set_num_threads(available_cores())
    print("\nempty trainings side by side, one a core, by number")
    trainings()
    print("\na redraw of the explorer at 20 tasks, in the browser, from the key press to the screen")
    redraws()
    print("\ndrawing one mask at density 0.05")
    masks()


def whole_run() -> None:
    """Train and score five tasks of MNIST's size. The time does not depend on what the pixels show."""
    generator = np.random.default_rng(0)
    images, labels = generator.integers(0, 256, (70_000, 28, 28), dtype=np.uint8), np.arange(70_000) % 10
    data = Dataset.from_arrays(
        images[:60_000], labels[:60_000], images[60_000:], labels[60_000:], name="noise"
    )
    stream = Stream(data, class_order(data, 5, 0), 0)
    method = RoutedFocil("mlp", data.image_shape, 5, 2, 0)
    start = time.perf_counter()
    for task in stream:
        method.learn(task)
    trained = time.perf_counter()
    method.scores(stream.prepare(stream.test))
    print(f"  training {trained - start:8.1f} s   {len(labels) - 10_000} images, each drawn once")
    print(f"  scoring  {time.perf_counter() - trained:8.1f} s   10 000 test images by 5 experts")


def steps(name: str, shape: backbones.ImageShape, precision: str, counts: tuple[int, ...]) -> None:
    """One step for several numbers of candidates at density 0.05, beside two dense yardsticks."""
    bench = _Bench(name, shape)
    base = milliseconds(bench.bare)
    print(f"  bare dense forward + backward, float32      {base:8.2f}")
    if precision == "float32":
        report("dense SGD step with masks and zeroed gradients", milliseconds(bench.dense_masked_step), base)
    for count in counts:
        groups = bench.learners([0.05] * count, precision)
        report(
            words.count(count, "candidate"),
            milliseconds(lambda: [group.step(*bench.batch) for group in groups]),
            base,
        )
    if name == "resnet18":
        held, (learners,) = (
            (torch.randn(10, *shape), torch.randint(2, (10,))),
            bench.learners([0.05], precision),
        )
        report(
            "1 candidate, and 10 held images", milliseconds(lambda: learners.step(*bench.batch, held)), base
        )


def densities() -> None:
    """One step by density of the mask."""
    bench = _Bench("resnet18", CIFAR)
    for density in (0.02, 0.05, 0.10, 0.20):
        (learners,) = bench.learners([density], "bfloat16")
        print(f"  density {density:4.2f}   {milliseconds(lambda: learners.step(*bench.batch)):8.2f}")


def tasks() -> None:
    """One step in the last task, by the number of tasks: it may not grow with it."""
    for count in (2, 10, 20):
        bench = _Bench("resnet18", CIFAR, tasks=count)
        for _ in range(count - 1):
            bench.ledger.claim(bench.ledger.draw(0.05))
        (learners,) = bench.learners([0.05], "bfloat16")
        print(f"  T = {count:3}   {milliseconds(lambda: learners.step(*bench.batch)):8.2f}")


def routers(sizes: tuple[float, ...] = (2.5, 10, 44.9), measured: int = 500) -> None:
    """What observing a stream of CIFAR-100's size adds to training, by MB.

    Measured on some images, for 50 000.
    """
    images, labels = torch.randn(measured, *CIFAR), torch.randint(5, (measured,))
    for megabytes in sizes:
        router = _router(megabytes)
        router.observe(images, 0, labels)
        took = milliseconds(lambda: router.observe(images, 1, labels), 5)
        print(f"  {megabytes:5} MB   {took * 50 / measured:8.1f} s for 50 000 images")


def answering(tasks: int = 20) -> None:
    """One image: patches, discriminant, and the experts of the best tasks."""
    options = RoutedOptions(router_mirror=True, precision="bfloat16")
    method = RoutedFocil("resnet18", CIFAR, tasks, 5, 0, options)
    own = backbones.own_tensors(method.backbone)
    for task in range(tasks):
        mask = method.ledger.draw(0.05)
        method.ledger.claim(mask)
        method.experts.append(
            Expert(mask, own, torch.randn(5, method.feature_size), torch.zeros(len(RULES), 2))
        )
        method.router.observe(torch.randn(50, *CIFAR), task, torch.arange(50) % 5)
    image = torch.randn(1, *CIFAR)
    for count in (0, 1, 3, tasks):

        def ask() -> None:
            posterior = method.router.scores(method.router.features(image)).logsumexp(dim=2)
            if count:
                method.scores(image, posterior[0].topk(count).indices.tolist())

        print(f"  {words.count(count, 'expert'):>10}   {milliseconds(ask, 9):8.1f}")


def _router(megabytes: float) -> Router:
    return Router(
        CIFAR, 20, 5, budget=round(1e6 * megabytes), recipe=Recipe(mirror=True), precision="bfloat16"
    )


class _Bench:
    """One backbone with a batch, its dense yardsticks, and learners on it."""

    def __init__(self, name: str, shape: backbones.ImageShape, tasks: int = 20):
        self.backbone = backbones.build(name, shape, 0)
        self.own = backbones.own_tensors(self.backbone)
        self.dense = {n: p.detach().clone().requires_grad_() for n, p in self.backbone.named_parameters()}
        self.head = torch.randn(2, backbones.feature_size(self.backbone, shape), requires_grad=True)
        self.batch = torch.randn(BATCH, *shape), torch.randint(2, (BATCH,))
        self.ledger = Ledger(backbones.masked_shapes(self.backbone), tasks, 0)
        self.optimiser = torch.optim.SGD(
            [*self.dense.values(), self.head], lr=1e-3, momentum=0.9, nesterov=True, weight_decay=5e-4
        )
        self.mask = {n: (torch.rand_like(w) < 0.05).float() for n, w in self.dense.items()}

    def bare(self) -> tuple:
        """Forward and backward of the dense network, and nothing else."""
        images, labels = self.batch
        self.backbone.train()
        loss = F.cross_entropy(
            functional_call(self.backbone, self.dense | self.own, (images,)) @ self.head.T, labels
        )
        return torch.autograd.grad(loss, [*self.dense.values(), self.head])

    def dense_masked_step(self) -> None:
        """The plain way: a dense step with gradients zeroed outside the mask, and weights masked again
        after it."""
        for parameter, gradient in zip([*self.dense.values(), self.head], self.bare(), strict=True):
            parameter.grad = gradient
        with torch.no_grad():
            for name, mask in self.mask.items():
                self.dense[name].grad.mul_(mask)
            self.optimiser.step()
            for name, mask in self.mask.items():
                self.dense[name].mul_(mask)

    def learners(self, densities: list[float], precision: str) -> list[Learners]:
        """Learners as a run on a CPU has them: one group for an MLP, one each for convolutions."""
        store = {name: weights.detach() for name, weights in self.dense.items()}
        masks = [self.ledger.draw(density) for density in densities]
        starts = [Start(store, mask, 0.002, self.head.detach(), self.own) for mask in masks]
        return [Learners(self.backbone, group, Sgd(precision=precision)) for group in in_turns(starts)]


def epochs(precision: Precision, images: int = 2560) -> None:
    """An epoch of finetuning, with augmentation, step and what is noted by depth, beside forward and
    backward of the same batches."""
    generator = np.random.default_rng(0)
    pixels, labels = generator.integers(0, 256, (images, 32, 32, 3), dtype=np.uint8), np.arange(images) % 10
    data = Dataset.from_arrays(pixels, labels, pixels[:100], labels[:100], name="noise")
    stream = Stream(
        data, class_order(data, 1, 0), 0, passes=1000, augmentation=Augmentation(4, True, 63 / 255)
    )
    options = OfflineOptions(epochs=4, precision=precision)
    method, ends = Finetune("resnet32", data.image_shape, [10], 0, stream, options), []
    method.learn(next(iter(stream)), lambda: ends.append(time.perf_counter()))
    took = 1000 * statistics.median(np.diff(ends)) / images
    batches = [
        part.contiguous(memory_format=torch.channels_last)
        for part in stream.prepare(stream.train).split(options.batch_size)
    ]
    targets = torch.as_tensor(labels).split(options.batch_size)

    def bare() -> None:
        method.net.train()
        for batch, target in zip(batches, targets, strict=True):
            with passes(batch.device, precision):
                loss = F.cross_entropy(method.net(batch).float(), target)
            method.net.zero_grad(set_to_none=True)
            loss.backward()

    base = milliseconds(bare, 3) / images
    print(f"  bare forward + backward                     {base:8.2f}")
    report("one epoch", took, base)


def report(what: str, took: float, base: float) -> None:
    """One line: the time, and the time over the bare forward and backward pass."""
    print(f"  {what:44}{took:8.2f}   {took / base:5.2f} x bare")


def masks() -> None:
    """Drawing a task's mask from raw bits, by backbone."""
    for name, shape in (("mlp", MNIST), ("resnet18", CIFAR)):
        shapes = backbones.masked_shapes(backbones.build(name, shape, 0))

        def draw() -> None:
            Ledger(shapes, 20, 0).draw(0.05)

        print(
            f"  {name:10} {sum(map(np.prod, shapes.values())):>10} connections  {milliseconds(draw, 5):8.1f}"
        )


def milliseconds(call: Callable[[], object], repeats: int = 15) -> float:
    """Median time of a call, after three that are not counted."""
    for _ in range(3):
        call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)
