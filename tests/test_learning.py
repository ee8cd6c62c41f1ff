"""What is learned while somebody watches is what a run learns, and it can be stopped, changed and wrong."""

import threading

import numpy as np
import pytest

import focil
from focil.masks import FREE
from focil.reports.explorer import learner, learning, moments
from focil.reports.explorer.learner import Learner
from focil.reports.explorer.worker import Stopped, Worker

PATIENCE = 60  # seconds until a thread must have come as far as a test waits for
FIVE = learning.Settings(0.9, 0.2, 5, "planned", 0)


@pytest.fixture(scope="module")
def seen():
    return list(learning.learn(FIVE))


def test_it_learns_what_a_run_learns(seen, tmp_path):
    result = focil.run(learning.benchmark(FIVE), seed=0, out=tmp_path / "seed-0")
    assert len(seen) == 5
    for name, report in result["accuracy"].items():
        assert seen[-1].rows[name] == [row[: i + 1] for i, row in enumerate(report["matrix"])]
    assert seen[-1].capacity == result["capacity"]
    assert seen[-1].memory_bytes == result["memory_bytes"]


def test_what_was_seen_stays_as_it_was(seen):
    assert [len(moment.capacity) for moment in seen] == [1, 2, 3, 4, 5]
    for then, now in zip(seen, seen[1:], strict=False):
        assert now.fingerprints[: len(then.fingerprints)] == then.fingerprints
        for name, owner in then.owner.items():
            taken = owner != FREE
            assert (now.owner[name][taken] == owner[taken]).all() and (
                now.owner[name] != FREE
            ).sum() > taken.sum()


def test_the_page_of_a_moment_shows_the_comparison_of_every_older_expert(seen):
    first, last = moments.moment(seen[0]), moments.moment(seen[-1])
    assert "1 task of 5 learned" in first and "compared after every later task" in first
    assert "4 older experts are unchanged, bit for bit." in last
    for task, times in enumerate((4, 3, 2, 1)):
        cells = f"<td>{seen[-1].fingerprints[task][:12]}</td><td>equal, {times} time"
        assert cells in last
    assert last.count("<img alt=") == 1 and "frozen now" in last


def test_a_sweep_comes_point_by_point(monkeypatch):
    monkeypatch.setattr(learning, "SWEPT", (0.5, 0.99))
    points = list(learning.sweep(FIVE._replace(tasks=2)))
    assert [point.sparsity for point in points] == [0.5, 0.99]
    assert points[1].trained == 4 * 2 * round(0.01 * 49_200) < points[0].trained
    assert points[0].kept == points[1].kept
    page = moments.curve(points)
    assert "All that is kept stays at" in page and page.count('<th scope="row">') == 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sparsity": 1.0}, "sparsities"),
        ({"lr": -1.0}, "learning_rates"),
        ({"lr": float("nan")}, "learning_rates"),
        ({"tasks": 3}, "cannot be split into 3 tasks"),
        ({"allocation": "greedy"}, "allocation"),
        ({"lr": 1e6}, "not finite|diverged"),
    ],
)
def test_what_cannot_be_learned_is_said_in_words(changes, words):
    with pytest.raises(focil.FocilError, match=words):
        list(learning.learn(FIVE._replace(**changes)))


def test_work_is_stopped_at_its_next_check_and_other_work_begins():
    worker, begun, said = Worker(), threading.Event(), []

    def endless(check):
        begun.set()
        while True:
            check("any", "thing")

    worker.start(endless)
    assert begun.wait(PATIENCE)
    worker.start(lambda check: said.append("another"))
    worker.wait()
    assert said == ["another"]
    worker.stop()  # nothing is being done: nothing happens


@pytest.fixture
def tab():
    made = Learner()
    yield made
    made.worker.stop()


def test_what_warms_up_has_ended_before_a_click_is_answered(monkeypatch):
    go_on, said = threading.Event(), []

    def warm_up():
        go_on.wait(PATIENCE)
        said.append("warm")

    monkeypatch.setattr(learner, "_warm_up", warm_up)
    monkeypatch.setattr(learning, "learn", lambda *_: said.append("learns") or iter(()))
    tab = Learner()
    threading.Timer(0.2, go_on.set).start()
    tab.buttons["Learn"].click()
    tab.worker.wait()
    assert said == ["warm", "learns"]


def test_the_tab_learns_and_a_moved_control_begins_anew(tab):
    assert "Press Learn" in tab.live.value
    tab.buttons["Learn"].click()
    tab.worker.wait()
    assert "5 tasks of 5 learned" in tab.live.value
    tab.controls["tasks"].value = 2
    tab.worker.wait()
    assert "2 tasks of 2 learned" in tab.live.value and not tab.swept.value


def test_the_tab_survives_a_rate_that_diverges(tab, monkeypatch):
    monkeypatch.setattr(tab, "settings", lambda: FIVE._replace(lr=1e6))
    tab.buttons["Learn"].click()
    tab.worker.wait()
    assert "a learning rate of 1e+06 is too high" in tab.live.value
    monkeypatch.undo()
    tab.buttons["Learn"].click()
    tab.worker.wait()
    assert "5 tasks of 5 learned" in tab.live.value


def test_the_tab_stops_and_begins_again(tab, monkeypatch):
    first, go_on = threading.Event(), threading.Event()
    curve = moments.curve

    def slowly(points):
        first.set()
        go_on.wait(PATIENCE)
        return curve(points)

    monkeypatch.setattr(moments, "curve", slowly)
    tab.buttons["Sweep sparsity"].click()
    assert first.wait(PATIENCE)
    threading.Timer(0.2, go_on.set).start()
    tab.buttons["Stop"].click()
    assert not tab.swept.value  # what was stopped shows nothing any more
    tab.controls["tasks"].value = 2
    tab.worker.wait()
    assert "2 tasks of 2 learned" in tab.live.value


def test_a_batch_is_enough_to_stop():
    drawn = []

    def beat(images):
        drawn.append(images)
        if len(drawn) == 3:
            raise Stopped

    with pytest.raises(Stopped):
        list(learning.learn(FIVE, beat))
    assert np.sum(drawn) == 30
