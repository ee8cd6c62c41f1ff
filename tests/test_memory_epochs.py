"""The study of memory over several numbers of epochs: the rate is chosen first, and what follows from the
map."""

import json

import pytest
import torch
from conftest import separable, small_benchmark, write_npz

from focil.figures import epochs as figures
from focil.runs.params import Benchmark, BenchmarkError
from focil.studies import study
from focil.studies.memory import Memory
from focil.studies.study import Job, StudyError
from focil.studies.training import Setting
from focil.studies.verdict import Grown, curves, likeness, over_epochs, turns

POINT = {"network": "convnet2", "exemplars": 30, "anchor": "each"}
SHORT = {"schedule": "budget", "batch_size": 20, "lr": 0.05, "aligning": "shrink"}
MEMORY = {
    "methods": ["replay", "memo", "finetune"],
    "network": "convnet2",
    "points": [POINT],
    "training": SHORT,
    "epochs": [1, 3],
    "only": {3: ["replay", "memo"]},
    "rates": [1e-6, 0.05],
    "tuning_tasks": 2,
    "one_seed_from": 3,
}


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory):
    """Three tasks of two classes, one and three epochs, two rates of which one learns nothing."""
    path = write_npz(tmp_path_factory.mktemp("data") / "separable.npz", separable(per_class=60))
    return small_benchmark(data=path, memory=MEMORY)


@pytest.fixture(scope="module")
def finished(benchmark, tmp_path_factory):
    """The whole study over two seeds, in this process: study and result."""
    study = Memory(tmp_path_factory.mktemp("map"), benchmark, [0, 1])
    while missing := study.missing():
        for job in missing:
            study.keep(job, study.do(job, _Quiet()))
    return study, study.finish()


class _Quiet:
    def advance(self, images):
        pass


class _Stopped:
    """Stops a training in its last task."""

    left = 300

    def advance(self, images):
        self.left -= images
        if self.left < 0:
            raise KeyboardInterrupt


def test_every_method_has_the_same_rates_to_try_on_the_development_split_of_the_first_tasks(
    benchmark, tmp_path
):
    study = Memory(tmp_path, benchmark, [3, 4])
    trials = study.jobs()
    assert [job.name for job in trials] == [
        "replay-convnet2-30-1-epochs-trial-1e-06",
        "replay-convnet2-30-1-epochs-trial-0.05",
        "memo-convnet2-30-1-epochs-trial-1e-06",
        "memo-convnet2-30-1-epochs-trial-0.05",
    ]
    assert {job.seed for job in trials} == {3} and all(job.what.tuning for job in trials)


def test_the_best_mean_rate_is_everyones_and_long_trainings_have_one_seed(finished):
    study, result = finished
    assert result["chosen"] == 0.05 and len(result["trials"]) == 4
    finals = [(job.seed, job.name) for job in study.finals()]
    assert finals == [
        (0, "replay-convnet2-30-1-epochs"),
        (1, "replay-convnet2-30-1-epochs"),
        (0, "memo-convnet2-30-1-epochs"),
        (1, "memo-convnet2-30-1-epochs"),
        (0, "finetune-convnet2-0-1-epochs"),
        (1, "finetune-convnet2-0-1-epochs"),
        (0, "replay-convnet2-30-3-epochs"),
        (0, "memo-convnet2-30-3-epochs"),
    ]
    assert {report["lr"] for reports in result["runs"].values() for report in reports} == {0.05}
    assert json.loads((study.out / "result.json").read_text()) == result


def test_longer_training_passes_as_many_more_images(finished):
    grown = over_epochs(finished[1], 0)
    assert list(grown) == ["replay", "memo", "finetune"]
    short, long = grown["replay"]
    assert (short.epochs, long.epochs, len(short.last), len(long.last)) == (1, 3, 2, 1)
    assert long.images == pytest.approx(3 * short.images)
    # New images, and from the second task on the exemplars: 15 for each of two classes, 7 for each of four.
    per_task = len(finished[0].data.x_train) // 3
    assert short.images * 1e6 == pytest.approx(3 * per_task + 30 + 28)
    assert [grown.epochs for grown in grown["finetune"]] == [1]


def test_where_methods_are_compared_the_longest_training_that_all_with_a_budget_have_counts(finished):
    (point,) = finished[1]["points"]
    assert set(point["runs"]) == {"replay", "memo"}
    assert {name.rsplit("-", 2)[1] for name in point["runs"].values()} == {"3"}
    assert set(point["by_epochs"]) == {"1", "3"} and set(point["by_epochs"]["3"]) == {"replay", "memo"}


