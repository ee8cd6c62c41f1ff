"""Runs: results, resume after a kill at any moment, refusals, and that nothing is lost."""

import errno
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import separable, small_benchmark, write_npz
from torch import nn

import focil
from focil.base import files
from focil.base.locks import FolderError
from focil.evaluation.evaluation import ForgettingError
from focil.evaluation.protocols import join
from focil.runs import run as runs
from focil.runs.checkpoint import verify_folder, write_file
from focil.runs.run import Run

CHANGES_WITH_TIME = ("seconds", "provenance")
DIGITS = {"name": "kill", "data": "digits", "tasks": 5, "device": "cpu", "threads": 1}


def lasting(result: dict) -> dict:
    """The part of a result that must be the same whenever and however often it is run."""
    return {key: value for key, value in result.items() if key not in CHANGES_WITH_TIME}


def step(work: Run, count: int = 3) -> Run:
    """Learn, evaluate and save the next tasks of a run."""
    for _, task in zip(range(count), work.tasks(), strict=False):
        work.method.learn(task)
        work.evaluation.after(work.method, task.index)
        work.save()
    return work


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One finished run on digits."""
    out = tmp_path_factory.mktemp("finished")
    return out, focil.run(focil.Benchmark(**DIGITS), out=out)


def test_a_result_has_every_number(finished):
    out, result = finished
    assert json.loads((out / "result.json").read_text()) == result
    assert list(result["accuracy"]) == [
        join(protocol, who)
        for protocol in ("oracle", "batch-10", "sample")
        for who in ("experts", "router", "both")
    ]
    for report in result["accuracy"].values():
        assert [sum(value is not None for value in row) for row in report["matrix"]] == [1, 2, 3, 4, 5]
        last = report["matrix"][-1]
        assert report["final_average"] == pytest.approx(sum(last) / 5)
    assert result["accuracy"]["oracle-experts"]["forgetting"] == 0  # exactly: the experts are frozen
    assert result["verified"] == {"process": "new", "experts": 5, "equal": True}
    assert [search["draws_per_sample"] for search in result["search"]] == [1] * 5
    assert all(len(search["candidates"]) == 16 for search in result["search"])
    memory = result["memory_bytes"]
    assert memory["total"] == sum(value for key, value in memory.items() if key != "total")
    assert result["seconds"]["total"] == pytest.approx(
        result["seconds"]["train"] + result["seconds"]["evaluate"]
    )
    assert (
        memory["router"] == result["budgets"][0]["router_bytes"]
        and result["budgets"][0]["sample"] == result["accuracy"]["sample"]["final_average"]
    )
    assert result["batches"]["one task"]["both"][3] == result["accuracy"]["batch-10"]["final_average"]
    assert result["data_bytes"] == {"training_set": 1442 * 64, "image": 64}
    assert sum(result["layers"].values()) == 64 * 300 + 300 * 100
    assert result["provenance"]["versions"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert (
        sum(result["test_images"]) == 355
        and [len(row) for row in result["routing"]["sample-experts"]] == [5] * 5
    )


VICTIM = """
import json, os, random, signal, sys, time
import focil, torch
config, out, longest = json.loads(sys.argv[1]), sys.argv[2], float(sys.argv[4])
chance = random.Random(int(sys.argv[3]))
kills = 0
def again():
    child = os.fork()
    if not child:
        focil.run(focil.Benchmark(**config), out=out)
        os._exit(0)
    return child
torch.set_num_threads(1)
while kills < 5 and not os.path.exists(out + "/result.json"):
    child = again()
    time.sleep(chance.uniform(0.05, longest))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    kills += 1
