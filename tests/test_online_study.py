"""Other methods through the runner, and the study that compares them with ours."""

import json
import re

import numpy as np
import pytest
import torch
from conftest import separable, small_benchmark, train_alone, write_npz
from matplotlib.figure import Figure

import focil
from focil.evaluation.evaluation import ForgettingError
from focil.figures import online as figures
from focil.figures import style
from focil.online.buffer import BufferError
from focil.online.method import TRIALS
from focil.online.table import ONLINE
from focil.reports.export import compare
from focil.runs import online as read
from focil.runs.checkpoint import CHECKPOINT, verify_folder
from focil.runs.params import Benchmark
from focil.runs.params_files import changed_by
from focil.runs.run import Run
from focil.runs.sources import open_stream
from focil.studies import one_pass, online
from focil.studies.online import OnlineStudy, combinations
from focil.studies.study import StudyError
from focil.studies.tables import online_lines

NEEDED = {"name": "small", "data": "digits", "tasks": 5}
METHODS = ["focil", "er", "slda", "ncm"]


@pytest.fixture(scope="module")
def separated(tmp_path_factory):
    return write_npz(tmp_path_factory.mktemp("data") / "separable.npz")


def other(method="er", **options):
    """Another method on the small separable images."""
    given = {"exemplars": 20} if online.stores(method) else {}
    return Benchmark(
        name="small",
        data="separable",
        tasks=3,
        device="cpu",
        threads=1,
        method=method,
        online=given | options,
    )


def study_of(path, folder, seeds=(0, 1), **changes):
    section = {"methods": METHODS, "exemplars": [12, 30]} | changes
    given = {
        "sparsities": [0.5, 0.8],
        "learning_rates": [0.02, 0.1],
        "first_rung": 2,
        "router_megabytes": 0.05,
    }
    return OnlineStudy(folder, small_benchmark(data=path, focil=given, online=section), list(seeds))


# Params


@pytest.mark.parametrize("method", ONLINE)
def test_params_name_any_method_and_its_options(method):
    options = {"exemplars": 20} if online.stores(method) else {}
    benchmark = Benchmark(**NEEDED, method=method, online=options)
    assert benchmark.notebook == "benchmark" and not benchmark.is_study
    assert type(benchmark.online) is ONLINE[method].options_of
    again = Benchmark(**benchmark.model_dump(mode="json"))
    assert again == benchmark and benchmark.is_same(again.model_dump(mode="json"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"method": "er"}, "'online.exemplars' is missing"),
        ({"method": "er", "online": {"exemplar": 9}}, "did you mean 'exemplars'"),
        ({"method": "er", "online": {"exemplars": 0}}, "'online.exemplars' is 0"),
        ({"method": "er", "online": {"exemplars": 9}, "focil": {"again": 1}}, "'focil' goes with FOCIL"),
        ({"method": "er", "online": {"exemplars": 9}, "backbone": "resnet18"}, "'backbone' goes with FOCIL"),
        (
            {"method": "er", "online": {"exemplars": 9}, "layers": {"exemplars": 9}},
            "'layers' goes with FOCIL",
        ),
        ({"method": "gdumb", "online": {"exemplars": 9, "rule": "reservoir"}}, "'online.rule'"),
        ({"method": "icarl"}, "'method' is 'icarl'"),
        ({"online": {"methods": ["er"]}}, "'online.exemplars' is missing"),
        ({"online": {"exemplars": [9]}, "layers": {"exemplars": 9}}, "layers and online are two studies"),
    ],
)
def test_what_cannot_be_meant_is_explained(changes, said):
    with pytest.raises(focil.BenchmarkError, match=said):
        Benchmark(**NEEDED, **changes)


def test_another_method_takes_over_the_stream_and_nothing_of_focil():
    base = {"data": "digits", "tasks": 5, "crop": 1, "backbone": "resnet18", "focil": {"again": 1}}
    changed = changed_by(base, {"method": "er", "online": {"exemplars": 50}})
    assert changed == {
        "data": "digits",
        "tasks": 5,
        "crop": 1,
        "method": "er",
        "online": {"exemplars": 50},
    }
    assert changed_by(changed, {"online": {"lr": 0.2}})["online"] == {"exemplars": 50, "lr": 0.2}


