"""Pictures: what they say is computed from what they are given, and they stay readable from one task to a hundred."""

import json

import matplotlib
import numpy as np
import pytest
from PIL import Image

from focil.files import WriteError
from focil.figures import accuracy, occupancy, parts, search, style
from focil.figures.comparison import comparison
from focil.published import PUBLISHED

SIZES = (1, 2, 5, 20, 100)


def row(owned, reused, free, share):
    layers = [{"a.weight": a, "b.weight": b} for a, b in (owned, reused, free)]
    return dict(zip(("owned", "reused", "free"), layers, strict=True)) | {"trainable_share": share}


# Layers of 100 and 300 connections, two tasks; the second re-uses in the shallow layer, which is full then.
CAPACITY = [row((60, 30), (0, 0), (40, 270), 1.0), row((40, 30), (20, 0), (0, 240), 7 / 9)]


def capacity(tasks, layers):
    names = [f"stages.{i}.conv.weight" for i in range(layers)]
    counts = [{"owned": 5, "reused": t, "free": 5 * (tasks - t)} for t in range(tasks)]
    return [{part: dict.fromkeys(names, n) for part, n in count.items()} | {"trainable_share": 0.5} for count in counts]


def entry(tasks, level):
    matrix = [[level if j <= i else None for j in range(tasks)] for i in range(tasks)]
    return {"matrix": json.loads(json.dumps(matrix)), "final_average": level}


def protocols(tasks):
    return {"oracle-experts": entry(tasks, 0.99), "batch-10-experts": entry(tasks, 0.8), "sample-experts": entry(tasks, 0.45)}


def searched(tasks):
    def candidate(sparsity, lr, blocks):
        accuracy, batches = [0.5, 0.6, 0.75][:blocks], [5, 10, 20][:blocks]
        return {"sparsity": sparsity, "lr": lr, "batches": batches, "accuracy": accuracy, "loss": [1.0] * blocks}

    rivals = [candidate(0.9, 0.1, 2), candidate(0.98, 0.01, 1), candidate(0.98, 0.1, 3)]
    return [{"sparsity": 0.9, "lr": 0.01, "prequential": 0.6, "candidates": [candidate(0.9, 0.01, 3), *rivals]}] * tasks


def every_picture(tasks, layers):
    images = [10] * tasks
    yield occupancy.heatmap(capacity(tasks, layers))
    yield occupancy.by_depth(capacity(tasks, layers))
    yield occupancy.trainable(capacity(tasks, layers))
    yield accuracy.curves(protocols(tasks))
    yield accuracy.matrix(entry(tasks, 0.7)["matrix"], "sample-experts")
    yield accuracy.summary([protocols(tasks)])
    yield accuracy.routing({"sample-experts": np.full((tasks, tasks), 1 / tasks).tolist()}, images)
    yield search.chosen(searched(tasks))
    yield search.candidates(searched(tasks), tasks - 1)
    yield compared()


def compared():
    runs = [{key: entry(1, level + shift) for key, level in LEVELS.items()} for shift in (-0.02, 0, 0.02)]
    return comparison(runs, PUBLISHED["cifar100-20"])


LEVELS = {"oracle-experts": 0.7, "batch-10-experts": 0.4, "sample-experts": 0.15}


def titles(picture):
    suptitle = [picture.figure.get_suptitle()] if picture.figure.get_suptitle() else []
    return [text.replace("\n", " ") for text in suptitle + [axis.get_title(loc="left") for axis in picture.figure.axes]]


