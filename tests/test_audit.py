"""The audit: who is compared with whom, how test images are answered, and that an interrupted audit ends
as one that was not."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import separable, small_benchmark
from torch import nn

import focil
from focil.data.images import Augmentation
from focil.data.stream import class_order
from focil.engine.worker import Progress
from focil.evaluation import metrics
from focil.runs.sections import SHORTCUTS
from focil.studies.audit.answers import Answers
from focil.studies.audit.audit import Arm, Audit, arms, effects, idle, leading
from focil.studies.audit.method import Released
from focil.studies.audit.shortcuts import AT_TEST
from focil.studies.study import Job, StudyError
from focil.studies.tables import arm_lines

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "outputs" / "reference" / "audit-mnist" / "result.json"
RELEASE_ON_MNIST = (0.899, 0.875, 0.637, 0.730, 0.753)  # final averages of five runs of the released code
CODES = [
    "ours",
    "ours + R1",
    "ours + R3",
    "ours + R6",
    "release",
    "release - R1",
    "release - R3",
    "release - R6",
]


# Arms


def test_every_shortcut_is_switched_on_from_ours_and_off_from_the_release():
    assert [arm.name for arm in arms(["R1", "R3", "R6"])] == CODES
    assert Arm("ours", frozenset(("R12", "R2"))).name == "ours + R2 + R12"  # by number, not by letter
    assert Arm("release", frozenset(SHORTCUTS) - {"R12", "R2"}).name == "release - R2 - R12"


def test_arms_that_differ_at_test_time_only_share_a_training():
    trained = {}
    for arm in arms(SHORTCUTS):
        trained.setdefault(arm.training.name, set()).add(arm.name)
    shared = {name: names for name, names in trained.items() if len(names) > 1}
    assert shared == {
        "ours": {"ours", *(f"ours + {s}" for s in AT_TEST)},
        "release": {"release", *(f"release - {s}" for s in AT_TEST)},
    }
    assert len(trained) == 2 * (1 + len(SHORTCUTS) - len(AT_TEST))


@pytest.mark.parametrize(
    "settings, unable",
    [
        ({}, {"R8": "mlp has no BatchNorm", "R9": "no crop or flip in training"}),
        ({"crop": 1}, {"R8": "mlp has no BatchNorm"}),
        ({"flip": True}, {"R8": "mlp has no BatchNorm"}),
        ({"backbone": "resnet18"}, {"R9": "no crop or flip in training"}),
        ({"backbone": "resnet18", "crop": 4, "flip": True}, {}),
    ],
)
def test_a_shortcut_is_idle_where_it_has_nothing_to_act_on(settings, unable):
    assert idle(small_benchmark(audit={}, **settings)) == unable


# Effects


def reports(*finals):
    """One report a seed, from pairs (answered, oracle) of final averages."""
    return [
        {"answered": {"final_average": answered}, "oracle": {"final_average": oracle}}
        for answered, oracle in finals
    ]


def test_an_effect_is_a_paired_difference_of_what_is_with_and_what_is_without():
    found = {
        "ours": reports((0.5, 0.9), (0.2, 0.8)),
        "ours + R1": reports((0.6, 0.9), (0.5, 0.8)),  # + 0.1 and + 0.3
        "release": reports((0.7, 0.6), (0.9, 0.6)),
        "release - R1": reports((0.9, 0.6), (0.9, 0.5)),  # the release has R1: - 0.2 and 0
    }
    answered, released, *oracle = effects(found, ["R1"])
    assert [(e.shortcut, e.base, e.measure) for e in (answered, released, *oracle)] == [
        ("R1", base, measure) for measure in ("answered", "oracle") for base in ("ours", "release")
    ]
    # The t quantile of two seeds is 12.7062, and their standard error half of what separates their
    # differences.
    assert (answered.mean, answered.half) == (pytest.approx(0.2), pytest.approx(12.7062 * 0.1, rel=1e-5))
    assert (released.mean, released.half) == (pytest.approx(-0.1), pytest.approx(12.7062 * 0.1, rel=1e-5))
    assert (oracle[0].mean, oracle[0].half) == (0, 0)
    assert oracle[1].mean == pytest.approx(0.05)
    swapped = dict(found, **{"ours + R1": found["ours + R1"][::-1]})
    # Another seed's partner: the same mean, a wider interval.
    assert next(effects(swapped, ["R1"])).half > answered.half


def test_one_seed_has_effects_without_an_interval():
    found = {
        "ours": reports((0.5, 0.9)),
        "ours + R3": reports((0.3, 0.2)),
        "release": reports((0.7, 0.6)),
        "release - R3": reports((0.4, 0.9)),
    }
    told = [(round(effect.mean, 6), effect.half) for effect in effects(found, ["R3"])]
    assert told == [(-0.2, None), (0.3, None), (-0.7, None), (-0.3, None)]


def test_what_leads_is_what_is_large_in_both_codes_in_either_sign_as_they_answer():
    # R2: large, but in one of the two only.
    said = {"R1": (0.1, 0.2), "R2": (-0.9, 0.0), "R3": (-0.4, 0.3), "R4": (0.2, -0.25)}
    sides = [(s, base, said[s][index]) for s in said for index, base in enumerate(("ours", "release"))]
    rows = [{"shortcut": s, "base": base, "measure": "answered", "mean": mean} for s, base, mean in sides]
    not_asked = {"shortcut": "R1", "measure": "oracle", "mean": 0.9}
    rows += [not_asked | {"base": base} for base in ("ours", "release")]
    assert leading(rows) == ["R3", "R4", "R1"]
    assert leading(rows, 1) == ["R3"] and leading(rows, 9) == ["R3", "R4", "R1", "R2"]


# Answers

SIZE = 20  # test images of each task of the hand-made stream
RAW = focil.FocilOptions(calibrated=False)


def numbered():
    """A stream of three tasks of two classes with SIZE test images each.

    An image's first pixel is its number.
    """
    labels = np.repeat(np.arange(6), SIZE // 2)
    images = np.zeros((len(labels), 4, 4), dtype=np.uint8)
    images[:, 0, 0] = np.arange(len(labels))
    data = focil.Dataset.from_arrays(images, labels, images, labels, mean=[0.0], std=[1.0])
    return focil.Stream(data, class_order(data, 3, 0), 0)


class Fake(Released):
    """Experts whose logits are read off a table, (experts, images, classes), and that note how they were
    asked."""

    def __init__(self, logits, shortcuts=(), backbone=None, calibrations=None):
        self.table, self.shortcuts, self.classes = logits, frozenset(shortcuts), 2
        self.backbone = backbone or nn.Identity()
        self.calibrations = calibrations
        self.asked = []

    def logits(self, expert, images, groups=None):
        numbers = torch.round(images[:, 0, 0, 0] * 255).long()
        self.asked.append((numbers, groups))
        return torch.as_tensor(self.table[expert], dtype=torch.float32)[numbers]


def one_hot(right, sure, stream, classes=6):
    """Logits (experts, images, classes) that are right where `right` says so, and as sure as `sure` says.

    Both (experts, images).
    """
    true = stream.test_task() * 2 + stream.test_label() if classes == 6 else stream.test_label()
    answer = np.where(right, true, true ^ 1)
    return np.eye(classes)[answer] * np.asarray(sure, dtype=float)[..., None]


def answered(given, method, upto=3):
    for task in range(upto):
        given.after(method, task)
    return given.report()


def test_r1_takes_the_first_expert_that_is_best_on_ten_labelled_images():
    stream = numbered()
    given = Answers(stream, 0, frozenset(["R1"]), RAW)
    task = given.task
    probe = np.array([given.groups[i] == given.groups[task == task[i]].min() for i in range(len(task))])
    assert [probe[task == t].sum() for t in range(3)] == [10, 10, 10]
    missed = np.flatnonzero((task == 1) & probe)[0]
    right = np.zeros((3, 3 * SIZE), dtype=bool)
    # On task 1: nine of its ten labelled images, and nothing else.
    right[0, (task == 0) | ((task == 1) & probe)] = True
    right[1, task == 1] = True  # the same nine and all others, but the second
    right[:2, missed] = False
    right[2] = True  # better on the ten, but learned later: only its own task may ask it
    report = answered(given, Fake(one_hot(right, right + 1.0, stream), ["R7"]))
    assert report["protocol"] == "probe-labelled"
    assert report["answered"]["matrix"] == [[1, None, None], [1, 0.45, None], [1, 0.45, 1]]
    assert report["oracle"]["matrix"] == [[1, None, None], [1, 0.95, None], [1, 0.95, 1]]
    assert report["answered"]["final_average"] == pytest.approx(2.45 / 3)


def test_r1_does_not_look_at_other_images_than_the_ten():
    stream = numbered()
    given = Answers(stream, 0, frozenset(["R1"]), RAW)
    rest = given.groups != given.groups[given.task == 1].min()
    right = np.ones((3, 3 * SIZE), dtype=bool)
    right[0, (given.task == 1) & rest] = False
    right[1, np.flatnonzero((given.task == 1) & ~rest)[0]] = False  # the only mistake, among the ten
    report = answered(given, Fake(one_hot(right, right + 1.0, stream), ["R7"]))
    assert report["answered"]["matrix"][1] == [1, 0.5, None]
    assert report["oracle"]["matrix"][1] == [1, 0.95, None]


def test_without_r1_the_surest_expert_answers_each_image():
    stream = numbered()
    given = Answers(stream, 0, frozenset(), RAW)
    right, sure = np.ones((3, 3 * SIZE), dtype=bool), np.ones((3, 3 * SIZE))
    sure[0, given.task == 0] = 2
    sure[1, given.task == 1] = 2
    sure[2, given.task < 2] = 1.5
    # Five images of task 0 are taken over by expert 2 when it is learned.
    sure[2, np.flatnonzero(given.task == 0)[:5]] = 3
    sure[0, np.flatnonzero(given.task == 1)[:2]] = 3  # two images of task 1 never reach their own
    sure[2, given.task == 2] = 2
    method = Fake(one_hot(right, sure, stream, classes=2))
    report = answered(given, method)
    assert report["protocol"] == "sample-experts"
    assert report["answered"]["matrix"] == [[1, None, None], [1, 0.9, None], [0.75, 0.9, 1]]
    assert report["oracle"]["matrix"][-1] == [1, 1, 1] and report["oracle"]["backward_transfer"] == 0
    first, both = list(range(SIZE)), list(range(2 * SIZE))  # no image before its task
    assert [numbers.tolist() for numbers, _ in method.asked[:3]] == [first, both, both]


def test_sureness_is_calibrated_where_the_options_say_so():
    stream = numbered()
    logits = one_hot(np.ones((2, 3 * SIZE), dtype=bool), np.full((2, 3 * SIZE), 3), stream, classes=2)
    logits[1] *= 1.5  # expert 1 is loud by nature
    loud = torch.tensor([[0.0, 1], [0, 1], [100, 1]], dtype=torch.float64)
    quiet = torch.tensor([[0.0, 1], [0, 1], [0, 1]], dtype=torch.float64)
    for calibrated, row in ((False, [0, 1, None]), (True, [1, 0, None])):
        options = focil.FocilOptions(rule="energy", calibrated=calibrated)
        method = Fake(logits, calibrations=[{False: quiet}, {False: loud}])
        report = answered(Answers(stream, 0, frozenset(), options), method, upto=2)
        assert report["answered"]["matrix"][1][:2] == row[:2]


def test_with_r7_an_answer_for_any_class_counts_and_without_it_only_the_expert_s_own():
    stream = numbered()
    right, sure = np.ones((3, 3 * SIZE), dtype=bool), np.ones((3, 3 * SIZE))
    sure[2] = 2  # expert 2 answers for everything
    for shortcuts, classes, last in ((["R7"], 6, [1, 1, 1]), ([], 2, [0, 0, 1])):
        method = Fake(one_hot(right, sure, stream, classes), shortcuts)
        report = answered(Answers(stream, 0, frozenset(), RAW), method)
        assert report["answered"]["matrix"][-1] == last
    lost = one_hot(right, sure, stream)
    lost[2, :, 5] += 3  # a logit that nobody trained wins
    report = answered(Answers(stream, 0, frozenset(), RAW), Fake(lost, ["R7"]))
    assert report["oracle"]["matrix"][-1] == [1, 1, 0.5]


def test_r8_normalises_batches_of_ten_images_of_one_task_where_there_is_something_to_normalise():
    stream = numbered()
    logits = one_hot(np.ones((2, 3 * SIZE), dtype=bool), np.ones((2, 3 * SIZE)), stream, classes=2)
    ways = [{False: torch.tensor([[0.0, 1]] * 3), True: torch.tensor([[0.0, 1]] * 3)}] * 2
    method = Fake(logits, backbone=nn.BatchNorm2d(1), calibrations=ways)
    given = Answers(stream, 0, frozenset(["R8"]), focil.FocilOptions())
    answered(given, method, upto=2)
    numbers, groups = method.asked[-1]
    assert torch.cat(groups).sort().values.tolist() == list(range(2 * SIZE))
    assert [len(group) for group in groups] == [10] * 4
    assert all(len(set(given.task[numbers[group]])) == 1 for group in groups)
    plain = Fake(logits, calibrations=ways)
    answered(Answers(stream, 0, frozenset(["R8"]), focil.FocilOptions()), plain, upto=1)
    assert plain.asked[0][1] is None


def test_r9_augments_the_test_images_once_and_nothing_else_does():
    data = separable()
    stream = focil.Stream(data, class_order(data, 3, 0), 0, augmentation=Augmentation(crop=1, flip=True))
    assert torch.equal(Answers(stream, 0, frozenset(["R1"]), RAW).images, stream.prepare(stream.test))
    augmented, again, other = (Answers(stream, seed, frozenset(["R9"]), RAW).images for seed in (0, 0, 1))
    assert augmented.shape == again.shape and torch.equal(augmented, again)
    assert not torch.equal(augmented, stream.prepare(stream.test)) and not torch.equal(augmented, other)


# From the first training to result.json


def write_npz(path, seed=0):
    """Classes that are not quite so easy to tell apart, so that every image that is learned shows in the
    accuracies."""
    data, noise = separable(per_class=60, seed=seed), np.random.default_rng(seed)
    train, test = (
        np.clip(images + noise.normal(0, 80, images.shape), 0, 255).astype(np.uint8)
        for images in (data.x_train, data.x_test)
    )
    np.savez(path, x_train=train, y_train=data.y_train, x_test=test, y_test=data.y_test)
    return str(path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """An audit of three shortcuts over two seeds: folder, benchmark, and what finish() returned."""
    folder = tmp_path_factory.mktemp("audit")
    options = {"sparsities": [0.5, 0.8], "learning_rates": [0.02, 0.1], "first_rung": 2, "router": "none"}
    benchmark = small_benchmark(
        data=write_npz(folder / "separable.npz"), focil=options, audit={"shortcuts": ["R6", "R1", "R3"]}
    )
    study = Audit(folder / "out", benchmark, [0, 1])
    assert len(study.missing()) == 12  # of sixteen: R1 is trained for nowhere
    study.run()
    assert study.missing() == []
    study.run()  # nothing to do, and no process is started
    return folder / "out", benchmark, study.finish()


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of the finished audit that a test may damage."""
    out, benchmark, _ = finished
    return Path(shutil.copytree(out, tmp_path / "out")), benchmark