# One method, one run


@pytest.mark.parametrize("method", ["er", "der++", "gdumb", "scr", "ncm", "joint-one-pass"])
def test_a_run_is_evaluated_and_verified(method, tmp_path):
    result = focil.run(other(method), seed=1, out=tmp_path, data=separable())
    assert result["verified"] == {"process": "same", "equal": True, "images": 50}
    assert list(result["accuracy"]) == ["oracle-network", "batch-10-network", "sample-network"]
    assert [task["draws_per_sample"] for task in result["learned"]] == [1, 1, 1]
    assert not {"search", "capacity", "budgets", "batches"} & result.keys()
    kept = dict(result["memory_bytes"])
    assert kept.pop("total") == sum(kept.values())
    assert json.loads((tmp_path / "result.json").read_text()) == result


def test_a_named_data_set_is_opened_again_in_a_new_process(tmp_path):
    benchmark = Benchmark(**NEEDED, device="cpu", threads=1, method="er", online={"exemplars": 50})
    result = focil.run(benchmark, out=tmp_path)
    assert result["verified"] == {"process": "new", "equal": True, "images": 50}


def test_a_run_that_is_interrupted_goes_on_with_the_same_numbers(tmp_path):
    whole = focil.run(other(), out=tmp_path / "whole", data=separable())
    first = Run(tmp_path / "parts", other(), data=separable())
    for task in list(first.tasks())[:1]:
        first.method.learn(task)
        first.evaluation.after(first.method, task.index)
        first.save()
    del first  # lets go of the folder
    again = focil.run(other(), out=tmp_path / "parts", data=separable())
    for key in ("accuracy", "routing", "memory_bytes", "learned"):
        assert whole[key] == again[key]


def test_a_network_that_has_changed_is_noticed(tmp_path):
    data, benchmark = separable(), other()
    focil.run(benchmark, out=tmp_path, data=data)
    state = torch.load(tmp_path / CHECKPOINT, weights_only=True)
    state["method"]["net"]["head.weight"][0, 0] += 1e-3
    torch.save(state, tmp_path / CHECKPOINT)
    with pytest.raises(ForgettingError, match="computes other scores"):
        verify_folder(tmp_path, stream=open_stream(benchmark, data, 0))


def test_another_data_set_under_the_same_name_is_noticed(tmp_path):
    path = write_npz(tmp_path / "own.npz")
    benchmark = other().renamed("own", data=path)
    focil.run(benchmark, out=tmp_path / "out")
    write_npz(tmp_path / "own.npz", separable(seed=5))
    with pytest.raises(focil.RunError, match="another .*own.npz"):
        verify_folder(tmp_path / "out")


@pytest.mark.parametrize(("stored", "said"), [(3, "fewer than one for each"), (999, "more than the 240")])
def test_buffers_that_cannot_be_are_explained_before_the_run(stored, said, tmp_path):
    with pytest.raises(BufferError, match=said):
        Run(tmp_path, other(exemplars=stored), data=separable())


def test_ours_and_theirs_are_compared(tmp_path):
    for name, benchmark in (("ours", small_benchmark()), ("theirs", other())):
        focil.run(benchmark.renamed(name), out=tmp_path / name / "seed-0", data=separable())
    text = compare(tmp_path / "ours", tmp_path / "theirs")
    rows = [line for line in text.splitlines() if "| sample" in line]
    assert {"experts, network", "both, network", "router, network"} == {
        next(cell.strip() for cell in row.split("|") if "network" in cell) for row in rows
    }


# The study


def test_every_method_has_the_same_number_of_trials():
    assert {name: len(combinations(name)) for name in ONLINE if name != "ncm"} == {
        name: TRIALS for name in ONLINE if name != "ncm"
    }
    assert combinations("ncm") == [] == combinations("focil")  # nothing to choose; the other searches itself
    for name in ONLINE:
        assert set(ONLINE[name].choices) <= set(ONLINE[name].options_of.model_fields)


