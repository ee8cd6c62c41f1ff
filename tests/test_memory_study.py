"""The study of equal memory: who has what at each budget, and what its result holds."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import separable, small_benchmark, train_alone, write_npz

from focil import FocilError
from focil.memo.account import MIB, AccountError
from focil.memo.exemplars import ExemplarError
from focil.memo.method import Offline
from focil.memo.table import has_budget
from focil.runs.results import shortened
from focil.studies.memory import Memory
from focil.studies.study import Job, StudyError
from focil.studies.training import Setting
from focil.studies.verdict import likeness

TRAINING = {"epochs": 3, "batch_size": 20, "lr": 0.05, "aligning": "shrink"}
ONLINE = {"sparsities": [0.5, 0.8], "learning_rates": [0.02, 0.1], "first_rung": 2, "router": "none"}
EACH = {"network": "convnet2", "exemplars": 30, "anchor": "each"}
FOUR = ["finetune", "replay", "memo", "focil"]
SHARED, DEEP = (
    64 * 9 + 64 + 128,
    37_056,
)  # parameters of convnet2 for grey images, generalized and specialised


@pytest.fixture(scope="module")
def separated(tmp_path_factory):
    """Path of the small separable images, 6 x 6."""
    return write_npz(tmp_path_factory.mktemp("data") / "separable.npz")


@pytest.fixture(scope="module")
def cifar(tmp_path_factory):
    """Path of ten classes of a few images of CIFAR's size.

    For the account only, nothing is trained on them.
    """
    return write_npz(
        tmp_path_factory.mktemp("data") / "cifar.npz", separable(classes=10, per_class=2, size=32, channels=3)
    )


def benchmark_of(path, memo=(), **changes):
    """Three tasks of two classes, a study of four methods with 30 exemplars each, unless changed."""
    given = {"methods": FOUR, "network": "convnet2", "points": [EACH], "training": TRAINING} | dict(memo)
    return small_benchmark(**{"data": path, "focil": ONLINE} | changes, memory=given)


def job_of(method, exemplars=30, size=1000):
    network = "mlp" if method == "focil" else "convnet2"
    return Job(0, f"{method}-job", size, Setting(method, network, exemplars if has_budget(method) else 0))


def train(benchmark, job, path, progress=None):
    """One training of the study, in this process."""
    return train_alone(Memory(path.parent, benchmark, [job.seed]), job, path, progress)


def numbers(report):
    """What must be the same however often a training was interrupted."""
    return {key: value for key, value in report.items() if key not in ("seconds", "identity", "made_on")}


# Who has what


@pytest.fixture
def published(cifar, tmp_path):
    """Studies of ten tasks of CIFAR's images, as MEMO's B0Inc10, with given budgets."""

    def of(points, methods=("replay", "icarl", "wa", "der", "memo")):
        return Memory(
            tmp_path / "out",
            benchmark_of(cifar, {"network": "resnet32", "methods": methods, "points": points}, tasks=10),
            [0],
        )

    return of


def exemplars(study, number=0):
    return {method: setting.exemplars for (method, n, _), setting in study.settings.items() if n == number}


def test_der_s_networks_and_exemplars_set_the_budget_of_all(published):
    study = published([{"network": "resnet32", "exemplars": 2000}])
    assert exemplars(study) == {"replay": 7431, "icarl": 7431, "wa": 7431, "der": 2000, "memo": 3312}
    (point,) = study.budgets()
    assert point["budget"] == 10 * 463_504 * 4 + 2000 * 3072
    for method, has in point["methods"].items():
        assert 0 <= point["budget"] - has["bytes"] < 3072 and has["exemplars"] == exemplars(study)[method]


def test_smaller_networks_of_those_that_grow_give_the_curve(published):
    smaller = [{"network": network, "exemplars": 2000} for network in ("resnet14", "resnet20", "resnet26")]
    study = published([{"network": "convnet2", "exemplars": 2000, "anchor": "single"}, *smaller])
    found = [exemplars(study, n) for n in range(4)]
    assert [(has["memo"], has["der"], has["wa"]) for has in found] == [
        (2118, 2096, 2000),
        (2495, 2000, 3634),
        (2768, 2000, 4900),
        (3040, 2000, 6165),
    ]
    networks = {(method, n): setting.network for (method, n, _), setting in study.settings.items()}
    assert (
        networks["memo", 0] == networks["der", 0] == "convnet2"
        and networks["wa", 0] == networks["wa", 1] == "resnet32"
    )
    mib = [point["budget"] / MIB for point in study.budgets()]
    assert [abs(found - read) < 0.2 for found, read in zip(mib, (7.6, 12.4, 16.0, 19.8), strict=True)] == [
        True
    ] * 4


def test_where_each_has_as_many_there_is_no_budget(published):
    study = published([{"network": "convnet2", "exemplars": 15, "anchor": "each"}])
    assert set(exemplars(study).values()) == {15} and study.settings["der", 0, None].network == "convnet2"
    (point,) = study.budgets()
    assert point["budget"] is None and point["methods"]["der"]["bytes"] == 10 * 38_976 * 4 + 15 * 3072
    assert point["methods"]["memo"]["bytes"] == (1_920 + 10 * 37_056) * 4 + 15 * 3072


def test_bounds_are_trained_once_for_all_budgets_and_a_budget_may_name_its_methods(published):
    points = [
        {"network": "resnet14", "exemplars": 2000},
        {"network": "resnet20", "exemplars": 2000, "methods": ["memo", "finetune", "joint"]},
    ]
    study = published(points, ("finetune", "replay", "memo", "joint", "focil"))
    assert [job.name for job in study.jobs()] == [
        "finetune-resnet32-0",
        "replay-resnet32-3634",
        "memo-resnet14-2495",
        "joint-resnet32-0",
        "focil-mlp-0",
        "memo-resnet20-2768",
    ]
    assert {method for method, n, _ in study.settings if n == 1} == {"finetune", "memo", "joint"}
    study.seeds = [0, 3]
    assert [(job.seed, job.name) for job in study.jobs()][:3] == [
        (0, "finetune-resnet32-0"),
        (3, "finetune-resnet32-0"),
        (0, "replay-resnet32-3634"),
    ]


def test_budgets_that_come_to_the_same_are_one_training(published):
    same = {"network": "resnet14", "exemplars": 2000}
    study = published([same, same | {"anchor": "each"}], ("der", "memo", "replay"))
    first = ["der-resnet14-2000", "memo-resnet14-2495", "replay-resnet32-3634"]
    assert [job.name for job in study.jobs()] == [
        *first,
        "memo-resnet14-2000",
        "replay-resnet32-2000",
    ]  # DER has 2000 at both


def test_networks_beyond_the_budget_are_refused_before_anything_starts(published, tmp_path):
    with pytest.raises(
        AccountError, match=r"networks of 'memo' take .* bytes after 10 tasks, more than the budget of"
    ):
        published([{"network": "resnet32", "exemplars": 10, "anchor": "single"}], ("replay", "memo"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "exemplars, said",
    [(5, "5 exemplars are fewer than one for each of 6 classes"), (241, "more than the 240 training images")],
)
def test_exemplars_that_cannot_be_kept_are_refused_before_anything_is_trained(
    separated, tmp_path, monkeypatch, exemplars, said
):
    monkeypatch.setattr(Offline, "learn", lambda *_: pytest.fail("a task was learned"))
    memo = {"points": [EACH | {"exemplars": exemplars}], "methods": ["finetune", "replay"]}
    with pytest.raises(ExemplarError, match=said) as caught:
        study = Memory(tmp_path / "out", benchmark_of(separated, memo), [0])
        for job in study.jobs()[::-1]:
            train(study.benchmark, job, tmp_path / f"{job.name}.json")
    assert isinstance(caught.value, FocilError) and list(tmp_path.rglob("*.pt")) == []


def test_the_account_of_a_larger_first_task_has_its_number_of_tasks(cifar, tmp_path):
    memo = {
        "network": "resnet32",
        "methods": ["wa", "memo", "der"],
        "points": [{"network": "resnet32", "exemplars": 2000}],
        "first_classes": 5,
    }
    study = Memory(tmp_path, benchmark_of(cifar, memo, tasks=6), [0])
    assert study.sizes == [5, 1, 1, 1, 1, 1] and exemplars(study) == {
        "wa": 5017,
        "memo": 2729,
        "der": 2000,
    }  # B50Inc10 has six tasks too


def test_focil_needs_tasks_of_one_size(separated, tmp_path):
    memory = {"first_classes": 4, "methods": ["focil", "memo"]}
    with pytest.raises(FocilError, match="focil"):
        study = Memory(tmp_path, benchmark_of(separated, memory, tasks=2), [0])
        train(study.benchmark, study.jobs()[0], tmp_path / "job.json")


# From the first training to result.json


@pytest.fixture(scope="module")
def finished(separated, tmp_path_factory):
    """A study of four methods over two seeds: folder, benchmark, and what finish() returned."""
    folder = tmp_path_factory.mktemp("equal")
    benchmark = benchmark_of(separated)
    study = Memory(folder, benchmark, [0, 1])
    assert len(study.missing()) == 8
    with pytest.raises(StudyError, match=r"8 trainings are missing"):
        study.finish()
    study.run()
    assert study.missing() == [] and list(folder.rglob("*.pt")) == []
    study.run()  # nothing to do, and no process is started
    return folder, benchmark, study.finish()


NAMES = {
    "finetune": "finetune-convnet2-0",
    "replay": "replay-convnet2-30",
    "memo": "memo-convnet2-30",
    "focil": "focil-mlp-0",
}


def test_the_result_holds_every_method_and_seed(finished):
    out, benchmark, result = finished
    assert json.loads((out / "result.json").read_text()) == result
    assert (
        result["seeds"] == [0, 1]
        and result["sizes"] == [2, 2, 2]
        and result["benchmark"] == benchmark.model_dump(mode="json")
    )
    assert result["points"][0]["runs"] == NAMES and list(result["runs"]) == list(NAMES.values())
    assert [len(reports) for reports in result["runs"].values()] == [2] * 4
    assert len(set(result["classes"])) == 6
    assert (result["image_bytes"], result["exemplars_of_a_network"]) == (36, 4 * (SHARED + DEEP) / 36)


def test_accuracies_are_those_of_their_confusions_and_matrices(finished):
    test_images = len(separable().x_test)
    for reports in finished[2]["runs"].values():
        for report in reports:
            confusion = np.array(report["confusion"])
            assert confusion.shape == (6, 6) and (confusion.sum(1) == test_images // 6).all()
            assert report["last"] == report["stages"][-1] == pytest.approx(np.trace(confusion) / test_images)
            assert len(report["stages"]) == 3 and report["average"] == pytest.approx(
                np.mean(report["stages"])
            )
            # Tasks have the same number of test images here, so a mean over tasks is a mean over images.
            assert report["sample"]["final_average"] == pytest.approx(report["last"])
            assert report["average"] == pytest.approx(report["sample"]["average_incremental"])
            sample, oracle = (np.array(report[which]["matrix"][-1]) for which in ("sample", "oracle"))
            assert (oracle >= sample).all() and report[
                "new"
            ] == 2  # what is right among all classes is right among the task's


def test_what_keeps_exemplars_remembers_and_what_keeps_none_does_not(finished):
    runs = finished[2]["runs"]
    last = {method: [report["last"] for report in runs[name]] for method, name in NAMES.items()}
    assert max(last["finetune"]) <= 0.5 < min(last["replay"] + last["memo"] + last["focil"])
    assert [report["oracle"]["forgetting"] for report in runs[NAMES["focil"]]] == [0, 0]
    assert [report["stored"] for report in runs[NAMES["replay"]]] == [30, 30] and runs[NAMES["finetune"]][0][
        "stored"
    ] == 0


def test_memory_is_told_after_every_task_by_both_accounts(finished):
    runs = {method: finished[2]["runs"][name] for method, name in NAMES.items()}
    networks = {
        method: [stage["published"]["networks"] // 4 for stage in reports[0]["memory"]]
        for method, reports in runs.items()
    }
    assert (
        networks["memo"] == [SHARED + tasks * DEEP for tasks in (1, 2, 3)]
        and networks["replay"] == networks["finetune"] == [SHARED + DEEP] * 3
    )
    for reports in runs.values():
        for stage in reports[0]["memory"]:
            assert sum(stage["counted"].values()) > sum(stage["published"].values())
    used = finished[2]["points"][0]["methods"]
    for method in ("replay", "memo"):
        assert used[method]["bytes"] == sum(runs[method][0]["memory"][-1]["published"].values())


def test_blocks_and_their_likeness_are_noted(finished):
    for method in ("finetune", "replay", "memo"):
        report = finished[2]["runs"][NAMES[method]][0]
        assert [list(task) for task in report["layers"]] == [["block1", "block2"]] * 3
        for matrix in report["cka"].values():
            assert (
                np.array(matrix).shape == (3, 3)
                and np.allclose(np.diag(matrix), 1)
                and (np.array(matrix) <= 1 + 1e-6).all()
            )
    assert finished[2]["runs"][NAMES["focil"]][0]["layers"] == []


def test_networks_that_learned_nothing_stand_beside_as_a_control(finished):
    result = finished[2]
    untrained = result["untrained"]["convnet2"]
    assert list(untrained) == ["block1", "block2", "pool"] and all(0 < v < 1 for v in untrained.values())
    lines = list(likeness(result))
    matrices = np.array([report["cka"]["block2"] for report in result["runs"][NAMES["memo"]]])
    between = matrices[:, ~np.eye(3, dtype=bool)].mean()
    assert lines[0].startswith("memo-convnet2-30: block1 ") and f"block2 {between:.2f}" in lines[0]
    assert lines[1].startswith("convnet2, untrained, other seeds: block1 ") and len(lines) == 2


def test_a_training_is_the_same_in_a_process_of_its_own(finished, tmp_path):
    for method in ("memo", "focil"):
        found = train(finished[1], job_of(method), tmp_path / "job.json")
        assert json.loads(json.dumps(shortened(numbers(found)))) == numbers(
            finished[2]["runs"][NAMES[method]][0]
        )


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of the finished study that a test may change."""
    return Path(shutil.copytree(finished[0], tmp_path / "out")), finished[1]


