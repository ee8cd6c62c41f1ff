"""What the offline methods share.

Several epochs over a task's images and the stored exemplars, and checkpoints between epochs.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from focil.backbones import ImageShape
from focil.base import seeds
from focil.base.precision import passes
from focil.confidence import Evidence, log_softmax
from focil.data.stream import Stream, Task
from focil.memo import split
from focil.memo.account import Growth
from focil.memo.exemplars import ExemplarError, Exemplars
from focil.memo.layers import Watch, grams
from focil.memo.networks import SingleNet, align
from focil.memo.recorded import Recorded, give_back, own_stream
from focil.memo.schedule import OfflineOptions, schedule, set_rate, sgd
from focil.search import DivergedError

CHUNK = 500  # images scored at a time
PROBES = 200  # test images whose activations are compared between tasks
PREPARED = {"cpu": 1, "cuda": 64}  # batches that are augmented at once: a GPU is quicker at large pieces


class Offline:
    """One network with a growing head that learns tasks in epochs: finetuning, and the base of the other
    methods.

    network: name or factory (see `split.build`). sizes: classes of each task. exemplars: stored images, at
    most, of all classes. `learn` calls `on_epoch` after each epoch; `state` may be taken there, and after
    `load` the same `learn(task)` continues. Raises ExemplarError for exemplars that cannot be kept, or by a
    method that keeps none.
    """

    title: str  # in tables and figures
    growth: Growth = "single"  # how the networks grow with the tasks, for the memory account
    keeps_exemplars = True  # False: a bound, without a budget
    distils = False  # whether a copy of the network before the task is needed while a later one is learned
    shares = True  # whether tasks share the network's blocks up to `last_shared`; DER shares none

    def __init__(
        self,
        network: str | split.Factory,
        image_shape: ImageShape,
        sizes: Sequence[int],
        seed: int,
        stream: Stream,
        options: OfflineOptions = OfflineOptions(),
        exemplars: int = 0,
        last_shared: str | None = None,
    ):
        if exemplars and not self.keeps_exemplars:
            raise ExemplarError(
                f"{self.title} keeps no exemplars, but {exemplars} were given; leave them out"
            )
        self.options, self.seed, self.sizes = options, seed, list(sizes)
        self.stream, self.device = stream, stream.device
        self.exemplars = Exemplars(exemplars, sum(sizes), len(stream.train))
        self.net = self._network(
            split.build(network, image_shape, seed, last_shared if self.shares else "")
        ).to(self.device)
        self.done = 0  # tasks learned
        self.epoch = 0  # epochs of the task that is being learned
        self.report: list[dict] = []  # by task: gradient norm and shift of each block
        self.grams: list[
            dict[str, Tensor]
        ] = []  # by task: what the newest path makes of the probe images, by block
        self._optimiser_state: dict | None = None
        self._watch_state: dict | None = None

    def learn(self, task: Task, on_epoch: Callable[[], object] = lambda: None) -> None:
        """Learn the task's images and the exemplars together, then choose exemplars of the new classes."""
        images, labels = task.images()
        labels = labels + sum(self.sizes[: self.done])
        if not self.epoch:
            self._grow(task.index)
        self._fit(*self._with_exemplars(images, labels), on_epoch)
        give_back(self.device)
        self._after(images, labels)
        self._store(images, labels)
        self.grams.append(self._grams())
        self.done, self.epoch = self.done + 1, 0

    def scores(self, images: Float[Tensor, "N C H W"]) -> Float[Tensor, "N classes"]:
        """Logits of all classes seen for normalised images, classes in the order in which they came."""
        return self._in_chunks(lambda part: self.net(part), images)

    def evidence(self, images: Float[Tensor, "N C H W"]) -> dict[str, Evidence]:
        """What the network says: for a task speaks its largest score.

        Within it, the softmax of its scores.
        """
        scores, sizes = self.scores(images).cpu().double().numpy(), self.sizes[: self.done]
        within = np.full(
            (len(images), len(sizes), max(sizes)), -np.inf
        )  # where tasks are smaller than the largest
        for task, of_task in enumerate(np.split(scores, np.cumsum(sizes)[:-1], axis=1)):
            within[:, task, : sizes[task]] = of_task
        return {"network": Evidence(log_softmax(within), within.max(axis=2))}

    def memory(self) -> dict[str, int]:
        """Bytes that must be kept between tasks, and of what is needed beside while a task is learned."""
        return {
            "networks": sum(p.nbytes for p in self._blocks_parameters()),
            "buffers": sum(b.nbytes for b in self.net.buffers()),
            "heads": sum(p.nbytes for p in self.net.head.parameters()),
            "exemplars": self.exemplars.nbytes,
            "labels": 8 * len(self.exemplars),
            "teacher": 0,
        }

    def published_memory(self) -> dict[str, int]:
        """The published account: parameters of the networks without heads, and stored images."""
        return {"networks": self.memory()["networks"], "exemplars": self.exemplars.nbytes}

    def state(self) -> dict:
        """Tensors and plain values from which `load` goes on, between tasks or between epochs."""
        return {
            "done": self.done,
            "epoch": self.epoch,
            "net": self.net.state_dict(),
            "optimiser": self._optimiser_state,
            "watch": self._watch_state,
            "exemplars": self.exemplars.images,
            "report": self.report,
            "grams": self.grams,
        }

    def load(self, state: dict) -> None:
        """Continue from a `state`."""
        for task in range(state["done"]):
            self._grow(task)
        self.done = state["done"]
        if state["epoch"]:  # a task that was being learned
            self._grow(self.done)
        else:
            self._settle()
        self.net.load_state_dict(state["net"])
        self.epoch, self.report, self.grams = state["epoch"], state["report"], state["grams"]
        self.exemplars.images = [images.to(self.device) for images in state["exemplars"]]
        self._optimiser_state, self._watch_state = state["optimiser"], state["watch"]

    # What a method may do differently

    def _network(self, parts: split.Split) -> nn.Module:
        return SingleNet(parts)

    def _grow(self, task: int) -> None:
        """Make room for the task's classes."""
        with seeds.as_torchs_own(self.seed, "head", task):
            self.net.widen(self.sizes[task])
        self.net.to(self.device)

    def _loss(self, images: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(self.net(images).float(), labels)

    def _after(self, images: Tensor, labels: Tensor) -> None:
        """What follows the last epoch of a task, before its exemplars are chosen."""

    def _settle(self) -> None:
        """Let go of what is needed only while a task is learned."""

    def _with_exemplars(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        stored = self.exemplars.all()
        return (
            (images, labels)
            if stored is None
            else (torch.cat([images, stored[0]]), torch.cat([labels, stored[1]]))
        )

    def _align(self) -> None:
        if self.done:
            align(
                self.net.head, self.sizes[self.done], 1.0 if self.options.aligning == "shrink" else torch.inf
            )

    # Training

    def _fit(self, images: Tensor, labels: Tensor, on_epoch: Callable[[], object]) -> None:
        options = self.options
        plan = schedule(options.schedule, self.done == 0, options.lr, options.epochs)
        optimiser = sgd((p for p in self.net.parameters() if p.requires_grad), plan, options, self.device)
        watch = Watch(self.net.newest_blocks())
        if self.epoch:
            groups = optimiser.state_dict()["param_groups"]  # as this device asks for
            optimiser.load_state_dict(self._optimiser_state | {"param_groups": groups})
            watch.load(self._watch_state)

        def step(part: Tensor, answers: Tensor) -> Tensor:
            loss = self._gradients(part, answers, optimiser)
            watch.step()
            optimiser.step()
            return loss

        step = Recorded(step) if self.device.type == "cuda" else step
        batches = -(-len(images) // options.batch_size)
        for epoch in range(self.epoch, plan.epochs):
            # A network of a user's own may have dropout, which draws from torch's own generator.
            with (
                seeds.as_torchs_own(self.seed, "dropout", self.done, epoch, device=self.device),
                own_stream(self.device),
            ):
                for number, (part, answers) in enumerate(self._batches(images, labels, epoch)):
                    set_rate(optimiser, plan.rate(epoch + number / batches))
                    loss = step(part, answers)
                    watch.steps += 1
            if not torch.isfinite(loss):
                raise DivergedError(
                    f"training diverged: the loss of task {self.done} is no number after epoch {epoch + 1}; "
                    f"lower the learning rate (lr is {options.lr})"
                )
            watch.epoch()
            self.epoch = epoch + 1
            self._optimiser_state, self._watch_state = optimiser.state_dict(), watch.state()
            on_epoch()
        self.report.append(watch.report())
        self._optimiser_state = self._watch_state = None

    def _gradients(self, images: Tensor, labels: Tensor, optimiser: torch.optim.Optimizer) -> Tensor:
        """The loss of a batch, and its gradients."""
        self.net.training_mode()
        with passes(self.device, self.options.precision):
            loss = self._loss(images, labels)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        return loss.detach()

    def _batches(self, images: Tensor, labels: Tensor, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """One epoch: normalised, augmented images (B, C, H, W), channels last, and labels (B,)."""
        order = seeds.numpy_generator(self.seed, "sample order", self.done, epoch).permutation(len(images))
        crops = seeds.torch_generator(self.seed, "augmentation", self.done, epoch, device=self.device)
        count = -(-len(order) // self.options.batch_size)
        # All of an epoch's rows at once: a copy to a GPU waits for every step before it.
        parts = torch.as_tensor(order, device=self.device).tensor_split(count)  # none of a single image
        size = PREPARED[self.device.type]
        for together in (parts[start : start + size] for start in range(0, count, size)):
            rows = torch.cat(together)
            prepared = self.stream.prepare(self.stream.augmentation(images[rows], crops))
            prepared = prepared.contiguous(memory_format=torch.channels_last)
            sizes = [len(part) for part in together]
            for part, answers in zip(prepared.split(sizes), labels[rows].split(sizes), strict=True):
                self.stream.on_draw(len(part))
                yield part, answers

    def _store(self, images: Tensor, labels: Tensor) -> None:
        if not self.exemplars.budget:
            return
        seen = sum(self.sizes[: self.done + 1])
        self.exemplars.reduce(seen)
        for label in range(seen - self.sizes[self.done], seen):
            mine = images[labels == label]
            self.exemplars.add(mine, self._features(mine))

    def _features(self, images: Tensor) -> Tensor:
        """Features (N, F) of uint8 images, un-augmented."""
        return self._in_chunks(self.net.features, self.stream.prepare(images))

    def _grams(self) -> dict[str, Tensor]:
        return grams(self.net.newest_blocks(), self.stream.spread_test_images(PROBES))

    def _in_chunks(self, function: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        self.net.eval()
        with (
            torch.no_grad(),
            passes(self.device, self.options.precision),
        ):
            parts = (part.contiguous(memory_format=torch.channels_last) for part in images.split(CHUNK))
            return torch.cat([function(part).float() for part in parts])

    def _blocks_parameters(self) -> list[nn.Parameter]:
        return [p for block in self.net.blocks() for p in block.parameters()]