@pytest.fixture(scope="module")
def finished(separated, tmp_path_factory):
    """The small study, and its result."""
    study = study_of(separated, tmp_path_factory.mktemp("study"))
    study.run()
    return study, study.finish()


def test_options_are_chosen_on_training_images_alone(separated, tmp_path):
    study = study_of(separated, tmp_path)
    job = next(job for job in study.jobs() if job.what.method == "er")
    assert job.what.tuning and len(study.jobs()) == 2 * TRIALS
    changed = study_of(separated, tmp_path)
    noise = np.random.default_rng(0).integers(0, 256, changed.data.x_test.shape).astype(np.uint8)
    changed.data = focil.Dataset.from_arrays(
        changed.data.x_train, changed.data.y_train, noise, changed.data.y_test, name=changed.data.name
    )
    found = [train_alone(which, job, tmp_path / "trial.json") for which in (study, changed)]
    assert found[0]["sample"] == found[1]["sample"] > 0.3


def test_images_that_only_the_development_split_lacks_are_refused_before_anything_is_trained(tmp_path):
    online = {"methods": ["er"], "exemplars": [1400]}
    many = Benchmark(name="many", data="digits", tasks=5, online=online, device="cpu")
    with pytest.raises(StudyError, match="er would store 1400 images.*which has 1302"):
        OnlineStudy(tmp_path, many, [0]).run()


def test_what_was_best_is_what_is_run(finished):
    study, result = finished
    for method, options in result["chosen"].items():
        tried = [trial for trial in result["trials"] if trial["method"] == method]
        assert len(tried) == (TRIALS if method in ("er", "slda") else 0)
        if tried:
            best = max(trial["sample"] for trial in tried)
            assert options in [trial["options"] for trial in tried if trial["sample"] == best]
    assert list(result["runs"]) == ["focil", "er-12", "er-30", "slda", "ncm"]
    for reports in result["runs"].values():
        assert [report["seed"] for report in reports] == [0, 1]
        assert all(report["options"] == result["chosen"][report["method"]] for report in reports)
    assert not study.missing()


def test_numbers_are_those_of_a_run_of_its_own(finished, separated, tmp_path):
    study, result = finished
    options = {"network": "mlp", "precision": "float32", "exemplars": 30} | result["chosen"]["er"]
    benchmark = Benchmark(
        name="alone", data=separated, tasks=3, device="cpu", threads=1, method="er", online=options
    )
    alone = focil.run(benchmark, seed=1, out=tmp_path)
    report = result["runs"]["er-30"][1]
    assert report["accuracy"]["sample-network"]["final_average"] == pytest.approx(
        alone["accuracy"]["sample-network"]["final_average"], abs=1e-6
    )
    assert report["memory_bytes"] == alone["memory_bytes"]


def test_other_options_are_trained_again(finished):
    study, _ = finished
    job = next(job for job in study.finals() if job.what.method == "er")
    assert study.read(job) is not None
    other_options = job.what._replace(options=(("lr", 0.7), ("steps", 1)))
    assert study.read(job._replace(what=other_options)) is None


@pytest.mark.parametrize("name", ["focil", "er-30"])
def test_a_training_that_was_interrupted_goes_on(name, finished, monkeypatch, tmp_path):
    study, _ = finished
    job = next(job for job in study.finals() if job.name == name and job.seed == 1)
    other_folder = OnlineStudy(tmp_path, study.benchmark, [1])
    monkeypatch.setattr("focil.studies.study.SAVE_EVERY", 0)
    with monkeypatch.context() as killed:
        killed.setattr(one_pass.Pass, "judge", _stop_at(2, one_pass.Pass.judge))
        with pytest.raises(KeyboardInterrupt):
            train_alone(other_folder, job, tmp_path / "again.json")
    assert (tmp_path / "again.pt").exists()
    again, whole = train_alone(other_folder, job, tmp_path / "again.json"), study.read(job)
    assert again["accuracy"] == whole["accuracy"] and again["passes"] == whole["passes"]


def _stop_at(task, judge):
    """`judge`, but a kill when it comes to a task."""

    def stopping(self, index):
        if index == task:
            raise KeyboardInterrupt
        judge(self, index)

    return stopping


