"""What happens to whole processes: side by side, Ctrl-C, kills at any moment, and a disk that fills up.

See docs/reliability.md. `make fuzz` does more of the same.
"""

import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import yaml
from conftest import without_time

import focil
from focil.base.progress import without_finished
from focil.reports.execute import SOCKETS
from focil.studies.audit.audit import Audit

ROOT = Path(__file__).resolve().parent.parent
KILLS = int(os.environ.get("FOCIL_KILLS", 2))
BESIDE = int(os.environ.get("FOCIL_BESIDE", 2))
RUN = [sys.executable, "-m", "focil", "run"]
SEARCH = {"sparsities": [0.9], "learning_rates": [0.1, 0.2], "first_rung": 4, "router": "none"}
CONFIG = {"name": "small", "data": "digits", "tasks": 5, "threads": 1, "device": "cpu", "focil": SEARCH}
STUDY = CONFIG | {"name": "study", "threads": 2, "audit": {"shortcuts": ["R1", "R3"]}}
STUDY_SEEDS = list(range(max(1, KILLS // 3)))  # a worker is killed for each

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")


@pytest.fixture
def tmp_path():
    """A folder with a short name: sockets, which lie below, may have a hundred characters."""
    with tempfile.TemporaryDirectory(prefix="storm-") as folder:
        yield Path(folder)


def written(folder, config, name=None):
    """A params file in `folder`."""
    name = name or config["name"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.yaml").write_text(yaml.safe_dump({"config": config | {"name": name}}))
    return f"{name}.yaml"


def environment(tmp_path, **more):
    """Of a process whose temporary files lie in a folder of the test, so that what it leaves there is
    seen."""
    (tmp_path / "temporary").mkdir(exist_ok=True)
    return os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path / "temporary")} | more


def left_running(tmp_path):
    """Numbers of the processes that have to do with a test's folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            text = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:  # it has ended, or is somebody else's
            continue
        if str(tmp_path).encode() in text and int(process.name) != os.getpid():
            found.append(int(process.name))
    return found


def until_none_runs(tmp_path, seconds=30):
    """Numbers of the processes that are still there after a while; there should be none."""
    end = time.monotonic() + seconds
    while (left := left_running(tmp_path)) and time.monotonic() < end:
        time.sleep(0.2)
    return left


def accuracy(folder):
    return json.loads((folder / "result.json").read_text())["accuracy"]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Accuracies of seed 0 of the small benchmark, run with nothing beside it."""
    return focil.run(focil.Benchmark(**CONFIG), out=tmp_path_factory.mktemp("alone") / "run")["accuracy"]


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    """Arms of the small study, by name, with nothing beside it."""
    study = Audit(tmp_path_factory.mktemp("calm"), focil.Benchmark(**STUDY), STUDY_SEEDS)
    study.run()
    return without_time(json.loads(json.dumps(study.finish()["arms"])))


def test_runs_at_the_same_moment_in_one_folder_of_work(alone, tmp_path):
    work = tmp_path / "work"
    command = [*RUN, written(work, CONFIG), "--quiet", "--seed"]
    env = environment(tmp_path)
    runs = [subprocess.Popen([*command, str(seed)], cwd=work, env=env) for seed in range(BESIDE)]
    assert [run.wait(timeout=600) for run in runs] == [0] * BESIDE
    assert sorted(path.name for path in work.iterdir()) == ["outputs", "small.yaml"]
    folders = [work / "outputs" / "small" / f"seed-{seed}" for seed in range(BESIDE)]
    assert accuracy(folders[0]) == alone
    last = focil.run(focil.Benchmark(**CONFIG), seed=BESIDE - 1, out=tmp_path / "last")
    assert accuracy(folders[-1]) == last["accuracy"]


def test_params_of_one_command_share_workers_that_leave_without_a_word(alone, tmp_path):
    work = tmp_path / "work"
    points = [{"network": "convnet2", "exemplars": 50, "anchor": "each"}]
    offline = {"methods": ["replay"], "points": points, "training": {"epochs": 1}}
    study = CONFIG | {"name": "study", "threads": 2, "memory": offline}  # its optimiser loads such a package
    command = [*RUN, written(work, study), written(work, CONFIG), "--quiet", "--workers", "2"]
    done = subprocess.run(command, cwd=work, env=environment(tmp_path), capture_output=True, timeout=600)
    assert (done.returncode, done.stderr) == (0, b"")
    assert accuracy(work / "outputs" / "small" / "seed-0") == alone
    assert (work / "outputs" / "study" / "result.json").is_file()
    assert until_none_runs(tmp_path) == []


# Ctrl-C


def _hears_ctrl_c():
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize("config", [CONFIG, STUDY], ids=["run", "study"])
def test_ctrl_c_is_one_line_and_the_same_command_goes_on(config, alone, calm, tmp_path):
    work = tmp_path / "work"
    command = [*RUN, written(work, config), "--seed", "0"]
    about = {"cwd": work, "env": environment(tmp_path), "text": True, "start_new_session": True}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    # What starts these tests in the background may have them ignore Ctrl-C; a command in front does not.
    process = subprocess.Popen(command, **pipes, **about, preexec_fn=_hears_ctrl_c)
    heard = ""
    while "0%|" not in heard and (read := process.stderr.read(1)):  # the bar of the training
        heard += read
    assert "0%|" in heard, heard
    time.sleep(1)
    os.killpg(process.pid, signal.SIGINT)  # a terminal tells every process in front
    _, rest = process.communicate(timeout=60)
    lines = re.split(r"[\r\n]+", without_finished((heard + rest).replace("\r", "\n")))
    said = [line for line in lines if "%|" not in line and line.strip()]
    assert process.returncode == 130
    assert [line.strip().partition(";")[0] for line in said] == ["focil: interrupted"], heard + rest
    assert until_none_runs(tmp_path) == []
    assert subprocess.run([*command, "--quiet"], **about, timeout=300).returncode == 0
    if config is CONFIG:
        assert accuracy(work / "outputs" / "small" / "seed-0") == alone
    else:
        arms = json.loads((work / "outputs" / "study" / "result.json").read_text())["arms"]
        assert without_time(arms) == {name: reports[:1] for name, reports in calm.items()}


# Kills


def clone(folder, tmp_path):
    """What `make reproduce` needs beside focil: the Makefile, two params files, and an environment."""
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder)
    names = ["one", "two"]
    for name in names:
        written(folder / "params", CONFIG, name)
    programs = folder / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (programs / "python").chmod(0o755)
    (folder / ".venv" / ".installed-default").touch()
    command = ["make", "-j2", "reproduce", f"RUN={' '.join(names)}"]
    env = environment(tmp_path)
    env.pop("MAKEFLAGS", None)  # of the make that runs the tests
    return command, {"cwd": folder, "env": env, "start_new_session": True}


def test_a_storm_of_kills_over_two_runs_side_by_side(alone, tmp_path):
    work, chance = tmp_path / "work", random.Random(time.time_ns() % 1000)
    command, about = clone(work, tmp_path)
    before = sorted(path.name for path in work.iterdir())
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    for _ in range(KILLS):
        process = subprocess.Popen(command, **about, **silent)
        time.sleep(chance.uniform(1, 15))
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert until_none_runs(tmp_path) == []
    answer = subprocess.run(command, **about, capture_output=True, text=True, timeout=300)
    assert answer.returncode == 0, answer.stderr
    for name in ("one", "two"):
        folder = work / "outputs" / name / "seed-0"
        assert accuracy(folder) == alone
        assert not [path for path in folder.rglob("*") if ".part" in path.name]
    assert sorted(path.name for path in work.iterdir()) == sorted([*before, "outputs"])
    assert list((tmp_path / "temporary").glob(f"{SOCKETS}*")) == []


def workers_of(tmp_path):
    """Numbers of the processes in which trainings of a study run."""
    found = []
    for number in left_running(tmp_path):
        with suppress(OSError):
            if b"spawn_main" in Path(f"/proc/{number}/cmdline").read_bytes():
                found.append(number)
    return found


def test_killed_workers_change_no_number_of_a_study(calm, tmp_path):
    work, chance = tmp_path / "work", random.Random(time.time_ns() % 1000)
    wanted = len(STUDY_SEEDS)
    command = [*RUN, written(work, STUDY), "--quiet", "--seed", *map(str, STUDY_SEEDS)]
    process, killed = subprocess.Popen(command, cwd=work, env=environment(tmp_path)), 0
    while process.poll() is None:
        time.sleep(chance.uniform(0.5, 3))
        if killed < wanted and (workers := workers_of(tmp_path)):
            with suppress(ProcessLookupError):
                os.kill(chance.choice(workers), signal.SIGKILL)
                killed += 1
    assert process.returncode == 0 and killed == wanted
    stormy = json.loads((work / "outputs" / "study" / "result.json").read_text())
    assert without_time(stormy["arms"]) == calm
    assert until_none_runs(tmp_path) == []


# A disk that fills up


@contextmanager
def small_disk(folder, kilobytes):
    """A folder on a disk of its own, of that size; yields a function that makes it larger.

    Where a test may not mount one, the largest file is limited instead.
    """
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "focil-test", str(folder)]
    larger = ["mount", "-o", "remount,size=100m", str(folder)]
    if shutil.which("mount") and subprocess.run(mount, capture_output=True).returncode == 0:
        try:
            yield None, lambda: subprocess.run(larger, check=True, capture_output=True)
        finally:
            subprocess.run(["umount", str(folder)], check=True, capture_output=True)
    else:
        limits = [8 * 1024, resource.RLIM_INFINITY]
        yield (lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limits[0], limits[1]))), limits.reverse


@pytest.mark.parametrize("kilobytes", [16, 100, 300, 700] if KILLS > 2 else [300])
def test_a_full_disk_ends_in_words_and_with_more_room_it_goes_on(kilobytes, alone, tmp_path):
    work = tmp_path / "work"
    command = [*RUN, written(work, CONFIG), "--quiet", "--out", str(tmp_path / "disk" / "outputs")]
    about = {"cwd": work, "env": environment(tmp_path), "capture_output": True, "text": True, "timeout": 300}
    with small_disk(tmp_path / "disk", kilobytes) as (limit, grow):
        answer = subprocess.run(command, **about, preexec_fn=limit)
        assert answer.returncode == 1, answer
        assert answer.stderr.startswith("focil: ") and answer.stderr.count("\n") < 4, answer.stderr
        assert "disk" in answer.stderr or "could not be written" in answer.stderr
        grow()
        answer = subprocess.run(command, **about, preexec_fn=limit)
        assert answer.returncode == 0, answer.stderr
        assert accuracy(tmp_path / "disk" / "outputs" / "small" / "seed-0") == alone