def numbers(result):
    """The part of a result that must be the same whenever it is run."""
    timeless = {
        name: [{k: v for k, v in report.items() if k != "seconds"} for report in reports]
        for name, reports in result["arms"].items()
    }
    return {key: result[key] for key in ("effects", "leading", "idle", "seeds")} | {"arms": timeless}


def test_the_result_has_every_arm_and_every_effect(finished):
    out, benchmark, result = finished
    assert json.loads((out / "result.json").read_text()) == result
    assert list(result["arms"]) == CODES and result["seeds"] == [0, 1] and set(result["idle"]) == {"R8", "R9"}
    assert [len(found) for found in result["arms"].values()] == [2] * 8
    told = {(e["shortcut"], e["base"], e["measure"]) for e in result["effects"]}
    assert len(told) == len(result["effects"]) == 3 * 2 * 2
    assert sorted(result["leading"]) == ["R1", "R3", "R6"]
    assert result["benchmark"] == benchmark.model_dump(mode="json")
    assert result["provenance"]["data"]["name"] == "separable"
    for found in result["arms"].values():
        for report in found:
            for measure in ("answered", "oracle"):
                filled = [sum(value is not None for value in row) for row in report[measure]["matrix"]]
                assert filled == [1, 2, 3]
            assert len(report["chosen"]) == len(report["trainable_share"]) == 3 and report["seconds"] > 0
    assert result["arms"]["ours"][0]["passes"] == 1 < result["arms"]["release"][0]["passes"]


