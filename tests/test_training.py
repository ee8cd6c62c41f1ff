"""One training: a kill at any epoch changes no number, and what is left of it is continued only where it
belongs."""

import os
import pickle

import numpy as np
import pytest
import torch
from conftest import separable, write_npz
from test_memory_study import DEEP, SHARED, TRAINING, benchmark_of, job_of, numbers, train

import focil
from focil import FocilError, RunError
from focil.engine.worker import Progress
from focil.memo.method import Offline
from focil.memo.table import NAMES, OFFLINE, TITLES
from focil.runs.sections import MemoryOptions
from focil.studies.training import passes


@pytest.fixture(scope="module")
def separated(tmp_path_factory):
    """Path of the small separable images, 6 x 6."""
    return write_npz(tmp_path_factory.mktemp("data") / "separable.npz")


def test_the_bar_counts_every_image_of_every_epoch(separated):
    data, short, paper = (
        separable(),
        benchmark_of(separated),
        benchmark_of(separated, {"training": {"schedule": "paper"}}),
    )
    for method, expected in (
        ("finetune", 3 * 240),
        ("replay", 3 * (240 + 2 * 30)),
        ("joint", 3 * (80 + 160 + 240)),
        ("focil", 240),
    ):
        assert passes(short, data, [2, 2, 2], job_of(method).what) == expected
    assert passes(paper, data, [2, 2, 2], job_of("finetune").what) == 80 * (200 + 170 + 170)


# Interruptions


class Counted(Progress):
    """What a training says of its progress, added up."""

    total = 0

    def advance(self, count):
        self.total += count


class Killed(Exception):
    """A kill."""


def killed(monkeypatch, benchmark, job, path, call, before_saving):
    """Train until the given call of on_epoch, then stop: before or after its checkpoint is written."""
    learn, calls = Offline.learn, []

    def learn_until(self, task, on_epoch):
        def on_epoch_until():
            calls.append(task.index)
            if before_saving and len(calls) == call:
                raise Killed
            on_epoch()
            if len(calls) == call:
                raise Killed

        learn(self, task, on_epoch_until)

    with monkeypatch.context() as patch:
        patch.setattr("focil.studies.study.SAVE_EVERY", 0)
        patch.setattr(Offline, "learn", learn_until)
        with pytest.raises(Killed):
            train(benchmark, job, path)
    assert path.with_suffix(".pt").exists() and not path.exists()


@pytest.fixture(scope="module")
def whole(separated, tmp_path_factory):
    """Uninterrupted trainings by method, each done once."""
    found, folder = {}, tmp_path_factory.mktemp("whole")

    def of(method):
        if method not in found:
            found[method] = numbers(train(benchmark_of(separated), job_of(method), folder / "job.json"))
        return found[method]

    return of


@pytest.mark.parametrize(
    "call, before_saving",
    [(5, False), (6, False), (7, True)],
    ids=["inside a task", "after its last epoch", "between tasks"],
)
@pytest.mark.parametrize("method", ["replay", "icarl", "memo", "joint"])
def test_a_training_that_is_killed_ends_with_the_same_numbers(
    separated, whole, tmp_path, monkeypatch, method, call, before_saving
):
    benchmark, job, path = benchmark_of(separated), job_of(method), tmp_path / "job.json"
    killed(monkeypatch, benchmark, job, path, call, before_saving)
    learned = []
    original = Offline.learn
    monkeypatch.setattr(
        Offline,
        "learn",
        lambda self, task, on_epoch: (
            learned.append((task.index, self.epoch)),
            original(self, task, on_epoch),
        ),
    )
    assert numbers(train(benchmark, job, path)) == whole(method)
    assert learned[0] == {5: (1, 2), 6: (1, 3), 7: (2, 0)}[call]  # it went on, and did not start over
    assert not path.exists()  # the study writes it, and lets the checkpoint go only then


def test_a_training_that_is_killed_twice_shows_all_of_its_progress(separated, whole, tmp_path, monkeypatch):
    benchmark, path, expected = benchmark_of(separated), tmp_path / "job.json", whole("finetune")
    job = job_of("finetune", size=3 * 240)
    killed(monkeypatch, benchmark, job, path, 3, False)
    killed(monkeypatch, benchmark, job, path, 3, False)  # three epochs later
    counted = Counted()
    assert numbers(train(benchmark, job, path, counted)) == expected
    assert counted.total == job.size


