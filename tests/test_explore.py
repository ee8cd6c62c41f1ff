"""The explorer's widgets: every control has a name, and the pages follow them."""

import json
import shutil
from pathlib import Path

import ipywidgets
import pytest

from focil.reports.explorer import plans, results, saved
from focil.reports.explorer.planner import planner
from focil.reports.explorer.viewer import HEADINGS, NONE, REFERENCE, YOURS, grouped, viewer
from focil.runs.checkpoint import RunError

PUBLISHED = Path(__file__).resolve().parent.parent / "outputs" / "reference"


def named(box):
    """Controls by their description, and the pages, of a tab."""
    left, right = box.children
    return {control.description: control for control in left.children}, right.children


def test_every_control_is_named_and_waits_for_the_end_of_a_drag():
    left, _ = planner().children
    controls = [child for child in left.children if not isinstance(child, ipywidgets.HTML)]
    assert len(controls) == 5 and all(control.description for control in controls)
    assert not any(getattr(control, "continuous_update", False) for control in controls)


def test_allocation_and_density_are_explained_right_below_their_controls():
    left, _ = planner().children
    after = {child.description: text for child, text in zip(left.children, left.children[1:], strict=False)}
    assert "ERK density is" in after["Sparsity"].value and "with independent" in after["Allocation"].value


def test_the_plan_s_page_follows_its_controls():
    controls, (page,) = named(planner())
    controls["Tasks planned"].value = 5
    planned = page.value
    assert planned == plans.planned("MLP 784-300-100 (28 x 28 pixels)", 0.94, 5, "planned", 0)
    assert "The last of 5 tasks trains" in planned and "exact" in planned and planned.count("<img alt=") == 1
    controls["Allocation"].value = "independent"
    assert page.value != planned and "one random draw" in page.value


@pytest.mark.parametrize("network", list(plans.NETWORKS))
def test_a_plan_s_page_counts_memory_in_bytes_and_images(network):
    page = plans.planned(network, 0.9, 3, "planned", 0)
    assert page.count('<th scope="row">') == len(plans.MEMORY) + 3
    if network.startswith("MLP 64"):
        # 49 200 float32; an image of 8 x 8 pixels is 64 bytes.
        assert "<td>196,800</td><td>3,075.0</td>" in page


def test_a_run_is_looked_into(ran):
    controls, (_, page, image) = named(viewer(ran))
    choice, index, mistake = (controls[name] for name in ("Result", "Test image", "Next mistake"))
    assert choice.options == (NONE, YOURS, "mine/seed-0") and not page.value
    assert index.disabled and mistake.disabled
    choice.value = "mine/seed-0"
    assert "Accuracy in %" in page.value and "Test image 0 shows" in image.value
    assert index.max == 59 and not mistake.disabled
    index.value = 7
    assert "Test image 7 shows" in image.value
    controls["Look for new results"].click()
    assert choice.value == "mine/seed-0"
    index.value = 59
    mistake.click()
    assert "No mistake after test image 59" in image.value
    choice.value = YOURS  # a heading is no result
    assert index.disabled and not page.value and not image.value


def test_results_are_grouped_yours_first():
    folders = ["mine/seed-0", "study", "reference/digits-5/seed-0"]
    expected = (NONE, YOURS, "mine/seed-0", "study", REFERENCE, "reference/digits-5/seed-0")
    assert grouped(folders) == expected and grouped(folders[2:])[1] == REFERENCE and grouped([]) == (NONE,)
    assert not set(HEADINGS) & set(folders)


def test_a_second_run_is_compared_beside_the_first(ran, tmp_path):
    shutil.copytree(ran / "mine", tmp_path / "mine")
    other = tmp_path / "mine" / "seed-1"
    shutil.copytree(tmp_path / "mine" / "seed-0", other)
    result = json.loads((other / "result.json").read_text())
    before = result["accuracy"]["sample"]["final_average"]
    result["accuracy"]["sample"]["final_average"] = before - 0.125
    (other / "result.json").write_text(json.dumps(result))
    controls, (both, page, _) = named(viewer(tmp_path))
    controls["Compare with"].value = "mine/seed-1"
    assert not both.value
    controls["Result"].value = "mine/seed-0"
    assert "mine, seed 0, beside mine, seed 1" in both.value and 'role="alert"' not in both.value
    cells = f"<td>{100 * before:.1f}</td><td>{100 * before - 12.5:.1f}</td><td>-12.5</td>"
    assert cells in both.value and both.value.count("<tr>") == 1 + 9
    controls["Compare with"].value = NONE
    assert not both.value and page.value


def test_a_network_is_compared_with_everyone_who_answers_and_studies_are_not():
    paths = [PUBLISHED / name / "seed-0" for name in ("mnist-5", "er-mnist-5")]
    pairs = results.pairs_of(*map(saved.read, paths))
    assert [pair.name for pair in pairs][-1] == "sample, both | network" and len(pairs) == 9
    one, other = (saved.read(path) for path in paths)
    assert pairs[-1].sizes == tuple(result["memory_bytes"]["total"] for result in (one, other))
    assert "Read with care" not in results.compared(*paths)
    assert "they differ in data" in results.compared(paths[0], PUBLISHED / "digits-5" / "seed-0")
    with pytest.raises(RunError, match="not a study"):
        results.compared(paths[0], PUBLISHED / "audit-digits")


def test_an_audit_is_a_table_of_its_effects():
    page = results.folder(PUBLISHED / "audit-digits")
    assert (
        '<th scope="row">R1: labels choose the expert</th><td>+46.3 ± 11.1</td><td>+33.3 ± 4.0</td>' in page
    )
    assert "<pre>" not in page and "95 % interval over 5 seeds" in page


def test_a_published_run_that_keeps_only_averages_shows_its_experts_without_connections():
    first, second = (results.folder(PUBLISHED / "digits-5" / f"seed-{seed}") for seed in (0, 1))
    assert "Its experts" in first and "Its experts" in second
    assert "connections trained" in first and "connections trained" not in second


def test_what_only_drops_is_not_called_forgotten():
    ours, other = (results.folder(PUBLISHED / name / "seed-0") for name in ("digits-5", "er-mnist-5"))
    assert ">drop after learning</th>" in ours and results.FROZEN in ours and ">forgetting<" not in ours
    assert ">forgetting</th>" in other and "drop after learning" not in other


def test_what_cannot_be_opened_is_said_on_the_page(ran, tmp_path):
    folder = tmp_path / "broken" / "seed-0"
    folder.mkdir(parents=True)
    (folder / "result.json").write_text("{")
    controls, (both, page, _) = named(viewer(tmp_path))
    controls["Result"].value = controls["Compare with"].value = "broken/seed-0"
    for shown in (page, both):
        assert 'role="alert"' in shown.value and "cannot be read" in shown.value
    assert controls["Test image"].disabled


def test_a_published_study_is_shown_with_its_pictures():
    page = results.folder(PUBLISHED / "memo-digits")
    assert "MEMO" in page and page.count("<img alt=") >= 2 and 'alt=""' not in page