def test_an_effect_of_the_result_is_that_of_its_arms(finished):
    arms_of = finished[2]["arms"]
    found = {(e["shortcut"], e["base"], e["measure"]): e for e in finished[2]["effects"]}
    for measure in ("answered", "oracle"):
        final = {
            name: [report[measure]["final_average"] for report in given] for name, given in arms_of.items()
        }
        on = [a - b for a, b in zip(final["ours + R3"], final["ours"], strict=True)]
        off = [a - b for a, b in zip(final["release"], final["release - R3"], strict=True)]
        for base, differences in (("ours", on), ("release", off)):
            assert found["R3", base, measure]["mean"] == pytest.approx(sum(differences) / 2)
            assert found["R3", base, measure]["half"] == pytest.approx(metrics.mean_interval(differences)[1])


def test_labels_choose_the_expert_without_a_training_of_their_own(finished):
    arms_of = finished[2]["arms"]
    for with_labels, without in (("ours + R1", "ours"), ("release", "release - R1")):
        assert {report["protocol"] for report in arms_of[with_labels]} == {"probe-labelled"}
        assert {report["protocol"] for report in arms_of[without]} == {"sample-experts"}
        for one, other in zip(arms_of[with_labels], arms_of[without], strict=True):
            assert one["oracle"] == other["oracle"] and one["chosen"] == other["chosen"]
            assert one["answered"] != other["answered"]


