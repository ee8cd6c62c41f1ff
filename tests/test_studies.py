"""The runner of studies: what workers tell the bar, what becomes of an error, and of a study that is
killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import separable, small_benchmark, write_npz

from focil.engine.worker import Progress
from focil.studies.study import Job, Study, StudyError

SIZE = 7  # of every job


class Small(Study):
    """A study that trains nothing: each job does what it says. Jobs are named when it is made."""

    def __init__(self, out, benchmark, seeds, names=("one", "two")):
        super().__init__(out, benchmark, seeds)
        self.names = names

    def jobs(self):
        return [Job(seed, name, SIZE, name) for name in self.names for seed in self.seeds]

    def train(self, job, progress):
        if job.what == "fail":
            raise StudyError("there is nothing to train")
        for _ in range(SIZE):
            progress.advance(1)
        time.sleep(0.3)
        return {"threads": torch.get_num_threads(), "pid": os.getpid(), "said": job.what}

    def finish(self):
        return self.write({})


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory):
    return small_benchmark(data=written(tmp_path_factory.mktemp("data")), audit={})


def written(folder):
    return write_npz(folder / "separable.npz", separable(per_class=4))


class Bar:
    """What would be seen of tqdm."""

    made: list = []

    def __init__(self, **options):
        self.options, self.updates = options, []
        Bar.made.append(self)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def update(self, count):
        self.updates.append(count)

    @staticmethod
    def write(text, file):
        print(text, file=file)


def test_trainings_are_written_and_their_progress_reaches_the_bar(benchmark, tmp_path, monkeypatch):
    monkeypatch.setattr("focil.base.progress.tqdm", Bar)
    study = Small(tmp_path, benchmark, [0, 3])
    study.run()
    (bar,) = Bar.made
    assert (
        bar.options["total"] == 4 * SIZE
        and bar.options["unit"] == "training"
        and bar.options["desc"] == "small"
    )
    assert sum(bar.updates) == 4 * SIZE
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.json")) == [
        f"seed-{seed}/{name}.json" for seed in (0, 3) for name in ("one", "two")
    ]
    found = [study.read(job) for job in study.jobs()]
    assert [content["said"] for content in found] == ["one", "one", "two", "two"]
    assert {content["threads"] for content in found} == {1} and {content["pid"] for content in found} - {
        os.getpid()
    }
    assert study.missing() == [] and study.write({"more": 1})["more"] == 1
    assert json.loads((tmp_path / "result.json").read_text())["seeds"] == [0, 3]
    study.run()
    assert len(Bar.made) == 1  # nothing was missing, so no bar and no process


def test_an_error_in_a_worker_reaches_the_caller_and_finished_trainings_stay(benchmark, tmp_path):
    study = Small(tmp_path, benchmark, [0], ("one", "fail", "two"))
    with pytest.raises(StudyError, match="nothing to train"):
        study.run()
    assert [job.name for job in study.missing()] == ["fail"]
    assert not (tmp_path / "seed-0" / "fail.json").exists() and not list(tmp_path.rglob("*.part"))


def test_seeds_are_counted_once_and_in_order(benchmark, tmp_path):
    assert Small(tmp_path, benchmark, [2, 0, 2]).seeds == [2, 0]


# A study that is killed

SCRIPT = """
import os, sys, time
from pathlib import Path

from focil.runs.params import Benchmark
from focil.studies.study import Job, Study


class Sleeping(Study):
    def jobs(self):
        return [Job(0, name, 1, None) for name in ("one", "two")]

    def train(self, job, progress):
        self.checkpoint(job).with_suffix(".pid").write_text(str(os.getpid()))
        time.sleep(300)

    def finish(self):
        return {}


if __name__ == "__main__":
    benchmark = Benchmark(name="small", data=sys.argv[1], tasks=3, threads=2, device="cpu", audit={})
    Sleeping(sys.argv[2], benchmark, [0]).run()
"""


def alive(pid):
    """Whether a process runs; one that ended and that nobody asked for its exit code (a zombie) does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


def until(condition, seconds):
    """Whether a condition comes true in time."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.1)
    return condition()


def test_workers_end_when_their_study_is_killed(tmp_path):
    (tmp_path / "study_of_sleep.py").write_text(SCRIPT)
    files = [tmp_path / "out" / "seed-0" / f"{name}.pid" for name in ("one", "two")]
    command = [sys.executable, str(tmp_path / "study_of_sleep.py"), written(tmp_path), str(tmp_path / "out")]
    parent = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    pids = []
    try:
        assert (
            until(lambda: all(file.exists() and file.read_text() for file in files), 120)
            and parent.poll() is None
        )
        pids = [int(file.read_text()) for file in files]
        assert len({*pids, parent.pid}) == 3 and all(map(alive, pids))
        parent.kill()
        parent.wait()
        assert until(lambda: not any(map(alive, pids)), 20)
    finally:
        parent.kill()
        for pid in filter(alive, pids):
            os.kill(pid, signal.SIGTERM)


class Leaving(Small):
    """A study whose trainings leave a checkpoint behind."""

    def train(self, job, progress):
        self.checkpoint(job).write_bytes(b"state")
        assert not self._file(job).exists()
        return {"value": job.what}


def test_a_checkpoint_goes_only_when_the_numbers_are_written(benchmark, tmp_path):
    study, folder = Leaving(tmp_path, benchmark, [0]), tmp_path / "seed-0"
    job = Job(0, "one", SIZE, 5)
    study.keep(job, study.do(job, Progress()))
    assert json.loads((folder / "one.json").read_text())["value"] == 5
    assert [file.name for file in folder.iterdir()] == ["one.json"]
    with pytest.raises(ValueError):
        job = Job(0, "two", SIZE, float("nan"))
        study.keep(job, study.do(job, Progress()))
    assert (folder / "two.pt").exists()