@pytest.mark.parametrize("tasks", SIZES)
def test_every_picture_is_labelled_small_and_readable(tasks):
    for picture in every_picture(tasks, layers=2 if tasks == 5 else 20):
        assert len(style.png(picture)) < 150_000
        assert picture.alt.startswith(titles(picture)[0]) and picture.alt.endswith(".") and "\n" not in picture.alt
        renderer = picture.figure.canvas.get_renderer()
        frame = picture.figure.bbox.padded(2)
        for axis in picture.figure.axes:
            assert axis.get_xlabel() or axis.get_ylabel() or len(picture.figure.axes) > 1
            for text in (axis._left_title, axis.xaxis.label, axis.yaxis.label):
                box = text.get_window_extent(renderer)
                assert not text.get_text() or (frame.contains(box.x0, box.y0) and frame.contains(box.x1, box.y1)), text.get_text()
            for ticks in (axis.get_xticklabels(), axis.get_yticklabels()):
                boxes = [tick.get_window_extent(renderer) for tick in ticks if tick.get_visible() and tick.get_text()]
                assert not any(one.overlaps(following) for one, following in zip(boxes, boxes[1:]))


def test_panel_titles_do_not_run_into_each_other():
    for picture in (accuracy.curves(protocols(20)), occupancy.heatmap(capacity(20, 20)), accuracy.curves(protocols(5))):
        style.png(picture)
        renderer = picture.figure.canvas.get_renderer()
        boxes = [axis._left_title.get_window_extent(renderer) for axis in picture.figure.axes if axis.get_title(loc="left")]
        assert len(boxes) == 3
        assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_crowded_heatmaps_are_not_annotated_and_small_ones_are():
    small, crowded = occupancy.heatmap(capacity(5, 2)), occupancy.heatmap(capacity(100, 2))
    assert [len(axis.texts) for axis in small.figure.axes[:3]] == [10, 10, 10]
    assert not any(axis.texts for axis in crowded.figure.axes)


def test_occupancy_titles_say_what_the_numbers_say():
    assert titles(occupancy.trainable(CAPACITY)) == ["Task 2 still trains 77.8 % of its mask; 40 % of the network is used"]
    assert titles(occupancy.heatmap(CAPACITY))[0] == "After 2 tasks 60 % of the connections are free; 1 of 2 layers are full"
    assert titles(occupancy.heatmap(CAPACITY[:1]))[0] == "After 1 task 77.5 % of the connections are free; fullest is a with 40 % left"
    assert titles(occupancy.by_depth(CAPACITY)) == ["Deep layers stay freer: 80 % free in the deeper half, 0 % in the shallower"]


def test_depth_bars_are_stacked_to_the_whole_layer():
    bars = occupancy.by_depth(CAPACITY).figure.axes[0].patches
    widths = np.array([bar.get_width() for bar in bars]).reshape(4, 2)  # kinds x layers
    np.testing.assert_allclose(widths[:, 0], [40, 20, 40, 0])  # new, re-used, of older tasks only, free
    np.testing.assert_allclose(widths.sum(axis=0), 100)
    assert len({bar.get_hatch() or bar.get_facecolor() for bar in bars}) == 4


def test_accuracy_titles_say_what_the_numbers_say():
    table = [[0.9, None], [0.7, 0.8]]
    assert titles(accuracy.matrix(table, "sample-experts"))[0] == "Older tasks lose 20.0 points on average after they are learned (sample, experts)"
    assert titles(accuracy.matrix([[0.9]], "sample-experts"))[0] == "One task, learned to 90 % (sample, experts)"
    expected = "Final average accuracy of the experts: 99 % given the task, 80 % for 10 images of one task, 45 % for one image alone"
    assert titles(accuracy.curves(protocols(2)))[0] == expected
    several = accuracy.curves({"oracle-experts": entry(2, 0.9), "sample-router": entry(2, 0.5)})
    assert titles(several)[0] == "Final average accuracy: 90 % (oracle, experts), 50 % (sample, router)"


def test_a_comparison_is_sorted_inside_each_protocol_and_marks_what_is_ours():
    picture = compared()
    (axis,) = picture.figure.axes
    rows = [tick.get_text() for tick in axis.get_yticklabels()]
    assert rows[:2] == ["ours, experts (n = 3)", "GEM, replay"] and rows[-1] == "A-GEM, replay"
    assert rows.index("FOCIL, paper") < rows.index("FOCIL, released code") < rows.index("ER, 2000 images stored")
    sample = rows[rows.index("ER, 2000 images stored") :]
    assert sample.index("OnPro, replay") < sample.index("ours, experts (n = 3)") < sample.index("DVC, replay")
    assert "ours, experts (n = 3) 15.0 ± 5.0 %" in picture.alt and "70.0 % by oracle" in titles(picture)[0]
    faces = [container[0].get_markerfacecolor() for container in axis.containers]
    assert [face != "white" for face in faces] == [row.startswith("ours") for row in rows]