def test_a_study_goes_on_with_what_is_missing(finished, copied):
    out, benchmark = copied
    path = out / "seed-1" / "memo-convnet2-30.json"
    path.unlink()
    study = Memory(out, benchmark, [0, 1])
    (job,) = study.missing()
    path.write_text(json.dumps({"identity": study.identity} | train(benchmark, job, path)))
    assert [numbers(report) for report in study.finish()["runs"][job.name]] == [
        numbers(report) for report in finished[2]["runs"][job.name]
    ]


def test_another_choice_of_methods_and_budgets_takes_what_is_there(finished, copied):
    out, benchmark = copied
    before = {path: os.stat(path).st_mtime_ns for path in out.glob("seed-*/*.json")}
    points = [EACH, EACH | {"exemplars": 42}]
    other = Memory(
        out, benchmark_of(benchmark.data, {"points": points, "methods": ["memo", "replay", "wa"]}), [0]
    )
    assert [job.name for job in other.missing()] == [
        "wa-convnet2-30",
        "memo-convnet2-42",
        "replay-convnet2-42",
        "wa-convnet2-42",
    ]
    fewer = Memory(out, benchmark_of(benchmark.data, {"methods": ["memo", "replay"]}), [1, 0]).finish()
    assert fewer["runs"] == {
        name: finished[2]["runs"][name][::-1] for name in ("memo-convnet2-30", "replay-convnet2-30")
    }
    assert {path: os.stat(path).st_mtime_ns for path in out.glob("seed-*/*.json")} == before


@pytest.mark.parametrize(
    "memo, changes",
    [
        ({"training": TRAINING | {"lr": 0.01}}, {}),
        ({"brightness": 0.1}, {}),
        ({"last_shared": ""}, {}),
        ({}, {"crop": 1}),
        ({}, {"flip": True}),
    ],
)
def test_trainings_with_other_settings_are_refused(copied, memo, changes):
    out, benchmark = copied
    with pytest.raises(StudyError, match=r"seed-0.*another study.*--fresh"):
        Memory(out, benchmark_of(benchmark.data, memo, **changes), [0]).missing()
