"""Trainings as tasks of Dask: on this machine, on a cluster without a common folder, and when processes die.

The cluster is one scheduler and two workers on the loopback address, each in a folder of its own.
"""

import _thread
import gc
import json
import os
import re
import runpy
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import dask
import pytest
import trainings
import yaml
from conftest import separable, without_time, write_npz

import focil
import focil.engine.cluster
import focil.engine.local
from focil.__main__ import main
from focil.base.errors import FocilError
from focil.base.progress import VARIABLE, without_finished
from focil.engine import worker
from focil.engine.compute import LostScheduler, Training, compute
from focil.engine.local import SHARED, Shared
from focil.engine.worker import MARK, EngineError, Progress
from focil.studies.audit.audit import Audit

TESTS = Path(__file__).resolve().parent
DASK = (
    [sys.executable, "-m", "distributed.cli.dask_scheduler"],
    [sys.executable, "-m", "distributed.cli.dask_worker"],
)
FOCIL = {"sparsities": [0.9], "learning_rates": [0.1, 0.2], "first_rung": 4, "router": "none"}


def collected(given, **about):
    """What `compute` hands over, by name."""
    found = {}
    compute(given, lambda training, result: found.update({training.name: result}), workers=2, **about)
    return found


class Cluster:
    """A scheduler and its workers, as somebody starts them by hand."""

    def __init__(self, folder):
        self.folder, self.file, self.processes = folder, folder / "scheduler.json", []
        self.scheduler = self._start(
            [*DASK[0], "--host", "127.0.0.1", "--port", "0", "--no-show", "--no-dashboard"], folder
        )

    def _start(self, command, folder):
        environment = os.environ | {"PYTHONPATH": f"{TESTS.parent}{os.pathsep}{TESTS}"}
        environment.pop("FOCIL_DATA", None)
        with open(self.folder / "log", "a") as log:
            process = subprocess.Popen(
                [*command, "--scheduler-file", str(self.file)],
                cwd=folder,
                env=environment,
                stdout=log,
                stderr=log,
            )
        self.processes.append(process)
        return process

    def worker(self, *options):
        """One more worker, in a folder of its own."""
        folder = self.folder / f"worker-{len(self.processes)}"
        folder.mkdir()
        options = options or ("--nthreads", "1")
        return self._start([*DASK[1], "--no-dashboard", "--death-timeout", "60", *options], folder)

    def end(self):
        """End everything."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait(timeout=30)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Two workers."""
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    made.worker()
    made.worker()
    yield made
    made.end()


@pytest.fixture
def on_cluster(pair, monkeypatch):
    """What is computed in the test goes there."""
    monkeypatch.setenv("FOCIL_CLUSTER", str(pair.file))
    until(pair.file.exists)


def until(condition, seconds=60):
    """Whether a condition comes true in time."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.1)
    return condition()


# This machine


def test_trainings_run_in_processes_of_their_own_and_come_back_by_name():
    found = collected([Training(f"number {k}", 1, trainings.answer, (k,)) for k in range(5)])
    assert {name: value for name, (value, _) in found.items()} == {f"number {k}": k for k in range(5)}
    pids = {pid for _, pid in found.values()}
    assert os.getpid() not in pids and 1 <= len(pids) <= 2
    assert all_gone(pids)


@pytest.fixture
def heeds_ctrl_c():
    """Also where the tests run in the background of a script, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_workers_of_a_command_serve_all_its_notebooks_and_end_with_it(tmp_path, heeds_ctrl_c):
    five = [Training(f"number {k}", 1, trainings.answer, (k,)) for k in range(5)]
    with Shared() as shared:
        shared.have(2)
        two = {pid for _, pid in collected(five).values()} | {pid for _, pid in collected(five).values()}
        assert len(two) <= 2
        shared.have(1)
        (one,) = {pid for _, pid in collected(five).values()}
        assert one not in two and all_gone(two)
    assert all_gone({one}) and SHARED not in os.environ
    with pytest.raises(KeyboardInterrupt), Shared() as shared:
        shared.have(1)
        threading.Thread(target=wait_and_interrupt, args=(tmp_path,), daemon=True).start()
        collected([Training("long", 1, trainings.long, (str(tmp_path),))])
    (began,) = tmp_path.glob("began-*")
    assert all_gone({int(began.name.split("-")[1])}) and not list(tmp_path.glob("ended-*"))