def test_a_checkpoint_is_written_now_and_then_only(separated, tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(torch, "save", lambda *_: saved.append(1))
    train(benchmark_of(separated), job_of("finetune"), tmp_path / "job.json")
    assert saved == []  # it took less than SAVE_EVERY


def afresh_or_refused(benchmark, job, path, expected):
    """A checkpoint that is of no use is either refused in words or passed over; it is never continued."""
    try:
        assert numbers(train(benchmark, job, path)) == expected
    except FocilError as error:
        assert str(path.with_suffix(".pt")) in str(error)


class Code:
    """What makes a folder when it is read by pickle."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("damage", ["empty", "text", "half", "code"])
def test_a_damaged_checkpoint_is_no_traceback_and_runs_no_code(
    separated, whole, tmp_path, monkeypatch, damage
):
    benchmark, job, path = benchmark_of(separated), job_of("replay"), tmp_path / "job.json"
    killed(monkeypatch, benchmark, job, path, 5, False)
    checkpoint = path.with_suffix(".pt")
    content = checkpoint.read_bytes()
    damaged = {
        "empty": b"",
        "text": b"not a checkpoint",
        "half": content[: len(content) // 2],
        "code": pickle.dumps(Code(tmp_path / "made")),
    }
    checkpoint.write_bytes(damaged[damage])
    afresh_or_refused(benchmark, job, path, whole("replay"))
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda state: [state],
        lambda state: {key: state[key] for key in state if key != "stages"},
        lambda state: state | {"method": state["method"] | {"done": 7}},
        lambda state: state | {"method": state["method"] | {"net": {"head.weight": torch.zeros(3)}}},
        lambda state: state | {"made_on": None},
    ],
    ids=["a list", "a part is missing", "more tasks than there are", "another network", "no machine"],
)
def test_a_checkpoint_that_holds_something_else_is_explained(separated, tmp_path, monkeypatch, change):
    benchmark, job, path = benchmark_of(separated), job_of("replay"), tmp_path / "job.json"
    killed(monkeypatch, benchmark, job, path, 5, False)
    checkpoint = path.with_suffix(".pt")
    torch.save(change(torch.load(checkpoint, weights_only=True)), checkpoint)
    with pytest.raises(RunError, match="Delete it and start again") as raised:
        train(benchmark, job, path)
    assert str(checkpoint) in str(raised.value)


def test_a_checkpoint_of_other_settings_is_not_continued(separated, tmp_path, monkeypatch):
    job, path = job_of("replay"), tmp_path / "job.json"
    killed(monkeypatch, benchmark_of(separated), job, path, 5, False)
    other = benchmark_of(separated, {"training": TRAINING | {"lr": 0.01}})
    expected = numbers(train(other, job, tmp_path / "uninterrupted.json"))
    afresh_or_refused(other, job, path, expected)


# A larger first task


@pytest.mark.parametrize("method", ["finetune", "icarl", "memo", "der"])
def test_a_larger_first_task_is_learned_and_reported(separated, tmp_path, method):
    benchmark = benchmark_of(separated, {"first_classes": 2, "methods": ["replay", method]}, tasks=5)
    assert [len(classes) for classes in focil.class_order(separable(), 5, 0, first=2)] == [2, 1, 1, 1, 1]
    found = train(benchmark, job_of(method), tmp_path / "job.json")
    assert [sum(value is not None for value in row) for row in found["sample"]["matrix"]] == [1, 2, 3, 4, 5]
    assert (
        len(found["stages"]) == len(found["memory"]) == 5
        and np.array(found["confusion"]).shape == (6, 6)
        and found["new"] == 1
    )
    weights = [1 / 3] + [1 / 6] * 4  # by test images
    assert (
        found["last"] == pytest.approx(np.dot(weights, found["sample"]["matrix"][-1]))
        and found["last"] == found["stages"][-1]
    )
    assert found["average"] == pytest.approx(found["sample"]["average_incremental"])
    assert (
        found["memory"][-1]["published"]["exemplars"]
        == 36 * found["stored"]
        == (0 if method == "finetune" else 36 * 30)
    )
    networks = [stage["published"]["networks"] // 4 for stage in found["memory"]]
    expected = {
        "memo": [SHARED + t * DEEP for t in range(1, 6)],
        "der": [t * (SHARED + DEEP) for t in range(1, 6)],
    }
    assert networks == expected.get(method, [SHARED + DEEP] * 5)


def test_every_method_of_the_table_has_a_title_and_can_be_asked_for():
    point = {"network": "convnet2", "exemplars": 1}
    assert set(TITLES) == set(NAMES) == {*OFFLINE, "focil"} and len(set(TITLES.values())) == len(NAMES)
    assert MemoryOptions(points=[point], methods=NAMES).methods == NAMES
    assert set(MemoryOptions(points=[point]).methods) <= set(NAMES)
