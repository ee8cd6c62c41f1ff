"""The explorer's widgets: every control has a name, and the pages follow them."""

from pathlib import Path

import pytest

from focil.reports.explorer import views, widgets


def test_every_control_is_named_and_waits_for_the_end_of_a_drag():
    *controls, _ = widgets.planner().children
    assert all(control.description for control in controls)
    assert not any(getattr(control, "continuous_update", False) for control in controls)


def test_the_plan_s_page_follows_its_controls():
    box = widgets.planner()
    *_, tasks, allocation, _, page = box.children
    tasks.value = 5
    planned = page.value
    assert planned == views.planned("MLP 784-300-100 (28 x 28 pixels)", 0.94, 5, "planned", 0)
    assert "The last of 5 tasks trains" in planned and "exact" in planned and planned.count("<img alt=") == 1
    allocation.value = "independent"
    assert page.value != planned and "one random draw" in page.value


@pytest.mark.parametrize("network", list(views.NETWORKS))
def test_a_plan_s_page_counts_memory_in_bytes_and_images(network):
    page = views.planned(network, 0.9, 3, "planned", 0)
    assert page.count('<th scope="row">') == len(views.MEMORY) + 3
    if network.startswith("MLP 64"):
        # 49 200 float32; an image of 8 x 8 pixels is 64 bytes.
        assert "<td>196,800</td><td>3,075.0</td>" in page


def test_a_run_is_looked_into(ran):
    top, page, bottom, image = widgets.viewer(ran).children
    choice, again = top.children
    index, mistake = bottom.children
    assert choice.options == (widgets.NONE, "mine/seed-0") and not page.value
    assert index.disabled and mistake.disabled
    choice.value = "mine/seed-0"
    assert "Accuracy in %" in page.value and "Test image 0 shows" in image.value
    assert index.max == 59 and not mistake.disabled
    index.value = 7
    assert "Test image 7 shows" in image.value
    again.click()
    assert choice.value == "mine/seed-0"
    index.value = 59
    mistake.click()
    assert "No mistake after test image 59" in image.value
    choice.value = widgets.NONE
    assert index.disabled and not page.value and not image.value


def test_what_cannot_be_opened_is_said_on_the_page(ran, tmp_path):
    folder = tmp_path / "broken" / "seed-0"
    folder.mkdir(parents=True)
    (folder / "result.json").write_text("{")
    top, page, bottom, image = widgets.viewer(tmp_path).children
    top.children[0].value = "broken/seed-0"
    assert 'role="alert"' in page.value and "cannot be read" in page.value and bottom.children[0].disabled


def test_a_published_study_is_shown_with_its_pictures():
    page = views.folder(Path(__file__).resolve().parent.parent / "outputs" / "reference" / "memo-digits")
    assert "MEMO" in page and page.count("<img alt=") >= 2 and 'alt=""' not in page