def wait_and_interrupt(folder):
    """Ctrl-C once a training has begun."""
    until(lambda: list(folder.glob("began-*")))
    _thread.interrupt_main()


def all_gone(pids):
    """Whether processes end in time."""
    return until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), 20)


def test_each_training_that_ends_has_a_line_unless_it_must_be_quiet(monkeypatch, capsys):
    given = [Training(f"number {k}", 1, trainings.answer, (k,)) for k in range(2)]
    monkeypatch.setenv(VARIABLE, "file")
    collected(given)
    said = [line for line in re.split(r"[\r\n]+", capsys.readouterr().err) if "done" in line]
    assert sorted(line[:8] for line in said) == ["number 0", "number 1"]
    assert [line[8:] for line in said] == [": done, 1 of 2", ": done, 2 of 2"]
    assert without_finished("kept\n" + "\n".join(said) + "\n") == "kept\n"
    monkeypatch.setenv(VARIABLE, "quiet")
    collected(given)
    assert capsys.readouterr().err == ""


def test_workers_that_do_not_start_say_why(monkeypatch):
    def full(**_):
        raise RuntimeError("Cluster failed to start") from OSError("no process more for you")

    monkeypatch.setattr("distributed.LocalCluster", full)
    with pytest.raises(EngineError, match=r"2 workers could not be started.*no process more for you\); most"):
        collected([Training(f"number {k}", 1, trainings.answer, (k,)) for k in range(2)])


def test_one_that_fails_is_told_when_the_others_have_ended():
    given = [Training("bad", 1, trainings.fail, ("it is full",))]
    given += [Training(f"good {k}", 1, trainings.answer, (k,)) for k in range(3)]
    found = {}
    with pytest.raises(FocilError, match="^it is full$"):
        compute(given, lambda training, result: found.update({training.name: result}), workers=1)
    assert found.keys() == {"good 0", "good 1", "good 2"}
    with pytest.raises(EngineError, match="2 of 2 trainings failed.*The first, worst: it is full"):
        collected([Training("worst", 1, trainings.fail, ("it is full",)), given[0]._replace(name="worse")])


def test_a_training_whose_worker_is_killed_is_tried_again_three_times(tmp_path):
    assert collected([Training("hard", 1, trainings.suicide, (str(tmp_path), 2))]) == {"hard": 2}
    assert len({path.read_text() for path in tmp_path.iterdir()}) == 3
    (tmp_path / "more").mkdir()
    with pytest.raises(EngineError, match="impossible: the worker that trained it was killed"):
        collected([Training("impossible", 1, trainings.suicide, (str(tmp_path / "more"), 99))])
    # Four workers are killed; one that is lost while it starts has made no attempt.
    assert 2 <= len(list((tmp_path / "more").iterdir())) <= 4


def test_a_worker_that_was_asleep_goes_on(tmp_path):
    with dask.config.set({"distributed.scheduler.worker-ttl": "1s"}):  # 5 minutes by default
        assert collected([Training("sleepy", 1, trainings.sleepy, (str(tmp_path), 8))]) == {"sleepy": 1}


def test_a_worker_between_two_processes_does_not_stop_the_others_from_ending():
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    nannies = [SimpleNamespace(auto_restart=True, pid=pid) for pid in (None, process.pid)]
    focil.engine.local._kill(SimpleNamespace(workers=dict(enumerate(nannies))))
    assert process.wait(60) == -signal.SIGKILL
    assert not any(nanny.auto_restart for nanny in nannies)


def test_what_cannot_fit_is_refused_before_it_starts(tmp_path):
    with pytest.raises(EngineError, match="a training needs about 100000.0 GB of memory"):
        collected([Training("large", 1, trainings.long, (str(tmp_path),))], needs=10**14)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_found_by_its_mark_alone(tmp_path):
    with worker.shared(tmp_path / "out") as seen, worker.folder_in_worker(*seen) as (folder, is_shared):
        assert is_shared and folder == tmp_path / "out" and (folder / MARK).exists()
    assert not (tmp_path / "out" / MARK).exists()
    with worker.folder_in_worker(tmp_path / "out", "another") as (folder, is_shared):
        assert not is_shared and folder.exists() and list(folder.iterdir()) == []
    assert not folder.exists()
    with (
        worker.shared(tmp_path / "out") as (folder, _),
        worker.folder_in_worker(folder, "x") as (own, is_shared),
    ):
        assert not is_shared and own != folder


