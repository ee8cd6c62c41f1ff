"""A finished run, opened again: its numbers, and what it answers to single test images."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from focil.base.errors import FocilError
from focil.confidence import Evidence
from focil.evaluation import protocols
from focil.runs.checkpoint import CHECKPOINT, RunError, rebuild
from focil.runs.params import Benchmark
from focil.runs.params_files import FOCIL
from focil.runs.results import RESULT
from focil.runs.sources import load_data, open_stream

CHUNK = 32  # images asked at a time while a mistake is looked for


class ImageAnswers(NamedTuple):
    """One test image and what is said of it.

    pixels: (H, W, C) uint8. task, label: the truth; label is the position inside the task. evidence: by who
    answers, of this image alone (N = 1). answers: by who answers, (task, label) by `sample`.
    """

    pixels: np.ndarray
    task: int
    label: int
    evidence: dict[str, Evidence]
    answers: dict[str, tuple[int, int]]


def find(outputs: Path) -> list[str]:
    """Folders of results below `outputs`: the user's own first, then those in outputs/reference.

    `seed-K` is a run, others are studies.
    """
    own = [
        path.parent
        for pattern in (f"*/seed-*/{RESULT}", f"*/{RESULT}")
        for path in outputs.glob(pattern)
        if path.parts[len(outputs.parts)] != "reference"
    ]
    published = [path.parent for path in (outputs / "reference").rglob(RESULT)]
    return [folder.relative_to(outputs).as_posix() for folder in [*sorted(own), *sorted(published)]]


def read(folder: Path) -> dict:
    """The result in a folder. Raises RunError for one that cannot be read."""
    path = folder / RESULT
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        benchmark = Benchmark.recorded(result["benchmark"])
        if not benchmark.is_study:
            result["seed"], result["accuracy"]  # or KeyError
            if benchmark.method == FOCIL:
                result["search"]
    except (OSError, ValueError, KeyError, TypeError, FocilError) as error:
        raise RunError(
            f"{path} cannot be read ({type(error).__name__}): it is damaged, or of another version of focil; "
            "run the benchmark again"
        ) from None
    return result


class SavedRun:
    """A run whose checkpoint is in its folder, with the test images that it can be asked about.

    folder: outputs/NAME/seed-K. Raises RunError where the checkpoint is missing (outputs/reference keeps
    numbers only), MaskMismatch, and what `datasets.load` raises.
    """

    def __init__(self, folder: Path):
        if not (folder / CHECKPOINT).exists():
            raise RunError(
                f"{folder.name} holds numbers but no checkpoint ({CHECKPOINT}); run the benchmark here to "
                "ask about single images"
            )
        self.method, state = rebuild(folder)
        benchmark = Benchmark.recorded(state["benchmark"])
        data = load_data(benchmark)
        if data.checksum != state["data"]:
            raise RunError(
                f"{benchmark.data} is not the data that this run was made with: its checksum differs"
            )
        self.stream = open_stream(benchmark, data, state["seed"])
        self._task, self._label = self.stream.test_task(), self.stream.test_label()

    def __len__(self) -> int:
        return len(self._task)

    def name(self, task: int, label: int) -> str:
        """Name of a class, given by its task and its position inside."""
        return self.stream.data.classes[self.stream.order[task][label]]

    def ask(self, index: int) -> ImageAnswers:
        """What everyone says of test image `index`, 0 to len - 1."""
        evidence = self._evidence(index, index + 1)
        answered = {
            who: tuple(int(part[0]) for part in protocols.sample(given)) for who, given in evidence.items()
        }
        return ImageAnswers(
            self.stream.data.x_test[index],
            int(self._task[index]),
            int(self._label[index]),
            evidence,
            answered,
        )

    def next_mistake(self, after: int) -> int | None:
        """The next test image after `after` that is answered wrongly by all together (without a router, by
        the experts); None if there is none."""
        for first in range(after + 1, len(self), CHUNK):
            evidence = self._evidence(first, min(first + CHUNK, len(self)))
            task, label = protocols.sample(protocols.all_together(evidence))
            part = slice(first, first + len(task))
            wrong = np.flatnonzero((task != self._task[part]) | (label != self._label[part]))
            if len(wrong):
                return first + int(wrong[0])
        return None

    def _evidence(self, first: int, last: int) -> dict[str, Evidence]:
        return self.method.evidence(self.stream.prepare(self.stream.test[first:last]))