def test_more_epochs_take_what_is_there_and_another_rate_does_not(finished):
    study, _ = finished
    given = study.benchmark.model_dump(exclude_unset=True)
    more = Memory(study.out, Benchmark(**given | {"memory": MEMORY | {"epochs": [1, 3, 4], "only": {}}}), [0])
    assert [job.name for job in more.missing()] == [
        "finetune-convnet2-0-3-epochs",
        "replay-convnet2-30-4-epochs",
        "memo-convnet2-30-4-epochs",
        "finetune-convnet2-0-4-epochs",
    ]
    other = Memory(study.out, Benchmark(**given | {"memory": MEMORY | {"rates": [1e-6]}}), [0])
    assert {job.what.lr for job in other.missing()} == {1e-6} and len(other.missing()) == 5


def test_a_number_of_epochs_may_have_a_rate_of_its_own(finished):
    study, _ = finished
    given = study.benchmark.model_dump(exclude_unset=True)
    own = Benchmark(**given | {"memory": MEMORY | {"rate_after": {3: 0.01}}})
    missing = Memory(study.out, own, [0]).missing()
    assert [(job.name, job.what.lr) for job in missing] == [
        ("replay-convnet2-30-3-epochs", 0.01),
        ("memo-convnet2-30-3-epochs", 0.01),
    ]


@pytest.fixture
def interrupted(benchmark, tmp_path, monkeypatch):
    """A study with a training that was interrupted in its last task, and its job."""
    monkeypatch.setattr(study, "SAVE_EVERY", 0)
    job = Job(0, "replay-convnet2-30-1-epochs", 1, Setting("replay", "convnet2", 30, 1, lr=0.05))
    small = Memory(tmp_path / "here", benchmark, [0])
    with pytest.raises(KeyboardInterrupt):
        small.do(job, _Stopped())
    assert small.checkpoint(job).exists()
    return small, job


def test_what_goes_on_elsewhere_names_both_machines(interrupted):
    small, job = interrupted
    here = small.do(job, _Quiet())["identity"]["made_on"]["device"]
    both = f"a card, then {here}"
    for before in ("a card", both):
        with pytest.raises(KeyboardInterrupt):
            small.do(job, _Stopped())
        state = torch.load(small.checkpoint(job), weights_only=True)
        torch.save(state | {"made_on": state["made_on"] | {"device": before}}, small.checkpoint(job))
        assert small.do(job, _Quiet())["identity"]["made_on"]["device"] == both


def test_what_was_interrupted_at_another_rate_begins_again(interrupted, benchmark, tmp_path):
    small, job = interrupted
    slow = job._replace(what=job.what._replace(lr=0.001))
    found, fresh = small.do(slow, _Quiet()), Memory(tmp_path / "there", benchmark, [0]).do(slow, _Quiet())
    assert found["stages"] == fresh["stages"] and found["images"] == fresh["images"]


def test_a_rate_that_diverges_is_a_trial_that_failed(benchmark, tmp_path):
    given = benchmark.model_dump(exclude_unset=True)
    wild = Benchmark(**given | {"memory": MEMORY | {"rates": [1e12]}})
    study = Memory(tmp_path, wild, [0])
    content = study.do(study.trials()[0], _Quiet())
    assert content["last"] == 0.0


def test_exemplars_that_only_the_development_split_lacks_are_refused_before_anything_is_trained(tmp_path):
    memory = {"methods": ["replay"], "points": [{"network": "convnet2", "exemplars": 1400, "anchor": "each"}]}
    many = Benchmark(name="many", data="digits", tasks=5, memory=MEMORY | memory | {"only": {}}, device="cpu")
    with pytest.raises(StudyError, match="1400 images.*development split, which has 1302"):
        Memory(tmp_path, many, [0]).run()


@pytest.mark.parametrize(
    "change, said",
    [
        ({"training": {"schedule": "paper"}}, "epochs go with the schedules cpu and budget"),
        ({"epochs": [3, 1]}, "the smallest first"),
        ({"epochs": [1, 1, 3]}, "name each number once"),
        ({"only": {7: ["replay"]}}, "only names 7 epochs"),
        ({"only": {1: ["finetune"], 3: ["finetune"]}}, "leaves no method with a budget"),
        ({"rate_after": {7: 0.1}}, "rate_after names 7 epochs"),
        ({"rate_after": {3: 0}}, "greater than 0"),
        ({"rates": [0]}, "greater than 0"),
        ({"rates": [0.1, 0.1]}, "name each once"),
        ({"rates": [0.1000001, 0.1000002]}, "name each once"),
    ],
)
def test_epochs_that_cannot_be_are_refused(benchmark, change, said):
    with pytest.raises(BenchmarkError, match=said):
        small_benchmark(data=benchmark.data, memory=MEMORY | change)


# What follows


def map_of(memo, replay, epochs=(5, 20, 60)):
    """A result with MEMO's and replay's last accuracies by epochs and seed."""
    runs, by_epochs = {}, {}
    for method, table in (("memo", memo), ("replay", replay)):
        for number, values in zip(epochs, table, strict=True):
            by_epochs.setdefault(str(number), {})[method] = f"{method}-{number}"
            runs[f"{method}-{number}"] = [{"last": v, "average": v, "images": 10**6 * number} for v in values]
    point = {"budget": 2**20, "by_epochs": by_epochs}
    return {"points": [point], "runs": runs}