def test_ours_is_what_a_benchmark_runs(finished, tmp_path):
    _, benchmark, result = finished
    for seed in (0, 1):
        one = benchmark.model_copy(update={"audit": None})
        accuracy = focil.run(one, seed=seed, out=tmp_path / str(seed))["accuracy"]
        assert result["arms"]["ours"][seed]["answered"] == accuracy["sample-experts"]
        assert result["arms"]["ours"][seed]["oracle"] == accuracy["oracle-experts"]


def test_our_experts_forget_nothing(finished):
    for name in ("ours", "ours + R1", "ours + R3"):
        lost = [report["oracle"]["backward_transfer"] for report in finished[2]["arms"][name]]
        assert lost == [0, 0]  # exactly


def test_an_interrupted_audit_goes_on_with_what_is_missing(finished, copied):
    out, benchmark = copied
    before = {path.relative_to(out): os.stat(path) for path in out.glob("seed-*/*.json")}
    missing = Path("seed-1") / "ours+R3.json"
    (out / missing).unlink()
    study = Audit(out, benchmark, [0, 1])
    assert [(job.seed, job.name) for job in study.missing()] == [(1, "ours+R3")]
    study.run()
    after = {path.relative_to(out): os.stat(path) for path in out.glob("seed-*/*.json")}
    changed = [
        path
        for path in after
        if (after[path].st_ino, after[path].st_mtime_ns) != (before[path].st_ino, before[path].st_mtime_ns)
    ]
    assert set(after) == set(before) and changed == [missing]
    assert numbers(study.finish()) == numbers(finished[2])


