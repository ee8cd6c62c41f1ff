"""The runner of studies: what workers tell the bar, what becomes of an error, and of a study that is killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import separable, small_benchmark

from focil import studies
from focil.studies import Job, Study, StudyError

SIZE = 7  # of every job


def worker(benchmark, job, path):
    """Trains nothing: does what the job says."""
    if job.what == "fail":
        raise StudyError("there is nothing to train")
    for _ in range(SIZE):
        studies.advance(1)
    time.sleep(0.3)
    import torch

    return {"threads": torch.get_num_threads(), "pid": os.getpid(), "said": job.what}


class Small(Study):
    """A study whose jobs are named when it is made."""

    worker = staticmethod(worker)

    def __init__(self, out, benchmark, seeds, names=("one", "two")):
        super().__init__(out, benchmark, seeds)
        self.names = names

    def jobs(self):
        return [Job(seed, name, SIZE, name) for name in self.names for seed in self.seeds]


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory):
    return small_benchmark(data=written(tmp_path_factory.mktemp("data")), audit={})


def written(folder):
    data = separable(per_class=4)
    np.savez(folder / "separable.npz", x_train=data.x_train, y_train=data.y_train, x_test=data.x_test, y_test=data.y_test)
    return str(folder / "separable.npz")


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


def test_trainings_are_written_and_their_progress_reaches_the_bar(benchmark, tmp_path, monkeypatch):
    monkeypatch.setattr(studies, "tqdm", Bar)
    study = Small(tmp_path, benchmark, [0, 3])
    study.run()
    (bar,) = Bar.made
    assert bar.options["total"] == 4 * SIZE and bar.options["unit"] == "training" and bar.options["desc"] == "small"
    assert 3 * SIZE <= sum(bar.updates) <= 4 * SIZE  # one worker did all four; what it told last may come too late
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.json")) == [
        f"seed-{seed}/{name}.json" for seed in (0, 3) for name in ("one", "two")
    ]
    found = [study.read(job) for job in study.jobs()]
    assert [content["said"] for content in found] == ["one", "one", "two", "two"]
    assert {content["threads"] for content in found} == {1} and {content["pid"] for content in found} - {os.getpid()}
    assert study.missing() == [] and study.write({"more": 1})["more"] == 1
    assert json.loads((tmp_path / "result.json").read_text())["seeds"] == [0, 3]
    study.run()
    assert len(Bar.made) == 1  # nothing was missing, so no bar and no process


def test_an_error_in_a_worker_reaches_the_caller_and_finished_trainings_stay(benchmark, tmp_path):
    study = Small(tmp_path, benchmark, [0], ("one", "fail", "two"))
    with pytest.raises(StudyError, match="nothing to train"):
        study.run()
    assert [job.name for job in study.missing()] in (["fail", "two"], ["fail"])  # the third may have been under way
    assert not (tmp_path / "seed-0" / "fail.json").exists() and not list(tmp_path.rglob("*.part"))


def test_seeds_are_counted_once_and_in_order(benchmark, tmp_path):
    assert Small(tmp_path, benchmark, [2, 0, 2]).seeds == [2, 0]


# A study that is killed

SCRIPT = '''
import os, sys, time
from pathlib import Path

from focil.benchmark import Benchmark
from focil.studies import Job, Study


def worker(benchmark, job, path):
    path.with_suffix(".pid").write_text(str(os.getpid()))
    time.sleep(300)


class Sleeping(Study):
    worker = staticmethod(worker)

    def jobs(self):
        return [Job(0, name, 1, None) for name in ("one", "two")]


if __name__ == "__main__":
    benchmark = Benchmark(name="small", data=sys.argv[1], tasks=3, threads=2, device="cpu", audit={})
    Sleeping(sys.argv[2], benchmark, [0]).run()
'''


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
        assert until(lambda: all(file.exists() and file.read_text() for file in files), 120) and parent.poll() is None
        pids = [int(file.read_text()) for file in files]
        assert len({*pids, parent.pid}) == 3 and all(map(alive, pids))
        parent.kill()
        parent.wait()
        assert until(lambda: not any(map(alive, pids)), 20)
    finally:
        parent.kill()
        for pid in filter(alive, pids):
            os.kill(pid, signal.SIGTERM)


def test_a_checkpoint_goes_only_when_the_numbers_are_written(benchmark, tmp_path):
    path = tmp_path / "seed-0" / "one.json"

    def leaves_a_checkpoint(_, job, at):
        at.with_suffix(".pt").write_bytes(b"state")
        assert not at.exists()
        return {"value": job.what}

    studies._work(leaves_a_checkpoint, benchmark, Job(0, "one", SIZE, 5), path, {})
    assert json.loads(path.read_text())["value"] == 5 and [file.name for file in path.parent.iterdir()] == ["one.json"]
    with pytest.raises(ValueError):
        studies._work(lambda *job: leaves_a_checkpoint(*job) | {"value": float("nan")}, benchmark, Job(0, "two", SIZE, 5), path.with_name("two.json"), {})
    assert path.with_name("two.pt").exists()
