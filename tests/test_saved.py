"""A finished run, opened: it answers single images as the run's own evaluation did, and says plainly what
it cannot open."""

import json
import shutil

import numpy as np
import pytest
import torch
from conftest import separable, small_benchmark, write_npz

import focil
from focil.reports.explorer import images, results, saved
from focil.runs.checkpoint import SCORES, RunError


def test_answers_to_single_images_are_those_of_the_evaluation(ran):
    folder = ran / "mine" / "seed-0"
    run = saved.SavedRun(folder)
    result = saved.read(folder)
    for who in ("experts", "router", "both"):
        right = np.array([(one := run.ask(i)).answers[who] == (one.task, one.label) for i in range(len(run))])
        tasks = run.stream.test_task()
        mean = np.mean([right[tasks == task].mean() for task in range(3)])
        key = "sample" if who == "both" else f"sample-{who}"
        assert mean == pytest.approx(result["accuracy"][key]["final_average"])
    kept = torch.load(folder / SCORES, weights_only=True)["logits"]
    within = run.ask(5).evidence["experts"].within[0]
    assert np.allclose(within, torch.log_softmax(kept[5].double(), dim=1).numpy(), atol=1e-4)


def test_another_method_s_run_is_opened_too(tmp_path):
    benchmark = focil.Benchmark(
        name="er",
        data=write_npz(tmp_path / "own.npz"),
        tasks=3,
        threads=1,
        method="er",
        online={"exemplars": 30},
    )
    result = focil.run(benchmark, out=tmp_path / "seed-0")
    run = saved.SavedRun(tmp_path / "seed-0")
    right = [(one := run.ask(i)).answers["network"] == (one.task, one.label) for i in range(len(run))]
    assert np.mean(right) == pytest.approx(result["accuracy"]["sample-network"]["final_average"])
    page = results.folder(tmp_path / "seed-0")
    assert "3 tasks, ER, seed 0" in page and "sample, network" in page and "Its experts" not in page
    shown = images.asked(run, 3)
    assert "the network: P(task)" in shown and "The network says task" in shown
    given = run.ask(3).evidence["network"].task
    assert np.exp(given).sum() == pytest.approx(1)


def test_the_next_mistake_is_the_next_image_that_is_answered_wrongly(ran, monkeypatch):
    run = saved.SavedRun(ran / "mine" / "seed-0")
    wrong = [i for i in range(len(run)) if (one := run.ask(i)).answers["both"] != (one.task, one.label)]
    assert run.next_mistake(-1) == (wrong[0] if wrong else None)
    monkeypatch.setattr(run, "_label", run._label.copy())
    run._label[40] ^= 1  # now image 40 is answered wrongly, if it was not before
    wrong = sorted({*wrong} ^ {40})
    monkeypatch.setattr(saved, "CHUNK", 7)
    assert run.next_mistake(-1) == wrong[0] and run.next_mistake(wrong[-1]) is None
    assert [run.next_mistake(i) for i in (39, 40)] == [
        40 if 40 in wrong else next((w for w in wrong if w > 39), None),
        next((w for w in wrong if w > 40), None),
    ]


def test_results_are_found_own_first(ran, tmp_path):
    shutil.copytree(ran, tmp_path / "outputs")
    shutil.copytree(ran / "mine", tmp_path / "outputs" / "reference" / "mine")
    assert saved.find(tmp_path / "outputs") == ["mine/seed-0", "reference/mine/seed-0"]
    assert saved.find(tmp_path / "nothing") == []


def test_published_numbers_without_experts_say_so(ran, tmp_path):
    shutil.copy2(ran / "mine" / "seed-0" / "result.json", tmp_path)
    with pytest.raises(RunError, match="holds numbers but no checkpoint"):
        saved.SavedRun(tmp_path)


def test_other_data_is_refused(ran, tmp_path):
    shutil.copytree(ran / "mine" / "seed-0", tmp_path / "seed-0")
    state = torch.load(tmp_path / "seed-0" / "experts.pt", weights_only=True)
    torch.save(state | {"data": "0" * 64}, tmp_path / "seed-0" / "experts.pt")
    with pytest.raises(RunError, match="checksum differs"):
        saved.SavedRun(tmp_path / "seed-0")


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        "{}",
        '{"benchmark": {"name": 3}}',
        "[[1]]",
        '{"benchmark": {"name": "a", "data": "digits", "tasks": 5}}',
    ],
)
def test_a_damaged_result_is_explained(tmp_path, content):
    (tmp_path / "result.json").write_text(content)
    with pytest.raises(RunError, match="cannot be read"):
        saved.read(tmp_path)
    with pytest.raises(RunError, match="cannot be read"):
        results.folder(tmp_path)


def test_a_result_that_lacks_what_a_page_shows_is_explained(ran, tmp_path):
    whole = json.loads((ran / "mine" / "seed-0" / "result.json").read_text())
    for lacking in ("memory_bytes", "accuracy"):
        odd = {key: {} if key == lacking else value for key, value in whole.items()}
        (tmp_path / "result.json").write_text(json.dumps(odd))
        with pytest.raises(focil.FocilError, match="cannot be read|no protocol and answerer"):
            results.compared(ran / "mine" / "seed-0", tmp_path)
    (tmp_path / "result.json").write_text(json.dumps(whole | {"accuracy": {"sample-experts": {}}}))
    with pytest.raises(focil.FocilError, match="cannot be read"):
        results.folder(tmp_path)


def test_names_from_data_are_escaped_in_pages(ran):
    run = saved.SavedRun(ran / "mine" / "seed-0")
    page = "".join(images.asked(run, index) for index in range(0, 60, 11))
    assert "<b>" not in page and "&lt;b&gt;bold&lt;/b&gt;" in page and "$x^2$ &amp; co" in page


def test_a_run_s_page_holds_the_numbers_of_its_result(ran):
    folder = ran / "mine" / "seed-0"
    page, result = results.folder(folder), json.loads((folder / "result.json").read_text())
    for key in ("oracle", "sample-experts", "sample"):
        assert f"<td>{100 * result['accuracy'][key]['final_average']:.1f}</td>" in page
    assert page.count('<th scope="row">') == len(result["accuracy"]) + 3
    assert all(alt for alt in _alts(page)) and len(_alts(page)) == 2


def test_a_run_without_a_router_is_opened_too(tmp_path):
    data = separable()
    arrays = {key: getattr(data, key) for key in ("x_train", "y_train", "x_test", "y_test")}
    np.savez(tmp_path / "plain.npz", **arrays)
    options = {"sparsities": [0.5], "learning_rates": [0.05], "router": "none"}
    benchmark = small_benchmark(data=str(tmp_path / "plain.npz"), focil=options)
    focil.run(benchmark, seed=1, out=tmp_path / "seed-1")
    run = saved.SavedRun(tmp_path / "seed-1")
    assert list(run.ask(0).answers) == ["experts"] and "the experts alone" in images.asked(run, 0)
    assert isinstance(run.next_mistake(-1), int | None)


def _alts(page):
    return [part.split('"')[0] for part in page.split('<img alt="')[1:]]