def test_fewer_or_other_seeds_take_what_is_there(finished, copied):
    out, benchmark = copied
    result = Audit(out, benchmark, [1]).finish()
    second = [both[1] for both in finished[2]["arms"].values()]
    assert [report for (report,) in result["arms"].values()] == second
    assert {effect["half"] for effect in result["effects"]} == {None}
    assert {job.seed for job in Audit(out, benchmark, [1, 2]).missing()} == {2}


def test_a_seed_that_is_named_twice_counts_once(copied):
    out, benchmark = copied
    result = Audit(out, benchmark, [1, 1]).finish()
    assert result["seeds"] == [1] and {effect["half"] for effect in result["effects"]} == {None}


def test_a_missing_training_is_not_passed_over(copied):
    out, benchmark = copied
    (out / "seed-0" / "release.json").unlink()
    (out / "result.json").unlink()
    with pytest.raises(StudyError, match=r"1 trainings are missing"):
        Audit(out, benchmark, [0, 1]).finish()
    assert not (out / "result.json").exists()
    with pytest.raises(StudyError, match=r"6 trainings are missing.*run\(\)"):
        Audit(out.parent / "empty", benchmark, [0]).finish()


@pytest.mark.parametrize(
    "change",
    [
        {"batch_size": 5},
        {"focil": {"momentum": 0.5}},
        {"audit": {"shortcuts": ["R1", "R3", "R6"], "first_tasks": 2}},
    ],
)
def test_trainings_with_other_settings_are_refused(copied, change):
    out, benchmark = copied
    other = focil.Benchmark(**benchmark.model_dump(mode="json") | change)
    for action in (Audit(out, other, [0]).missing, Audit(out, other, [0]).run, Audit(out, other, [0]).finish):
        with pytest.raises(StudyError, match=r"seed-0.*another study.*--fresh"):
            action()