def test_without_a_client_progress_goes_nowhere():
    progress = Progress()
    progress.advance(3)
    progress.say("nothing")


# A cluster


def params(folder, **changes):
    """A params file in `folder`, and its data beside it."""
    folder.mkdir(exist_ok=True)
    config = {"name": "small", "data": "digits", "tasks": 5, "device": "cpu", "focil": FOCIL} | changes
    (folder / f"{config['name']}.yaml").write_text(yaml.safe_dump({"config": config}))
    return str(folder / f"{config['name']}.yaml")


def names(folder):
    """Of what lies in a folder."""
    return {path.name for path in folder.iterdir()}


def test_a_benchmark_needs_no_folder_in_common(pair, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = params(tmp_path)
    here = json.loads(json.dumps(focil.run(focil.read_params(path, threads=1), out=tmp_path / "here")))
    assert until(pair.file.exists)
    monkeypatch.setenv("FOCIL_CLUSTER", "")
    assert main(["run", path, "--out", "there", "--quiet", "--cluster", str(pair.file)]) == 0
    out = tmp_path / "there" / "small" / "seed-0"
    there = json.loads((out / "result.json").read_text())
    assert here["accuracy"] == there["accuracy"] and here["search"] == there["search"]
    of_the_notebook = {"benchmark.ipynb", "benchmark.html", "figures"}
    assert names(out) == names(tmp_path / "here") | of_the_notebook
    assert {f"{name}.png" for name in ("accuracy-curves", "occupancy")} < names(out / "figures")
    assert main(["verify", str(out)]) == 0
    assert [list(folder.iterdir()) for folder in pair.folder.glob("worker-*")] == [[], []]


def test_a_study_needs_no_folder_in_common(pair, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = params(tmp_path, name="study", audit={"shortcuts": ["R1"], "first_tasks": 2}, threads=2)
    study = Audit(tmp_path / "here", focil.read_params(path), [0])
    study.run()
    here = json.loads(json.dumps(study.finish()))
    monkeypatch.setenv("FOCIL_CLUSTER", "")
    assert main(["run", path, "--out", "there", "--quiet", "--cluster", str(pair.file)]) == 0
    there = json.loads((tmp_path / "there" / "study" / "result.json").read_text())
    assert without_time(here["arms"]) == without_time(there["arms"])
    (kind,) = there["provenance"]["workers"]
    assert kind["versions"]["torch"] and len(kind["trainings"]) == len(
        list(tmp_path.glob("there/study/seed-0/*.json"))
    )
    assert [list(folder.iterdir()) for folder in pair.folder.glob("worker-*")] == [[], []]


def test_other_data_under_the_same_name_is_refused(pair, on_cluster, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_npz(tmp_path / "mine.npz")
    for folder in pair.folder.glob("worker-*"):
        write_npz(folder / "mine.npz", separable(seed=7))
    try:
        assert main(["run", params(tmp_path, data="mine.npz", tasks=3), "--quiet"]) == 1
    finally:
        for folder in pair.folder.glob("worker-*"):
            (folder / "mine.npz").unlink()
    error = capsys.readouterr().err
    assert "the worker tcp://127.0.0.1:" in error and "has other data under 'mine.npz'" in error


def test_other_versions_are_refused_unless_they_are_accepted(on_cluster, monkeypatch):
    given = [Training("one", 1, trainings.answer, (1,))]
    monkeypatch.setattr(worker, "versions", lambda: {"focil": "9", "torch": "9", "numpy": "9"})
    with pytest.raises(EngineError, match=r"tcp://127.*has other versions.*torch .*, not 9.*--any-version"):
        collected(given)
    monkeypatch.setenv("FOCIL_ANY_VERSION", "1")
    assert collected(given)["one"][0] == 1


def test_a_worker_lets_go_of_what_a_training_held():
    given = [Training(str(number), 1, trainings.ring, ()) for number in range(3)]
    found = []
    compute(given, lambda training, result: found.append(result), workers=1)
    assert found == [0, 0, 0]


def test_a_training_that_failed_is_let_go_too():
    for attempt in range(2):
        with pytest.raises(FocilError):
            worker.perform(trainings.knotted, (), None, "")
        gc.collect()
        assert trainings.left.pop()() is None, attempt


def test_a_worker_is_not_paused_for_memory_that_it_keeps():
    (fraction,) = collected([Training("pause", 1, trainings.pause, ())]).values()
    assert fraction is False


def test_a_gpu_is_asked_for_as_a_resource(pair, on_cluster, monkeypatch):
    given = [Training("one", 1, trainings.answer, (1,))]
    monkeypatch.setattr(focil.engine.cluster, "PATIENCE", 1.0)
    with pytest.raises(EngineError, match="none with the resource GPU .* came within 1 seconds"):
        collected(given, gpu=True)
    with_gpu = pair.worker("--nthreads", "1", "--resources", "GPU=1", "--no-nanny")
    monkeypatch.setattr(focil.engine.cluster, "PATIENCE", 60.0)
    assert collected(given, gpu=True) == {"one": (1, with_gpu.pid)}
    with_gpu.terminate()
    with_gpu.wait()


def test_a_worker_that_takes_two_tasks_at_once_is_refused(pair, on_cluster):
    two = pair.worker("--nthreads", "2", "--no-nanny")
    given = [Training("one", 1, trainings.answer, (1,))]

    def refused():
        try:
            collected(given)
        except EngineError as error:
            return "takes 2 tasks at a time" in str(error) and "--nthreads 1" in str(error)
        return False

    assert until(refused)
    two.terminate()
    two.wait()


@pytest.mark.skipif(sys.platform != "linux", reason="how memory is taken from the system is set for Linux")
def test_a_worker_keeps_the_memory_that_it_had():
    (pages,) = collected([Training("faults", 1, trainings.faults, ())]).values()
    assert pages < 10_000  # one tensor has that many; fetched anew, they would be ten times as many


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_script_for_slurm_asks_for_one_training_a_worker():
    script = runpy.run_path(str(TESTS.parent / "docs" / "slurm.py"))
    free = {"dashboard_address": "127.0.0.1:0"}
    asked = script["WORKER"] | {"job_script_prologue": script["QUICK"]}
    with script["SLURMCluster"](**asked, scheduler_options=free) as cluster:
        text = cluster.job_script()
    assert "#SBATCH --mem=6G" in text and "#SBATCH -t 04:00:00" in text and "--nthreads 1 " in text
    assert '"MALLOC_TRIM_THRESHOLD_": 1099511627776' in text


def test_nobody_at_the_address_is_told_in_time(monkeypatch, tmp_path):
    monkeypatch.setattr(focil.engine.cluster, "CONNECT", 1.0)
    monkeypatch.setenv("FOCIL_CLUSTER", "tcp://127.0.0.1:9")
    with pytest.raises(
        EngineError, match="no scheduler of Dask answers at tcp://127.0.0.1:9 within 1 seconds"
    ):
        collected([Training("one", 1, trainings.answer, (1,))])
    monkeypatch.setenv("FOCIL_CLUSTER", str(tmp_path / "scheduler.json"))
    with pytest.raises(EngineError, match="scheduler.json is not there"):
        collected([Training("one", 1, trainings.answer, (1,))])


CLIENT = """
import sys
import threading
import trainings
from focil.engine.compute import Training, compute
if __name__ == "__main__":
    compute([Training("long", 600, trainings.long, (sys.argv[1],))], lambda *_: None, workers=1)
"""


def test_a_training_whose_client_was_killed_gives_up_its_worker(pair, on_cluster, tmp_path):
    environment = os.environ | {"PYTHONPATH": f"{TESTS.parent}{os.pathsep}{TESTS}"}
    client = subprocess.Popen([sys.executable, "-c", CLIENT, str(tmp_path)], env=environment)
    assert until(lambda: list(tmp_path.glob("began-*")))
    client.kill()
    client.wait()
    assert until(lambda: list(tmp_path.glob("ended-*")), 20)
    assert collected([Training("one", 1, trainings.answer, (1,))])["one"][0] == 1


def test_a_scheduler_that_is_lost_is_told(tmp_path, monkeypatch):
    alone = Cluster(tmp_path)
    alone.worker()
    monkeypatch.setenv("FOCIL_CLUSTER", str(alone.file))
    assert until(alone.file.exists)
    begun = []

    def kill(*_):
        if list(tmp_path.glob("began-*")) and not begun:
            begun.append(True)
            alone.scheduler.kill()

    monkeypatch.setattr("focil.engine.compute.Seen.look", kill)
    try:
        with pytest.raises(LostScheduler, match="the connection to the scheduler .* was lost"):
            collected([Training("long", 600, trainings.long, (str(tmp_path),))])
    finally:
        alone.end()