def test_curves_start_where_the_task_is_learned():
    axis = accuracy.curves({"sample-experts": {"matrix": [[0.9, None], [0.7, 0.8]]}}).figure.axes[0]
    first, second, mean = axis.lines
    assert first.get_xdata().tolist() == [1, 2] and second.get_xdata().tolist() == [2]
    np.testing.assert_allclose(mean.get_ydata(), [90, 75])


def test_one_seed_has_no_interval_and_three_have_the_t_interval():
    runs = [{"oracle-experts": entry(2, 0.9), "sample-experts": entry(2, level)} for level in (0.4, 0.5, 0.6)]
    assert titles(accuracy.summary(runs[:1])) == ["Final average for one image alone (sample, experts): 40.0 %, n = 1 seed"]
    assert titles(accuracy.summary(runs)) == ["Final average for one image alone (sample, experts): 50.0 ± 24.8 %, n = 3 seeds"]


def test_the_right_expert_is_weighed_by_test_images():
    table = [[1.0, 0.0], [0.5, 0.5]]
    assert accuracy.right_expert(table, [100, 300]) == 0.625
    assert titles(accuracy.routing({"sample-experts": table}, [100, 300]))[0].startswith("The right expert answers 62.5 % (sample, experts)")


def test_search_pictures_name_the_choice_and_end_dropped_candidates():
    assert titles(search.chosen(searched(3)))[0] == "Chosen most often: sparsity 0.9 (3 of 3 tasks), learning rate 0.01 (3 of 3 tasks)"
    picture = search.candidates(searched(3), 1)
    assert titles(picture) == ["Task 2 chose sparsity 0.9, learning rate 0.01 (75 % in its last batches); half of its 3 rivals were gone by batch 10"]
    assert "1 at batch 5, 1 at batch 10, 2 at batch 20" in picture.alt


@pytest.mark.parametrize(
    ("share", "words"), [(0, "0 %"), (1, "100 %"), (0.0001, "< 0.1 %"), (0.9999, "> 99.9 %"), (0.5, "50 %"), (0.123, "12.3 %"), (0.0005, "0.1 %")]
)
def test_percent_never_rounds_to_none_or_all(share, words):
    assert parts.percent(share) == words


def test_task_ticks_are_few_and_inside():
    for tasks in range(1, 600):
        ticks = parts.task_ticks(tasks)
        assert ticks[0] == 1 and ticks[-1] <= tasks and len(ticks) <= 11 and ticks == sorted(set(ticks))


def test_png_is_deterministic_and_carries_the_alternative_text(tmp_path):
    first, second = (style.save(accuracy.curves(protocols(5)), tmp_path / name) for name in ("a.png", "b.png"))
    assert first.read_bytes() == second.read_bytes()
    assert Image.open(first).text["Description"] == accuracy.curves(protocols(5)).alt
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]


def test_a_failed_save_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(WriteError, match="full"):
        style.save(occupancy.trainable(CAPACITY), tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_show_keeps_the_alternative_text(monkeypatch):
    shown = []
    monkeypatch.setattr(style, "display", shown.append)
    picture = occupancy.trainable(CAPACITY)
    style.show(picture)
    data, metadata = shown[0]._repr_mimebundle_()
    assert list(data) == ["image/png"] and metadata["image/png"]["alt"] == picture.alt


def test_drawing_leaves_the_reader_s_own_style_alone():
    before = dict(matplotlib.rcParams)
    list(every_picture(2, 2))
    assert dict(matplotlib.rcParams) == before
