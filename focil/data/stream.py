"""The stream: tasks with disjoint classes, each training batch handed out once.

The data set is one uint8 tensor on the device, and a task is a list of its rows.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float32, Int64, Num, UInt8
from torch import Tensor

from focil.base import seeds
from focil.base.errors import FocilError
from focil.data.datasets import Dataset
from focil.data.images import Augmentation, channels_first, scale_of, standardised


class StreamError(FocilError):
    """A stream that cannot be formed, or was read in a way that its protocol forbids."""


def class_order(
    data: Dataset, tasks: int, seed: int, order: str = "natural", first: int | None = None
) -> np.ndarray | list[np.ndarray]:
    """Class ids task by task, (tasks, classes per task) int64: `natural`, or `shuffled` by the seed.

    first: classes of the first task where it is larger; the others share the rest equally, and the result is
    a list of arrays. Raises StreamError for another order, or if the tasks do not divide the classes.

    >>> import focil
    >>> class_order(focil.load("digits"), tasks=5, seed=0).tolist()
    [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]
    """
    if order not in ("natural", "shuffled"):
        raise StreamError(f"class order {order!r} is unknown; choose natural or shuffled")
    classes = data.num_classes
    ids = np.arange(classes)
    if order == "shuffled":
        ids = seeds.numpy_generator(seed, "class order").permutation(ids)
    if first is not None:
        if tasks < 2 or not 0 < first < classes or (classes - first) % (tasks - 1):
            raise StreamError(
                f"{classes} classes of {data.name} cannot be split into a first task of {first} and "
                f"{tasks - 1} others of equal size; change first_classes or tasks in the params file"
            )
        return [ids[:first], *ids[first:].reshape(tasks - 1, -1)]
    if tasks < 1 or classes % tasks:
        divisors = [t for t in range(1, classes + 1) if classes % t == 0]
        raise StreamError(
            f"{classes} classes of {data.name} cannot be split into {tasks} tasks of equal size; choose "
            f"tasks from {divisors} in the params file"
        )
    return ids.reshape(tasks, -1)


class Task:
    """One task: its classes and its training batches, to be read `passes` times at most.

    index: position in the stream. classes: class ids, in head order. size: number of training images. draws:
    training images handed out so far, of all passes. The last ones of the task are held, at most `room` of
    them: they may be computed with again, count as memory, and are let go with `release`. passed: images of
    this pass that have been held so far, whether they still are or not.
    """

    def __init__(self, stream: "Stream", index: int):
        self._stream = stream
        self._passes_left = stream.passes
        self.index = index
        self.classes: tuple[int, ...] = tuple(int(c) for c in stream.order[index])
        self._rows = np.flatnonzero(np.isin(stream.data.y_train, self.classes))
        self.size = len(self._rows)
        self.draws = 0
        self.passed = 0
        self.room = stream.hold * stream.batch_size
        self._held = self._rows[:0]
        self._again = seeds.torch_generator(stream.seed, "held batches", index, device=stream.device)

    @property
    def draws_per_sample(self) -> float:
        """How often each training image was handed out, on average."""
        return self.draws / self.size

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """One pass: images (B, C, H, W) float32, normalised, and labels (B,) int64 in 0..classes-1 of this
        task.

        Raises StreamError when the passes of the stream are used up (one, for an online stream).
        """
        stream, number = self._stream, self.next_pass()
        crops = seeds.torch_generator(stream.seed, "augmentation", self.index, number, device=stream.device)
        return (
            (stream.prepare(stream.augmentation(self._stored(rows), crops)), self._labels(rows))
            for rows in self._read(number)
        )

    def raw_batches(self) -> Iterator[tuple[UInt8[Tensor, "B C H W"], Int64[Tensor, " B"]]]:
        """One pass as `batches`, in the same order, but of images as they are stored: for methods that keep
        some of them, and that augment a batch anew for each step."""
        number = self.next_pass()
        return ((self._stored(rows), self._labels(rows)) for rows in self._read(number))

    def next_pass(self) -> int:
        if not self._passes_left:
            raise StreamError(
                f"the training batches of task {self.index} were already read {self._stream.passes} "
                "time(s), which is all that this stream allows; hold what you need while it passes, or "
                "open the stream with more passes for an offline method"
            )
        self._passes_left -= 1
        return self._stream.passes - self._passes_left - 1

    def images(self) -> tuple[UInt8[Tensor, "N C H W"], Int64[Tensor, " N"]]:
        """All training images of the task and their labels: for offline methods, which store them meanwhile.

        Raises StreamError for a stream of one pass.
        """
        if self._stream.passes == 1:
            raise StreamError(
                f"the stream has one pass, so the images of task {self.index} cannot be had all at once; "
                "open it with more passes"
            )
        return self._stored(self._rows), self._labels(self._rows)

    def held(self) -> tuple[Float32[Tensor, "N C H W"], Int64[Tensor, " N"]]:
        """The held images, normalised and not augmented, in the order of the stream, and their labels."""
        return self._stream.prepare(self._stored(self._held)), self._labels(self._held)

    def again(self, count: int) -> tuple[Tensor, Tensor] | None:
        """`count` images of the held batches, at random and augmented anew, with their labels.

        Fewer while fewer are held, or None.
        """
        stream = self._stream
        if not len(self._held) or not count:
            return None
        chosen = torch.randint(
            len(self._held), (min(count, len(self._held)),), generator=self._again, device=stream.device
        )
        rows = self._held[chosen.cpu().numpy()]
        return stream.prepare(stream.augmentation(self._stored(rows), self._again)), self._labels(rows)

    @property
    def held_bytes(self) -> int:
        """Bytes of the held batches: uint8 images, and labels of 8 bytes."""
        return len(self._held) * (self._stream.train[0].nbytes + 8)

    def release(self) -> None:
        """Let the held batches go."""
        self._held = self._held[:0]

    def _labels(self, rows: np.ndarray) -> Tensor:
        order = np.argsort(self.classes)
        labels = order[np.searchsorted(np.asarray(self.classes)[order], self._stream.data.y_train[rows])]
        return torch.as_tensor(labels, device=self._stream.device)

    def _stored(self, rows: np.ndarray) -> Tensor:
        return self._stream.train[torch.as_tensor(rows, device=self._stream.device)]

    def _read(self, number: int) -> Iterator[np.ndarray]:
        """Rows of the images, batch by batch; a batch is counted when it is asked for, and held after it."""
        stream = self._stream
        rows = seeds.numpy_generator(stream.seed, "sample order", self.index, number).permutation(self._rows)
        self.passed = 0
        for start in range(0, self.size, stream.batch_size):
            batch = rows[start : start + stream.batch_size]
            self.draws += len(batch)
            stream.on_draw(len(batch))
            yield batch
            self._held = np.concatenate([self._held, batch])[-self.room :]
            self.passed += len(batch)


class Stream:
    """Tasks of a data set in order, each readable `passes` times.

    data: the data set. order: class ids task by task, see `class_order`. seed: of the run; sample order and
    augmentation have streams of their own, so a task reads the same however often the run was interrupted
    before it. hold: number of a task's last batches that are held, at least 1. first: tasks that are
    walked, if not all: trials of options leave the others alone, which still count in `len`. `on_draw` is
    called with the number of images of each batch that is drawn.
    """

    def __init__(
        self,
        data: Dataset,
        order: np.ndarray | list[np.ndarray],
        seed: int,
        *,
        batch_size: int = 10,
        passes: int = 1,
        augmentation: Augmentation = Augmentation(),
        hold: int = 50,
        first: int | None = None,
        device: str | torch.device = "cpu",
    ):
        if hold < 1:
            raise StreamError(f"hold is {hold}; a stream holds at least the last batch of a task")
        self.data, self.order, self.seed = data, order, seed
        self.batch_size, self.passes, self.augmentation, self.hold = batch_size, passes, augmentation, hold
        self.device = torch.device(device)
        self.train = channels_first(data.x_train, self.device)  # (N, C, H, W) uint8
        self.test = channels_first(data.x_test, self.device)
        self._scale = scale_of(data.mean, data.std, self.device)
        self.on_draw: Callable[[int], object] = lambda images: None
        # Walked twice, they are still the same tasks.
        self._tasks = [Task(self, index) for index in range(len(order[:first]))]

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[Task]:
        return iter(self._tasks)

    def mixed_batches(self) -> Iterator[tuple[UInt8[Tensor, "B C H W"], Int64[Tensor, " B"]]]:
        """One pass over the tasks shuffled together, images as they are stored, and the positions of their
        classes in the order of the stream: for a bound. It uses up a pass of every task."""
        for task in self:
            task.next_pass()
        rows = seeds.numpy_generator(self.seed, "sample order", len(self)).permutation(len(self.train))
        positions, task_of = self._of_class([np.arange(self.data.num_classes)]), self._task_of_class()
        rows = rows[task_of[self.data.y_train[rows]] < len(self._tasks)]
        for start in range(0, len(rows), self.batch_size):
            batch = rows[start : start + self.batch_size]
            classes = self.data.y_train[batch]
            for task, drawn in enumerate(np.bincount(task_of[classes])):
                self._tasks[task].draws += int(drawn)
            self.on_draw(len(batch))
            chosen = torch.as_tensor(batch, device=self.device)
            yield self.train[chosen], torch.as_tensor(positions[classes], device=self.device)

    def prepare(self, images: Num[Tensor, "N C H W"]) -> Float32[Tensor, "N C H W"]:
        """Normalise images of 0..255 by the data set's mean and standard deviation."""
        return standardised(images, self._scale)

    def test_task(self) -> Int64[np.ndarray, " N"]:
        """Task index of every test image."""
        return self._task_of_class()[self.data.y_test]

    def test_label(self) -> Int64[np.ndarray, " N"]:
        """Label of every test image inside its task."""
        return self._of_class([np.arange(len(classes)) for classes in self.order])[self.data.y_test]

    def test_position(self) -> Int64[np.ndarray, " N"]:
        """Position of every test image's class in the order of the stream."""
        return self._of_class([np.arange(self.data.num_classes)])[self.data.y_test]

    def spread_test_images(self, count: int) -> Float32[Tensor, "N C H W"]:
        """Normalised test images, at most `count` of them, evenly spread over all."""
        rows = torch.linspace(0, len(self.test) - 1, min(count, len(self.test))).long().to(self.device)
        return self.prepare(self.test[rows])

    def _task_of_class(self) -> Int64[np.ndarray, " classes"]:
        return self._of_class([np.full(len(classes), task) for task, classes in enumerate(self.order)])

    def _of_class(self, by_position: Sequence[np.ndarray]) -> np.ndarray:
        table = np.empty(self.data.num_classes, dtype=np.int64)
        table[np.concatenate(self.order)] = np.concatenate(by_position)
        return table