def test_a_trial_is_averaged_over_the_tuning_seeds(separated, tmp_path, finished):
    study = study_of(separated, tmp_path, tuning_seeds=2)
    assert len(study.trials()) == 2 * 2 * TRIALS
    for number, job in enumerate(study.trials()):
        about = {"options": dict(job.what.options), "sample": number / 100}
        study.keep(job, {"identity": study.identity} | about)
    assert [trial["sample"] for trial in study.tried()] == pytest.approx(
        [(4 * pair + 1) / 200 for pair in range(2 * TRIALS)]
    )


def test_a_heavy_method_is_run_with_the_first_seed(separated, tmp_path, finished):
    study = study_of(separated, finished[0].out, heavy=["er"])
    assert [job.seed for job in study.finals() if job.what.method == "er"] == [0, 0]
    assert not study.missing()  # who is heavy decides what is run, not what it finds
    assert len(study.finish()["runs"]["er-12"]) == 1
    finished[0].finish()


def test_another_study_is_refused(separated, finished):
    with pytest.raises(StudyError, match="another study"):
        study_of(separated, finished[0].out, network="resnet18-slim").missing()


def test_what_diverges_counts_as_nothing_known(separated, tmp_path):
    study = study_of(separated, tmp_path)
    job = next(job for job in study.trials() if job.what.method == "er")
    wild = job._replace(what=job.what._replace(options=(("lr", 900.0), ("steps", 3))))
    assert train_alone(study, wild, tmp_path / "wild.json")["sample"] == 0
    with pytest.raises(StudyError, match="tuning_seeds higher"):
        train_alone(study, wild._replace(what=wild.what._replace(tuning=False)), tmp_path / "wild.json")


def test_buffers_are_checked_before_anything_is_trained(separated, tmp_path):
    with pytest.raises(BufferError, match="fewer than one"):
        study_of(separated, tmp_path, exemplars=[3, 30]).run()
    assert not list(tmp_path.rglob("*.json"))


# What is read out of it


def test_points_have_every_byte(finished):
    _, result = finished
    points = read.points(result)
    ours = [point for point in points if point["run"] == "focil"]
    assert {point["who"] for point in ours} == {"FOCIL, experts", "FOCIL, router", "FOCIL, both"}
    for point in points:
        if point["run"] in ("er-12", "er-30"):
            (kept,) = {report["memory_bytes"]["total"] for report in result["runs"][point["run"]]}
            assert point["bytes"] == kept
    small, large = (point["bytes"] for point in points if point["who"] == "ER")
    assert large - small == 18 * (36 + 8)  # images of 6 x 6, and a label


def test_differences_are_paired(finished):
    _, result = finished
    for gap in read.differences(result):
        reports = result["runs"][gap["run"]]
        pairs = [
            ours["accuracy"]["sample"]["final_average"]
            - report["accuracy"]["sample-network"]["final_average"]
            for ours, report in zip(result["runs"]["focil"], reports, strict=True)
        ]
        assert gap["mean"] == pytest.approx(np.mean(pairs)) and gap["n"] == 2
    assert read.differences({"runs": {"ncm": result["runs"]["ncm"]}}) == []
    heavy = result["runs"] | {"focil": result["runs"]["focil"][:1]}
    assert {gap["n"] for gap in read.differences({"runs": heavy})} == {1}