def test_another_number_of_threads_goes_on(copied):
    out, benchmark = copied
    assert Audit(out, benchmark.model_copy(update={"threads": 7}), [0, 1]).missing() == []


def test_data_that_changed_under_the_same_name_is_noticed(finished, tmp_path):
    benchmark = finished[1].model_copy(update={"data": write_npz(tmp_path / "separable.npz")})
    study, ours = Audit(tmp_path / "out", benchmark, [0]), Arm("ours", frozenset())
    path = tmp_path / "out" / "seed-0" / "ours.json"
    path.parent.mkdir(parents=True)
    found = study.train(Job(0, "ours", 1, (ours, [ours])), Progress())
    path.write_text(json.dumps({"identity": study.identity} | found))
    assert len(study.missing()) == 5
    write_npz(tmp_path / "separable.npz", seed=9)
    with pytest.raises(StudyError, match=r"ours\.json belongs to another study.*other data.*--fresh"):
        Audit(tmp_path / "out", benchmark, [0]).missing()


@pytest.mark.parametrize("content", [b"", b'{"identity": {', b"[]", b"null", b"{}", b"\xff\xfe"])
def test_a_damaged_training_is_refused(copied, content):
    out, benchmark = copied
    (out / "seed-1" / "release-R6.json").write_bytes(content)
    with pytest.raises(StudyError, match=r"release-R6\.json cannot be read.*--fresh"):
        Audit(out, benchmark, [0, 1]).missing()