_, status = os.waitpid(again(), 0)
print(kills, status)
"""


RESNET18 = {key: value for key, value in DIGITS.items() if key != "data"} | {
    "tasks": 2,
    "crop": 1,
    "backbone": "resnet18",
    "focil": {
        "sparsities": [0.95],
        "learning_rates": [0.005, 0.01],
        "first_rung": 4,
        "again": 5,
        "precision": "bfloat16",
    },
}


@pytest.mark.parametrize("config, longest", [(DIGITS, 0.6), (RESNET18, 2.0)], ids=["mlp", "resnet18"])
def test_killed_at_random_moments_it_ends_with_the_same_numbers(config, longest, tmp_path):
    few = separable(classes=4, per_class=30, size=8)  # a step of ResNet18 takes a tenth of a second
    config = {"data": write_npz(tmp_path / "few.npz", few)} | config
    straight = focil.run(focil.Benchmark(**config), out=tmp_path / "straight")
    out, chance = tmp_path / "killed", time.time_ns() % 1000
    answer = subprocess.run(
        [
            sys.executable,
            "-W",
            "ignore",
            "-c",
            VICTIM,
            json.dumps(config),
            str(out),
            str(chance),
            str(longest),
        ],
        capture_output=True,
        text=True,
        timeout=240,
    )
    kills, status = map(int, answer.stdout.split())
    assert status == 0 and kills >= 2, f"random seed {chance}: {answer.stdout} {answer.stderr[-2000:]}"
    result = json.loads((out / "result.json").read_text())
    assert lasting(result) == lasting(straight), f"random seed {chance}"


def test_a_new_start_after_each_task_ends_with_the_same_numbers(tmp_path):
    data = separable()
    straight = focil.run(small_benchmark(backbone="own"), out=tmp_path / "a", data=data, backbone=Convolution)
    for _ in range(3):
        step(Run(tmp_path / "b", small_benchmark(backbone="own"), data=data, backbone=Convolution), 1)
    pieces = Run(tmp_path / "b", small_benchmark(backbone="own"), data=data, backbone=Convolution)
    assert list(pieces.tasks()) == []
    assert lasting(pieces.finish()) == lasting(straight)
    assert (
        straight["verified"]["process"] == "same"
    )  # a network of one's own cannot be rebuilt by another process


class Convolution(nn.Module):
    """A user's own network."""

    def __init__(self, image_shape):
        super().__init__()
        self.conv = nn.Conv2d(image_shape[0], 12, 3)
        self.norm = nn.BatchNorm2d(12)

    def forward(self, images):
        return self.norm(self.conv(images)).relu().amax((2, 3))


@pytest.mark.parametrize(
    "change, seed, named",
    [
        ({"tasks": 2}, 0, "tasks: 3 there, 2 now"),
        ({"threads": 2}, 0, "threads: 1 there, 2 now"),
        ({}, 1, "seed: 0 there, 1 now"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused_and_kept(change, seed, named, tmp_path, data):
    step(Run(tmp_path, small_benchmark(), data=data), 1)
    before = (tmp_path / "experts.pt").read_bytes()
    with pytest.raises(focil.RunError, match=f"{named}.*--fresh"):
        Run(tmp_path, small_benchmark(**change), seed, data=data)
    assert (tmp_path / "experts.pt").read_bytes() == before


def test_other_data_is_refused(tmp_path, data):
    step(Run(tmp_path, small_benchmark(), data=data), 1)
    with pytest.raises(focil.RunError, match="data: "):
        Run(tmp_path, small_benchmark(), data=separable(seed=1))


@pytest.mark.parametrize("name", ["experts.pt", "scores.pt"])
@pytest.mark.parametrize("damage", [b"", b"not a checkpoint", None])
def test_a_damaged_checkpoint_is_explained(damage, name, tmp_path, data):
    step(Run(tmp_path, small_benchmark(), data=data), 1)
    file = tmp_path / name
    file.write_bytes(file.read_bytes()[:1000] if damage is None else damage)
    with pytest.raises(focil.RunError, match="damaged.*--fresh"):
        Run(tmp_path, small_benchmark(), data=data)


def test_a_checkpoint_cannot_run_code(tmp_path, data):
    class Bomb:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "exploded"),))

    torch.save({"benchmark": Bomb()}, tmp_path / "experts.pt")
    with pytest.raises(focil.RunError, match="cannot be read"):
        Run(tmp_path, small_benchmark(), data=data)
    assert not (tmp_path / "exploded").exists()


def test_a_moved_weight_in_the_file_fails_in_the_new_process(tmp_path, data):
    work = step(Run(tmp_path, small_benchmark(), data=data))
    state = torch.load(tmp_path / "experts.pt", weights_only=True)
    name, positions = next(iter(work.method.ledger.claimed[0].new.items()))
    flat = state["method"]["store"][name].view(-1)
    flat[positions[0]] = torch.nextafter(flat[positions[0]], torch.tensor(9.0))
    torch.save(state, tmp_path / "experts.pt")
    with pytest.raises(focil.RunError, match="verification in a new process failed.*expert 0 has changed"):
        work.finish()
    assert not (tmp_path / "result.json").exists()