def test_lines_and_pictures_say_the_same_numbers(finished):
    _, result = finished
    text = online_lines(result)
    assert len(text) == 1 + 5 and len({len(line) for line in text}) == 1  # columns under their heading
    assert len(text[0]) < 100
    names = {name: read.title_of(reports[0]) for name, reports in result["runs"].items()}
    rows = {names[name]: read.over_seeds(reports) for name, reports in result["runs"].items()}
    for name, line in zip(rows, text[1:], strict=True):
        row, cells = rows[name], re.split(r"\s{2,}", line.strip())
        assert cells[0] == name and cells[3] == f"{row['bytes'] / 1e6:.2f}"
        assert cells[1].startswith(f"{100 * row['sample'][0]:.1f} +- ")
    drawn = {
        "over_bytes": figures.over_bytes(read.points(result), "sample"),
        "over_bytes_oracle": figures.over_bytes(read.points(result), "oracle"),
        "less_ours": figures.less_ours(read.differences(result), names),
        "by_task": figures.by_task(read.curves(result)),
        "costs": figures.costs(rows),
    }
    for picture in drawn.values():
        assert style.png(picture)[:4] == b"\x89PNG"
    assert "ER, 30 stored" in drawn["less_ours"].alt and "ER, 30 stored" in drawn["by_task"].alt
    assert "ER, 12 stored" not in drawn["by_task"].alt  # its largest memory only
    assert f"{rows['ER, 30 stored']['passes']:.3g} passes" in drawn["costs"].alt


def point(who, nbytes, share):
    return {"who": who, "run": who, "bytes": nbytes, "accuracy": share, "half": None, "oracle": (share, None)}


def test_the_first_title_says_who_is_best_at_which_bytes_also_where_it_is_not_ours():
    picture = figures.over_bytes(
        [
            point("NCM", 2_000, 0.4),
            point("ER", 3_000_000, 0.3),
            point("FOCIL, both", 5_000_000, 0.6),
            point("FOCIL, router", 5_500_000, 0.65),
            point("FOCIL, both", 6_000_000, 0.7),
            point("GDumb", 9_000_000, 0.65),
            point("SCR", 50_000_000, 0.8),
        ],
        "sample",
    )
    assert picture.alt.startswith(
        "One image alone: no method with fewer bytes is better than NCM (40 % with 2 kB), FOCIL, router (65 "
        "% with 5.5 MB), FOCIL, both (70 % with 6 MB), SCR (80 % with 50 MB)."
    )


@pytest.mark.parametrize(("height", "side"), [(0.9, "left"), (0.5, "right")])
def test_a_name_that_would_cover_a_mark_is_at_the_left(height, side):
    axis = Figure().subplots()
    ends = [point("NCM", 2_000, 0.2), point("SLDA", 20_000, 0.5), point("SCR", 50_000_000, 0.2)]
    figures.draw_over_bytes(axis, [*ends, point("ours", 60_000, height), point("ours", 900_000, height)])
    sides = {text.get_text(): text.get_horizontalalignment() for text in axis.texts}
    assert sides == {"NCM": "left", "SLDA": side, "SCR": "left", "ours": "left"}  # "left": it begins there


def test_names_at_the_lower_edge_rise_and_keep_their_order():
    axis = Figure().subplots()
    low = [point(f"method {number}", 1_000_000, 0.01 * number) for number in range(5)]
    figures.draw_over_bytes(axis, [*low, point("far", 900_000_000, 0.02)])
    heights = {text.get_text(): text.get_position()[1] for text in axis.texts}
    step = np.ptp(axis.get_ylim()) / 26
    assert heights.pop("far") == pytest.approx(2)  # at its mark, for none is near
    assert min(heights.values()) >= step / 2  # wholly above the axis
    assert np.diff([heights[f"method {number}"] for number in range(5)]).min() > 0.98 * step


def test_the_differences_title_names_what_is_better_than_ours():
    gaps = [
        {"run": "a", "mean": 0.1, "half": 0.05, "n": 3},
        {"run": "b", "mean": -0.1, "half": 0.05, "n": 3},
        {"run": "c", "mean": 0.01, "half": 0.05, "n": 3},
    ]
    picture = figures.less_ours(gaps, {"a": "A", "b": "B", "c": "C"})
    assert picture.alt.startswith("Ours is better than 1 of 3 runs beyond the interval; better than ours: B")
    names = {"a": "A", "b": "B", "c": "C"}
    some = figures.less_ours([*gaps[:2], gaps[2] | {"half": None}], names)
    assert some.alt.startswith("Ours is better than 2 of 3 runs beyond the interval where there is one; ")
    none = figures.less_ours([gap | {"half": None} for gap in gaps], names)
    assert none.alt.startswith("Ours is better than 2 of 3 runs in the seeds there are; better than ours: B")