@pytest.mark.parametrize(
    "memo, said",
    [
        ([[0.1], [0.2], [0.3]], "below after 5 epochs, and still after 60"),
        ([[0.3], [0.5], [0.7]], "above after 5 epochs, and still after 60"),
        ([[0.1], [0.2], [0.7]], "the order turns between 20 and 60 epochs"),
        ([[0.3], [0.2], [0.3]], "the order turns between 5 and 20 epochs"),
        ([[0.3], [0.2], [0.7]], "the order turns more than once"),
    ],
)
def test_where_the_order_turns_is_said(memo, said):
    (line,) = turns(map_of(memo, [[0.2], [0.4], [0.6]]))
    assert line.startswith("1.0 MiB: MEMO less replay by epochs a task: ") and line.endswith(said)


def test_what_was_never_trained_equally_long_is_not_compared(benchmark):
    result = map_of([[0.3]], [[0.2]], epochs=(5,))
    result["points"][0]["by_epochs"]["5"].pop("replay")
    assert list(turns(result)) == []
    grown = {"memo": [Grown(5, [0.3], [0.4], 0.3)], "replay": [Grown(20, [0.5], [0.6], 1.2)]}
    assert figures.over_epochs(grown).alt.startswith("No two methods with a budget were trained equally long")
    result |= {"benchmark": benchmark.model_dump(mode="json")}
    result["points"][0] |= {"runs": {"memo": "memo-5"}, "methods": {"memo": {"bytes": 2**20}}}
    assert [method for method, *_ in curves(result)] == ["memo"]


def test_published_likeness_is_of_the_seed_that_is_kept():
    run = {"last": 0.5}
    kept = run | {"cka": {"block1": [[1.0, 0.8], [0.8, 1.0]]}}
    point = {"runs": {"der": "der-5"}, "budget": None}
    (told, _) = likeness({"points": [point], "runs": {"der-5": [kept, run]}, "untrained": {"convnet2": {}}})
    assert told.endswith("block1 0.80")


def test_differences_are_paired_by_seed():
    (line,) = turns(map_of([[0.30, 0.50]], [[0.20, 0.40]], epochs=(5,)))
    assert "+10.0 +- 0.0 after 5" in line


def test_pictures_say_who_is_best_and_what_was_not_run():
    grown = {
        "finetune": [Grown(5, [0.1], [0.2], 0.1), Grown(20, [0.1], [0.2], 0.1)],
        "joint": [Grown(5, [0.9], [0.9], 2.5)],
        "replay": [Grown(5, [0.4, 0.42], [0.5, 0.5], 0.3), Grown(20, [0.5], [0.6], 1.2)],
        "memo": [Grown(5, [0.2, 0.3], [0.4, 0.4], 0.3), Grown(20, [0.6], [0.65], 1.2)],
    }
    alt = figures.over_epochs(grown).alt
    assert alt.startswith(
        "Best with the budget: replay 41.0 % after 5 epochs, MEMO 60.0 % after 20 epochs. Better without "
        "one: joint (keeps every image) 90.0 % after 5. MEMO against replay: the order turns between 5 and "
        "20 epochs. Missing: joint after 20. One line a method"
    )
    assert figures.over_passes(grown).alt.startswith(
        "The best of all that have the budget is MEMO, 60.0 %, after 1.2 million images. Better without one: "
        "joint (keeps every image) 90.0 % after 2.5. "
    )
    told = figures.winners([(2**20, grown), (2**21, {"replay": grown["replay"]})]).alt
    assert "1.0 MiB, 20 epochs: MEMO, of 2" in told and told.startswith(
        "Best of those with a budget after the last task, where all were trained: MEMO and replay."
    )
    assert "2.0 MiB" not in told  # one method alone is no winner
    three = {"replay": grown["replay"], "memo": grown["memo"], "der": [Grown(20, [0.7], [0.7], 1.2)]}
    told = figures.winners([(2**20, grown), (2**21, three)]).alt
    assert told.startswith("Best of those with a budget after the last task, where all were trained: DER.")


def test_who_was_trained_longest_alone_is_not_called_the_best():
    grown = {
        "replay": [Grown(5, [0.4], [0.5], 0.3), Grown(60, [0.5], [0.6], 3.0)],
        "der": [Grown(5, [0.1], [0.5], 0.3), Grown(60, [0.45], [0.6], 3.0)],
        "memo": [Grown(5, [0.45], [0.4], 0.3)],
    }
    assert figures.over_epochs(grown).alt.startswith(
        "Best with the budget: MEMO 45.0 % after 5 epochs. MEMO against replay: above after 5 epochs. "
        "Missing: MEMO after 60."
    )
    told = figures.winners([(2**20, grown)]).alt
    assert told.startswith("Best of those with a budget after the last task, where all were trained: MEMO.")
    assert "60 epochs: replay, of 2" in told