def test_the_first_tasks_alone_are_the_same_first_tasks(finished, tmp_path):
    _, benchmark, result = finished
    first = benchmark.model_copy(update={"audit": benchmark.audit.model_copy(update={"first_tasks": 2})})
    ours = Arm("ours", frozenset())
    job = Job(0, "ours", 1, (ours, [ours, Arm("ours", frozenset(["R1"]))]))
    found = Audit(tmp_path / "out", first, [0]).train(job, Progress())["arms"]
    for name in ("ours", "ours + R1"):
        for measure in ("answered", "oracle"):
            all_tasks = result["arms"][name][0][measure]["matrix"]
            assert found[name][measure]["matrix"] == [row[:2] for row in all_tasks[:2]]
        assert len(found[name]["chosen"]) == len(found[name]["trainable_share"]) == 2


def test_tasks_that_do_not_divide_the_classes_are_refused_before_anything_starts(tmp_path):
    benchmark = small_benchmark(data=write_npz(tmp_path / "separable.npz"), tasks=4, audit={})
    with pytest.raises(focil.StreamError, match="4 tasks"):
        Audit(tmp_path / "out", benchmark, [0])
    assert not (tmp_path / "out").exists()


def test_what_cannot_act_has_no_arm(tmp_path):
    data = write_npz(tmp_path / "separable.npz")
    for flip, left_out in ((False, ("R8", "R9")), (True, ("R8",))):
        study = Audit(tmp_path / "out", small_benchmark(data=data, audit={}, flip=flip), [0])
        assert study.shortcuts == [s for s in SHORTCUTS if s not in left_out]
        assert len(study.arms) == 2 + 2 * len(study.shortcuts)


def test_the_table_says_who_knew_what(finished):
    lines = arm_lines(finished[2])
    assert [line.split("  ")[1].strip() for line in lines] == CODES
    final = [report["answered"]["final_average"] for report in finished[2]["arms"]["ours + R1"]]
    assert f"{50 * sum(final):5.1f} +- " in lines[1] and lines[1].endswith("n = 2")
    assert "% (probe-labelled), oracle " in lines[1]
    assert "% (sample-experts), oracle " in lines[0]
    single = {name: found[:1] for name, found in finished[2]["arms"].items()}
    assert not any("+-" in line for line in arm_lines({"arms": single}))


# The released code's own runs


def test_the_preset_is_the_release():
    result = json.loads(REFERENCE.read_text(encoding="utf-8"))
    finals = [report["answered"]["final_average"] for report in result["arms"]["release"]]
    assert len(finals) == len(result["seeds"]) >= 5
    mean, half = metrics.mean_interval(RELEASE_ON_MNIST)
    assert (round(100 * mean, 1), round(100 * half, 1)) == (77.9, 13.4)
    assert abs(np.mean(finals) - mean) < half
    # Of one run beside those five, instead of their mean.
    one_more = half * np.sqrt(len(RELEASE_ON_MNIST) + 1)
    assert all(abs(final - mean) < one_more for final in finals)
    assert {report["protocol"] for report in result["arms"]["release"]} == {"probe-labelled"}


def test_the_release_on_mnist_can_be_trained_again(tmp_path):
    if not os.environ.get("FOCIL_DATA") or not Path(os.environ["FOCIL_DATA"], "mnist.npz").exists():
        pytest.skip("FOCIL_DATA names no folder with mnist.npz")
    result = json.loads(REFERENCE.read_text(encoding="utf-8"))
    finals = [report["answered"]["matrix"][-1] for report in result["arms"]["release"]]
    tasks = np.array(finals).T  # (tasks, seeds)
    benchmark = focil.read_params(ROOT / "params" / "audit-mnist.yaml", device="cpu", threads=1)
    release = Arm("release", frozenset(SHORTCUTS))
    job = Job(0, "release", 1, (release.training, [release]))
    found = Audit(tmp_path / "out", benchmark, [0]).train(job, Progress())["arms"]
    last = found["release"]["answered"]["matrix"][-1]
    assert len(last) == len(tasks) == 5
    for accuracy, seeds in zip(last, tasks, strict=True):
        mean, half = metrics.mean_interval(seeds)
        # Another processor rounds, and then chooses, differently.
        assert abs(accuracy - mean) < half * np.sqrt(len(seeds) + 1) + 0.02
