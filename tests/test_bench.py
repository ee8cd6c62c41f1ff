"""What `make bench` times can still be run; the times themselves belong to no test."""

import re

import pytest

from focil.reports.bench import engine, replay, shares, timings
from focil.router import patches
from focil.router.routed import RoutedOptions
from focil.runs.params import Benchmark


@pytest.fixture(autouse=True)
def once(monkeypatch):
    """Every call is made once, instead of until its time is known."""
    monkeypatch.setattr(timings, "milliseconds", lambda call, repeats=1: (call(), 1000.0)[1])


def test_steps_of_the_mlp_are_compared_with_two_yardsticks(capsys):
    timings.steps("mlp", timings.MNIST, "float32", (1, 4))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["bare", "dense", "1", "4"]


def test_answering_asks_none_one_three_and_all_experts(capsys):
    timings.answering(tasks=4)
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["0", "1", "3", "4"]


def test_routers_are_timed_by_size(capsys):
    timings.routers((0.3, 0.6), measured=60)
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["0.3", "0.6"]


def test_an_offline_epoch_is_compared_with_its_bare_passes(capsys):
    timings.epochs("float32", images=128)
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["bare", "one"]


def test_the_engine_is_timed_by_number_of_empty_trainings(capsys):
    engine.trainings((1, 3))
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["1", "3"]


def test_er_is_compared_with_the_bare_passes_of_its_batches(monkeypatch, capsys):
    monkeypatch.setattr(replay, "IMAGES", 100)
    monkeypatch.setattr(replay, "STORED", 100)
    replay.main(repeats=1)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["bare", "ER"] and lines[1].endswith("x")


def test_the_time_of_a_task_is_shared_out(monkeypatch, capsys):
    monkeypatch.setattr(patches, "DRAWN", 4000)
    small = RoutedOptions(sparsities=[0.95], learning_rates=[0.01, 0.02], first_rung=2, router_megabytes=0.5)
    monkeypatch.setattr(
        shares, "read_params", lambda path: Benchmark(name="n", data="d", tasks=20, focil=small)
    )
    shares.shares("cifar100-20", 32, 5, images=50, tested=20)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[1] for line in lines] == ["without what makes it fast", "as it is"]
    for line in lines:
        assert all(f"{part} " in line for part in shares.PARTS)
        assert sum(int(share) for share in re.findall(r"(\d+)%", line)) == pytest.approx(100, abs=2)