def test_a_full_disk_loses_nothing(tmp_path, data, monkeypatch):
    work = step(Run(tmp_path, small_benchmark(), data=data), 1)
    with monkeypatch.context() as patch:
        patch.setattr(files.os, "replace", full)
        with pytest.raises(files.WriteError, match="disk filled up.*start again"):
            step(work, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["experts.pt", "scores.pt"]
    again, straight = (step(Run(out, small_benchmark(), data=data)) for out in (tmp_path, tmp_path / "other"))
    assert again.evaluation.accuracy() == straight.evaluation.accuracy()
    assert [again.method.fingerprint(e) for e in range(3)] == [
        straight.method.fingerprint(e) for e in range(3)
    ]


def test_a_disk_that_is_full_is_said_in_words_where_torch_would_not(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(files.WriteError, match="x.pt could not be written"):
            write_file(tmp_path / "x.pt", {"x": torch.zeros(10_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_what_a_kill_left_of_a_write_goes_when_the_run_continues(tmp_path, data):
    step(Run(tmp_path, small_benchmark(), data=data), 1)
    (tmp_path / ".experts.pt.0123abcd.part").write_bytes(b"half")
    Run(tmp_path, small_benchmark(), data=data)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["experts.pt", "scores.pt"]


def test_a_study_is_no_run(tmp_path, data):
    study = small_benchmark(memory={"points": [{"network": "convnet2", "exemplars": 10}]})
    with pytest.raises(focil.RunError, match="small is a study.*focil run small"):
        focil.run(study, out=tmp_path, data=data)


def test_data_that_is_handed_over_is_not_split_again(tmp_path, data):
    with pytest.raises(focil.RunError, match="leave split out"):
        focil.run(small_benchmark(split="sha256"), out=tmp_path, data=data)


@pytest.mark.skipif(torch.cuda.is_available(), reason="here is a GPU")
def test_a_run_of_a_gpu_is_not_called_damaged_where_there_is_none(tmp_path, data):
    step(Run(tmp_path, small_benchmark(), data=data), 1)
    state = torch.load(tmp_path / "experts.pt", weights_only=True)
    state["benchmark"]["device"] = "cuda"
    torch.save(state, tmp_path / "experts.pt")
    with pytest.raises(focil.BenchmarkError, match="finds no GPU on this machine"):
        verify_folder(tmp_path)


def test_a_kill_between_the_two_files_of_a_checkpoint_is_harmless(tmp_path, data):
    step(Run(tmp_path, small_benchmark(), data=data), 1)
    experts = (tmp_path / "experts.pt").read_bytes()
    straight = step(Run(tmp_path, small_benchmark(), data=data))
    (tmp_path / "experts.pt").write_bytes(experts)  # the scores of all tasks, but only the first expert
    again = step(Run(tmp_path, small_benchmark(), data=data))
    assert again.evaluation.accuracy() == straight.evaluation.accuracy()


def full(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_finish_before_the_end_is_refused(tmp_path, data):
    with pytest.raises(focil.RunError, match="0 of 3 tasks"):
        Run(tmp_path, small_benchmark(), data=data).finish()


def test_an_own_backbone_must_be_asked_for_and_given(tmp_path, data):
    for benchmark, backbone in ((small_benchmark(backbone="own"), None), (small_benchmark(), Convolution)):
        with pytest.raises(focil.RunError, match="needs both"):
            Run(tmp_path, benchmark, data=data, backbone=backbone)


def test_a_folder_that_cannot_be_created_is_explained(tmp_path, data):
    (tmp_path / "file").write_text("")
    with pytest.raises(FolderError, match="--out"):
        Run(tmp_path / "file" / "run", small_benchmark(), data=data)


def test_development_never_reads_the_test_images(tmp_path, data):
    result = focil.run(
        small_benchmark(development=True, backbone="own"), out=tmp_path, data=data, backbone=Convolution
    )
    assert sum(result["test_images"]) == 6 * 4  # a tenth of 40 training images a class
    assert "rules" in result and result["provenance"]["data"]["sha256"] == data.development().checksum


def test_verify_notices_another_router(finished, tmp_path):
    state = torch.load(finished[0] / "experts.pt", weights_only=True)
    state["method"]["router"]["discriminant"]["sums"][0, 0] += 0.1
    torch.save(state, tmp_path / "experts.pt")
    with pytest.raises(ForgettingError, match="router"):
        verify_folder(tmp_path)
    torch.save(
        {key: value for key, value in state.items() if key != "router_scores"}, tmp_path / "experts.pt"
    )
    with pytest.raises(focil.RunError, match="without a router.*--fresh"):
        verify_folder(tmp_path)


def test_verify_needs_a_run(tmp_path):
    with pytest.raises(focil.RunError, match="holds no run"):
        verify_folder(tmp_path)


def test_an_interrupted_write_leaves_no_litter_to_resume_from(finished):
    out, _ = finished
    assert sorted(path.name for path in Path(out).iterdir()) == ["experts.pt", runs.RESULT, "scores.pt"]
