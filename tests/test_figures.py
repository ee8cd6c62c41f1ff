"""Pictures: what they say is computed from what they are given, and they stay readable from one task to a
hundred."""

import json
from itertools import chain, pairwise

import matplotlib
import numpy as np
import pytest
from PIL import Image

from focil.base.files import WriteError
from focil.evaluation.published import PUBLISHED, UNREAD, Published
from focil.figures import (
    account,
    accuracy,
    answering,
    audit,
    curves,
    frozen,
    layers,
    learning,
    memory,
    occupancy,
    parts,
    routing,
    search,
    style,
)
from focil.figures.accuracy import ANSWERERS
from focil.figures.comparison import comparison
from focil.figures.cost import cost
from focil.figures.known import known
from focil.figures.order import by_tasks
from focil.figures.paired import Pair, paired
from focil.runs.sections import SHORTCUTS
from focil.studies.audit.shortcuts import DESCRIBED

SIZES = (1, 2, 5, 20, 100)


def row(owned, reused, free, share):
    counts = [{"a.weight": a, "b.weight": b} for a, b in (owned, reused, free)]
    return dict(zip(("owned", "reused", "free"), counts, strict=True)) | {"trainable_share": share}


# Layers of 100 and 300 connections, two tasks; the second re-uses in the shallow layer, which is full then.
CAPACITY = [row((60, 30), (0, 0), (40, 270), 1.0), row((40, 30), (20, 0), (0, 240), 7 / 9)]


def capacity(tasks, depth):
    names = [f"stages.{i}.conv.weight" for i in range(depth)]
    counts = [{"owned": 5, "reused": t, "free": 5 * (tasks - t)} for t in range(tasks)]
    return [
        {part: dict.fromkeys(names, n) for part, n in count.items()} | {"trainable_share": 0.5}
        for count in counts
    ]


def entry(tasks, level):
    matrix = [[level if j <= i else None for j in range(tasks)] for i in range(tasks)]
    return {"matrix": json.loads(json.dumps(matrix)), "final_average": level}


def protocols(tasks):
    return {
        "oracle-experts": entry(tasks, 0.99),
        "batch-10-experts": entry(tasks, 0.8),
        "sample-experts": entry(tasks, 0.45),
    }


# Nine accuracies in the order of an evaluation; a router alone is better here than experts and router
# together.
NINE = {
    "oracle-experts": 0.7,
    "oracle-router": 0.8,
    "oracle": 0.78,
    "batch-10-experts": 0.4,
    "batch-10-router": 0.75,
    "batch-10": 0.72,
}
NINE |= {"sample-experts": 0.15, "sample-router": 0.45, "sample": 0.43}


def nine(tasks, shift=0.0):
    return {key: entry(tasks, level + shift) for key, level in NINE.items()}


def uniform(tasks):
    return {key: np.full((tasks, tasks), 1 / tasks).tolist() for key in NINE if not key.startswith("oracle")}


def batched(**one_task):
    """Shares by who and kind for batches of 1, 10 and 100 images, mixed ones falling to a tenth."""
    return {
        "sizes": [1, 10, 100],
        "one task": one_task,
        "mixed": {who: [values[0], values[0] / 2, values[0] / 10] for who, values in one_task.items()},
    }


SIX = {"experts": [0.2, 0.4, 0.5], "router": [0.5, 0.9, 0.92], "both": [0.48, 0.93, 0.95]}
SIX |= {
    "experts, softmax": [0.1, 0.3, 0.4],
    "experts, entropy": [0.2, 0.4, 0.5],
    "experts, energy": [0.15, 0.2, 0.2],
}


def first_task(given, alone):
    """The accuracies that `competition` needs, the first task's being `given` and `alone` after every
    task, the others' 0.6."""

    def matrix(shares):
        return [[share, *[0.6] * i, *[None] * (len(shares) - 1 - i)] for i, share in enumerate(shares)]

    return {"oracle": {"matrix": matrix(given)}, "sample": {"matrix": matrix(alone)}}


def point(who, megabytes, share, half=None):
    return {"who": who, "bytes": int(megabytes * 1e6), "accuracy": share, "half": half}


POINTS = [
    point("router", 20, 0.4),
    point("both", 10, 0.45, 0.012),
    point("router", 5, 0.35),
    point("both", 40, 0.5, 0.01),
]


def searched(tasks):
    def candidate(sparsity, lr, blocks):
        accuracy, batches = [0.5, 0.6, 0.75][:blocks], [5, 10, 20][:blocks]
        return {
            "sparsity": sparsity,
            "lr": lr,
            "batches": batches,
            "accuracy": accuracy,
            "loss": [1.0] * blocks,
        }

    rivals = [candidate(0.9, 0.1, 2), candidate(0.98, 0.01, 1), candidate(0.98, 0.1, 3)]
    return [
        {"sparsity": 0.9, "lr": 0.01, "prequential": 0.6, "candidates": [candidate(0.9, 0.01, 3), *rivals]}
    ] * tasks


# What shortcuts add to the accuracy as each code answers: to ours, in the release. By oracle it is half as
# much.
WORTH = {"R1": (0.463, 0.0), "R2": (0.021, -0.104), "R3": (-0.5, 0.306), "R4": (-0.004, 0.0)}
CHANGES = list(WORTH.values()) + [(0.1, -0.1)] * 6


def worths(shortcuts, half=0.111):
    """The effects of an audit of these shortcuts."""
    worth = dict(zip(SHORTCUTS, CHANGES, strict=True))
    sides = [(base, s, index) for s in shortcuts for index, base in enumerate(("ours", "release"))]
    return [
        {"shortcut": s, "base": base, "measure": measure, "mean": share * worth[s][index], "half": half}
        for measure, share in (("answered", 1), ("oracle", 0.5))
        for base, s, index in sides
    ]


def codes(shortcuts, seeds=2):
    """The arms of an audit of these shortcuts.

    Ours at 40 % and the release at 80 %, in the middle of `seeds` seeds 2 points apart.
    """

    def reports(level, protocol):
        finals = [level + 0.02 * (seed - (seeds - 1) / 2) for seed in range(seeds)]
        return [
            {"protocol": protocol, "answered": {"final_average": f}, "oracle": {"final_average": f / 2 + 0.5}}
            for f in finals
        ]

    ours = {name: reports(0.4, "sample-experts") for name in ("ours", *(f"ours + {s}" for s in shortcuts))}
    return ours | {
        name: reports(0.8, "probe-labelled") for name in ("release", *(f"release - {s}" for s in shortcuts))
    }


def falling(tasks):
    """Rows of an accuracy matrix: 80 % when a task is learned, 0.5 points less with every later one."""
    return [[0.8 - 0.005 * (i - j) for j in range(i + 1)] for i in range(tasks)]


# Offline methods at equal memory, and what shallow and deep blocks do

EIGHT = ("replay", "icarl", "wa", "der", "memo", "finetune", "joint", "focil")
# After the last task, in the middle of the seeds.
LAST = dict(zip(EIGHT, (0.5, 0.55, 0.6, 0.45, 0.625, 0.1, 0.8, 0.4), strict=True))
COUNTED = {
    "networks": 4_000_000,
    "buffers": 50_000,
    "heads": 25_000,
    "exemplars": 2_000_000,
    "labels": 16_000,
    "teacher": 0,
}
ONLINE = {
    "backbone": 1_000_000,
    "masks": 400,
    "statistics": 100_000,
    "held_batches": 150_000,
    "heads": 25_000,
    "router": 10_000_000,
}


def trained(method, tasks=5, seeds=3, apart=0.02):
    """Reports of a method, one a seed.

    Two classes a task, 10 test images each, old ones answered right or as the newest of all.
    """
    found = []
    for seed in range(seeds):
        last = LAST[method] + apart * (seed - (seeds - 1) / 2)
        right = round(10 * LAST[method])
        confusion = np.diag([right] * (2 * tasks - 2) + [10, 10])
        confusion[:-2, -1] = 10 - right
        counted = ONLINE if method == "focil" else COUNTED
        kept = {"counted": counted, "published": {"networks": 4_000_000, "exemplars": 2_000_000}}
        stages = np.linspace(0.9, last, tasks).tolist() if tasks > 1 else [last]
        found.append(
            {
                "stages": stages,
                "last": last,
                "average": float(np.mean(stages)),
                "confusion": confusion.tolist(),
                "new": 2,
                "memory": [kept] * tasks,
            }
        )
    return found


CLASSES = [f"class {number}" for number in range(200)]


def methods(count, tasks=5, seeds=3):
    return {method: trained(method, tasks, seeds) for method in EIGHT[:count]}


def over(count, budgets, seeds=3):
    """Lines of accuracy over memory: 5 points more with each MiB, each method 2 points above the one before.

    The average 0.1 above the last.
    """
    for index, method in enumerate(EIGHT[:count]):
        levels = [0.3 + 0.02 * index + 0.05 * n for n in range(budgets)]
        lasts = [[level + 0.01 * seed for seed in range(seeds)] for level in levels]
        averages = [[last + 0.1 for last in at] for at in lasts]
        yield method, [2**20 * (n + 5) for n in range(budgets)], averages, lasts


def noted(tasks=3, seeds=2, deep=4.0, blocks=("stem", "stage1", "stage2", "stage3")):
    """What was noted of blocks: the deepest moves `deep` times as far as the first and has 16 times its
    weights."""
    scales, weights = np.linspace(1, deep, len(blocks)), np.linspace(1, 16, len(blocks)) ** 0.5
    entry = {
        name: {"gradient": 2 * s, "shift": s, "gradient_per_weight": 2 * s / w, "shift_per_weight": s / w}
        for name, s, w in zip(blocks, scales.tolist(), weights.tolist(), strict=True)
    }
    return [[entry] * tasks] * seeds


def alike(tasks, shallow=0.9, deep=0.3, names=("stem", "stage1", "stage2", "stage3", "pool")):
    """CKA of task with task, by block, from shallow to deep."""
    levels = np.linspace(shallow, deep, len(names))
    return {
        name: (np.full((tasks, tasks), level) + (1 - level) * np.eye(tasks)).tolist()
        for name, level in zip(names, levels, strict=True)
    }


def studied(tasks, count):
    """Every picture of the two studies."""
    yield memory.stages(methods(count, tasks), [2] * tasks)
    yield memory.over_memory(list(over(count, min(tasks, 5))))
    yield account.counted(methods(count, tasks), 3072)
    if tasks > 1:
        yield memory.confusion(methods(count, tasks), CLASSES)
        yield layers.blocks({"der": noted(tasks), "memo": noted(tasks)})
        yield layers.similarity({"der": [alike(tasks)] * 2, "memo": [alike(tasks)]})
        yield layers.experts([alike(tasks, names=[f"stages.{i}.conv.weight" for i in range(20)])] * 2)
    yield layers.curves(compared_lines(min(count, 4)), "block, shallow to deep")


def compared_lines(count, blocks=("stem", "stage1", "stage2", "stage3")):
    """CKA by block of a number of comparisons, alike at the stem and apart at the end."""
    ends = np.linspace(0.1, 0.6, count)
    return {
        f"comparison {i}": dict(zip(blocks, np.linspace(0.96, end, len(blocks)).tolist(), strict=True))
        for i, end in enumerate(ends)
    }


def weights_moved():
    """Weights of two tasks and of nobody; only the second task's have moved."""
    old = np.linspace(-0.5, 0.5, 50, dtype=np.float32)
    return {"task 1": (old, old), "task 2": (old, old + 0.25), "nobody": (old, old)}


TOLD = {
    "experts": {"given the task": 0.975, "for ten images of one task": 0.91, "for one image alone": 0.592},
    "router": {"given the task": 1.0, "for ten images of one task": 1.0, "for one image alone": 0.98},
    "both": {"given the task": 1.0, "for ten images of one task": 1.0, "for one image alone": 0.981},
}


def watched(tasks):
    """What is seen of two layers after all of `tasks` tasks but the last: rows, owners, capacity."""
    done = max(1, tasks - 1)
    rows = {
        protocols_of + who: [[0.9 - 0.001 * i] * (i + 1) for i in range(done)]
        for protocols_of in learning.PROTOCOLS
        for who in ("-experts", "")
    }
    owner = {f"stages.{i}.conv.weight": np.arange(-1, 11).reshape(3, 4).clip(-1, done - 1) for i in range(2)}
    return rows, owner, capacity(tasks, 2)[:done]


def swept(sparsity, level):
    accuracy = {key: level + 0.1 * index for index, key in enumerate(learning.LINES)}
    return {
        "sparsity": sparsity,
        "accuracy": accuracy,
        "trained": round(2e5 * (1 - sparsity)),
        "kept": 300_000,
    }


def pictures_of(tasks, depth):
    """All that show something of each task."""
    images = [10] * tasks
    yield occupancy.heatmap(capacity(tasks, depth))
    yield occupancy.by_depth(capacity(tasks, depth))
    yield occupancy.trainable(capacity(tasks, depth))
    yield curves.curves(protocols(tasks))
    yield accuracy.matrix(entry(tasks, 0.7)["matrix"], "sample-experts")
    yield curves.curves(nine(tasks))
    yield accuracy.summary([protocols(tasks)])
    yield accuracy.summary([nine(tasks), nine(tasks, 0.01)])
    yield routing.routing({"sample-experts": uniform(tasks)["sample"]}, images)
    yield routing.routing(uniform(tasks), images)
    yield answering.batches(batched(**SIX), tasks)
    yield answering.competition(nine(tasks), 5)
    if tasks <= parts.CROWDED:  # digits have ten classes
        yield learning.learned(*watched(tasks), tasks)
    yield learning.swept([swept(0.5, 0.6), swept(0.9, 0.5), swept(0.99, 0.3)][: min(tasks, 3)])
    yield by_tasks({who: {tasks: (0.5, 0.01), 2 * tasks: (0.4, None)} for who in ANSWERERS}, {})
    yield search.chosen(searched(tasks))
    yield search.candidates(searched(tasks), tasks - 1)
    yield audit.worth(worths(SHORTCUTS[:tasks]), SHORTCUTS[: min(tasks, 3)], {}, 3)
    yield audit.levels(codes(SHORTCUTS[:tasks]))
    if tasks > 1:
        yield audit.backward(falling(tasks), "release, seed 0")
    yield from studied(tasks, 2 if tasks == 2 else 8)


def the_others():
    """Pictures that look alike whatever the number of tasks."""
    yield paired([Pair("oracle, both", (0.9, 0.8), (10, 20)), Pair("sample, both", (0.6, 0.7), (1, 2))], "ab")
    yield cost(POINTS, PUBLISHED["cifar100-20"], 150_000_000, 3072)
    yield compared()
    yield frozen.moved(weights_moved())
    yield known(TOLD, 0.1)


def compared():
    runs = [{key: entry(1, level + shift) for key, level in LEVELS.items()} for shift in (-0.02, 0, 0.02)]
    return comparison(runs, PUBLISHED["cifar100-20"])


LEVELS = {"oracle-experts": 0.7, "batch-10-experts": 0.4, "sample-experts": 0.15}


def titles(picture):
    suptitle = [picture.figure.get_suptitle()] if picture.figure.get_suptitle() else []
    findings = suptitle + [axis.get_title(loc="left") for axis in picture.figure.axes]
    return [text.replace("\n", " ") for text in findings]


def touch(boxes):
    """Whether one of the boxes overlaps the one that follows it."""
    return any(one.overlaps(following) for one, following in pairwise(boxes))


@pytest.mark.parametrize("tasks", [*SIZES, None])
def test_every_picture_is_labelled_small_and_readable(tasks):
    pictures = pictures_of(tasks, depth=2 if tasks == 5 else 20) if tasks else the_others()
    for picture in pictures:
        assert len(style.png(picture)) < 150_000
        assert picture.alt.startswith(titles(picture)[0])
        assert picture.alt.endswith(".") and "\n" not in picture.alt
        renderer = picture.figure.canvas.get_renderer()
        frame = picture.figure.bbox.padded(2)
        for axis in picture.figure.axes:
            assert axis.get_xlabel() or axis.get_ylabel() or len(picture.figure.axes) > 1
            for text in (axis._left_title, axis.xaxis.label, axis.yaxis.label):
                box = text.get_window_extent(renderer)
                inside = frame.contains(box.x0, box.y0) and frame.contains(box.x1, box.y1)
                assert inside or not text.get_text(), text.get_text()
            for ticks in (axis.get_xticklabels(), axis.get_yticklabels()):
                # The box around a slanted word is larger than the word.
                boxes = [
                    tick.get_window_extent(renderer)
                    for tick in ticks
                    if tick.get_visible() and tick.get_text() and not tick.get_rotation()
                ]
                assert not touch(boxes)


def test_panel_titles_do_not_run_into_each_other():
    three = (
        curves.curves(protocols(20)),
        curves.curves(nine(20)),
        curves.curves(nine(5)),
        occupancy.heatmap(capacity(20, 20)),
        curves.curves(protocols(5)),
    )
    fours = (routing.routing(uniform(20), [10] * 20),)
    twos = (
        answering.batches(batched(**SIX), 20),
        answering.competition(first_task([0.999, 0.951], [0.999, 0.123]), 5),
    )
    groups = (3, three), (4, fours), (2, twos)
    for count, picture in [(count, picture) for count, group in groups for picture in group]:
        style.png(picture)
        renderer = picture.figure.canvas.get_renderer()
        boxes = [
            axis._left_title.get_window_extent(renderer)
            for axis in picture.figure.axes
            if axis.get_title(loc="left")
        ]
        assert len(boxes) == count
        assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_crowded_heatmaps_are_not_annotated_and_small_ones_are():
    small, crowded = occupancy.heatmap(capacity(5, 2)), occupancy.heatmap(capacity(100, 2))
    assert [len(axis.texts) for axis in small.figure.axes[:3]] == [10, 10, 10]
    assert not any(axis.texts for axis in crowded.figure.axes)


def test_occupancy_titles_say_what_the_numbers_say():
    assert titles(occupancy.trainable(CAPACITY)) == [
        "Task 2 still trains 77.8 % of its mask; 40 % of the network is used"
    ]
    assert (
        titles(occupancy.heatmap(CAPACITY))[0]
        == "After 2 tasks 60 % of the connections are free; 1 of 2 layers are full"
    )
    assert (
        titles(occupancy.heatmap(CAPACITY[:1]))[0]
        == "After 1 task 77.5 % of the connections are free; fullest is a with 40 % left"
    )
    assert titles(occupancy.by_depth(CAPACITY)) == [
        "Deep layers stay freer: 80 % free in the deeper half, 0 % in the shallower"
    ]


def test_depth_bars_are_stacked_to_the_whole_layer():
    bars = occupancy.by_depth(CAPACITY).figure.axes[0].patches
    widths = np.array([bar.get_width() for bar in bars]).reshape(4, 2)  # kinds x layers
    np.testing.assert_allclose(widths[:, 0], [40, 20, 40, 0])  # new, re-used, of older tasks only, free
    np.testing.assert_allclose(widths.sum(axis=0), 100)
    assert len({bar.get_hatch() or bar.get_facecolor() for bar in bars}) == 4


def test_accuracy_titles_say_what_the_numbers_say():
    table = [[0.9, None], [0.7, 0.8]]
    assert (
        titles(accuracy.matrix(table, "sample-experts"))[0]
        == "Older tasks lose 20.0 points on average after they are learned (sample, experts)"
    )
    assert (
        titles(accuracy.matrix([[0.9]], "sample-experts"))[0] == "One task, learned to 90 % (sample, experts)"
    )


def test_curves_tell_where_answerers_differ_and_where_they_are_alike():
    table = nine(2) | {"oracle-experts": entry(2, 0.781), "oracle": entry(2, 0.779)}
    picture = curves.curves(table | {"oracle-router": entry(2, 0.78)})
    each = "43 % by both together, 15 % by the experts, 45 % by the router"
    assert titles(picture) == [
        f"Final average accuracy for one image alone: {each}",
        "oracle: all end alike, at 77.9 % to 78.1 %",
        "batch-10: the experts end at 40 %, the router at 75 %",
        "sample: the experts end at 15 %, the router at 45 %",
    ]
    assert titles(curves.curves({"batch-10": entry(2, 0.8)})) == [
        "Final average accuracy for 10 images of one task: 80 % by both together",
        "batch-10: 80 % at the end",
    ]
    # Both together are named where the router is better by nothing that is worth a word.
    table["sample"] = entry(2, 0.447)
    assert titles(curves.curves(table))[3].endswith("both together at 44.7 %")


def test_curves_are_drawn_on_the_scale_of_what_differs():
    high = {"oracle-experts": {"matrix": [[1.0, None], [0.97, 0.99]]}, "sample-experts": entry(2, 0.2)}
    oracle, sample = curves.curves(high).figure.axes
    assert 96 < oracle.get_ylim()[0] < 97 and oracle.get_ylim()[1] < 101
    assert sample.get_ylim()[0] < 20 < sample.get_ylim()[1] < 25
    (line,), (band,) = oracle.lines, oracle.collections
    np.testing.assert_allclose(line.get_ydata(), [100, 98])
    lowest = band.get_paths()[0].vertices[:, 1].min()
    assert lowest == pytest.approx(97)


def test_the_headline_is_one_image_alone_by_both_even_where_the_router_is_better():
    assert titles(accuracy.summary([nine(2)])) == [
        "Final average for one image alone (sample, both): 43.0 %, n = 1 seed"
    ]
    assert titles(comparison([nine(1)], ()))[0].startswith(
        "Ours (both) reads 78.0 % by oracle, 72.0 % by batch-10, 43.0 % by sample;"
    )
    assert titles(comparison([protocols(1)], ()))[0].startswith(
        "Ours (experts) reads 99.0 % by oracle, 80.0 % by batch-10, 45.0 % by sample;"
    )


@pytest.mark.parametrize("columns", [2, 3])
def test_routings_are_two_rows_each_a_protocol_and_the_router_is_told_once(columns):
    tables = uniform(20)
    if columns == 3:  # a router that does not choose as both together do
        tables |= {key: np.eye(20).tolist() for key in tables if key.endswith("router")}
    picture = routing.routing(tables, [10] * 20)
    panels = [axis for axis in picture.figure.axes if axis.get_title(loc="left")]
    style.png(picture)
    heights = [round(axis.get_position().y0, 3) for axis in panels]
    assert len(panels) == 2 * columns and len(set(heights)) == 2
    for first in (0, columns):
        row = titles(picture)[1 + first : 1 + first + columns]
        assert len({title.split(",")[0] for title in row}) == 1
        assert len(set(heights[first : first + columns])) == 1
    assert [bool(axis.get_xlabel()) for axis in panels] == [False] * columns + [True] * columns
    assert picture.alt.count("% by task") == 2 * columns


@pytest.mark.parametrize(
    ("key", "name", "words"),
    [
        ("oracle-experts", "oracle, experts", "given the task"),
        ("batch-25-router", "batch-25, router", "for 25 images of one task"),
        ("batch-10", "batch-10, both", "for 10 images of one task"),
        ("sample", "sample, both", "for one image alone"),
        ("probe-labelled", "probe-labelled, both", "given ten labelled test images to choose with"),
        ("guess-experts", "guess, experts", "by guess"),
    ],
)
def test_accuracies_are_named_and_worded(key, name, words):
    assert (accuracy.name(key), accuracy.phrase(key)) == (name, words)


def test_a_comparison_is_sorted_inside_each_protocol_and_marks_what_is_ours():
    picture = compared()
    (axis,) = picture.figure.axes
    rows = [tick.get_text() for tick in axis.get_yticklabels()]
    assert rows[:2] == ["ours, experts (n = 3)", "GEM, replay"] and rows[-1] == "A-GEM, replay"
    ours_as_published, stored = rows.index("FOCIL, paper"), rows.index("ER, 2000 images stored")
    assert ours_as_published < rows.index("FOCIL, released code") < stored
    sample = rows[stored:]
    assert sample.index("OnPro, replay") < sample.index("ours, experts (n = 3)") < sample.index("DVC, replay")
    assert "ours, experts (n = 3) 15.0 ± 5.0 %" in picture.alt and "70.0 % by oracle" in titles(picture)[0]
    headers = [text.get_text() for text in axis.texts if text.get_weight() == "bold"]
    assert [header.split(":")[0] for header in headers] == ["oracle", "probe-labelled", "batch-10", "sample"]
    faces = [container[0].get_markerfacecolor() for container in axis.containers]
    assert [face != "white" for face in faces] == [row.startswith("ours") for row in rows]


def test_what_is_learned_is_drawn_task_by_task_with_both_means():
    rows = {f"{p}{who}": [[0.9], [0.5, 0.7]] for p in learning.PROTOCOLS for who in ("-experts", "")}
    owner = {"layers.0.weight": np.array([[-1, 0, 1], [-1, -1, 0]])}
    picture = learning.learned(rows, owner, CAPACITY, 5)
    assert titles(picture)[0] == "After 2 of 5 tasks, experts: 60 % given the task, 60 % for one image"
    first, _, _, layer, _ = picture.figure.axes
    one, two, experts, routed = first.lines
    np.testing.assert_allclose(one.get_ydata(), [90, 50])
    np.testing.assert_allclose(two.get_xdata(), [2])
    np.testing.assert_allclose(experts.get_ydata(), [90, 60])
    np.testing.assert_allclose(routed.get_ydata(), [90, 60])
    assert titles(picture)[4] == "layer 1: 50 % owned"
    assert layer.images[0].get_array().tolist() == owner["layers.0.weight"].T.tolist()


def test_a_sweep_tells_what_sparsity_costs_and_what_it_saves():
    picture = learning.swept([swept(0.5, 0.6), swept(0.99, 0.3)])
    assert titles(picture) == [
        "Sparsity 0.5 to 0.99, experts: 80 % to 50 % for one image, 60 % to 30 % given the task",
        "with the router: 90 % to 60 %",
        "trained: 100 kB to 2 kB",
    ]
    assert titles(learning.swept([swept(0.5, 0.6)]))[2] == "trained: 100 kB"


def test_pairs_tell_the_difference_of_the_last():
    pair = Pair("sample, both", (0.6, 0.7), (1_000_000, 2_000_000))
    assert titles(paired([pair], ["a", "b"]))[0] == (
        "b reads 10.0 points more than a (sample, both) with 2.00 instead of 1.00 MB"
    )
    same = paired([pair._replace(shares=(0.6, 0.6))], ["a", "b"])
    assert titles(same)[0].startswith("b reads the same as a (")


def test_one_seed_has_no_interval_and_three_have_the_t_interval():
    runs = [{"oracle-experts": entry(2, 0.9), "sample-experts": entry(2, level)} for level in (0.4, 0.5, 0.6)]
    assert titles(accuracy.summary(runs[:1])) == [
        "Final average for one image alone (sample, experts): 40.0 %, n = 1 seed"
    ]
    assert titles(accuracy.summary(runs)) == [
        "Final average for one image alone (sample, experts): 50.0 ± 24.8 %, n = 3 seeds"
    ]


def test_the_right_task_is_weighed_by_test_images():
    table = [[1.0, 0.0], [0.5, 0.5]]
    assert routing.right_task(table, [100, 300]) == 0.625
    picture = routing.routing(
        {"batch-10-router": [[1.0, 0.0], [0.0, 1.0]], "sample-experts": table, "sample-router": table},
        [100, 300],
    )
    assert titles(picture)[:2] == [
        (
            "How often the right task is chosen for one image alone: 62.5 % by the experts, 62.5 % by the "
            "router; chance is 50 %"
        ),
        "batch-10, router: 100 % find their task",
    ]


def test_batches_tell_ten_images_of_one_task_beside_ten_mixed_ones():
    picture = answering.batches(batched(**SIX), 5)
    assert titles(picture) == [
        (
            "10 images of one task: 93 % by both together; the same rule on mixed batches: 24 %; one image "
            "alone: 48 %"
        ),
        "Batches of one task: accuracy rises from 48 % to 95 % (both)",
        "Batches of mixed tasks: accuracy falls from 48 % to 4.8 % (both)",
    ]
    assert "router rises from 50 % to 92 %" in picture.alt
    assert "experts, energy falls from 15 % to 1.5 %" in picture.alt
    only = answering.batches({"sizes": [2], "one task": {"experts": [0.3]}, "mixed": {"experts": [0.2]}}, 5)
    assert (
        titles(only)[0] == "2 images of one task: 30 % by the experts; the same rule on mixed batches: 20 %"
    )
    single = answering.batches({"sizes": [1], "one task": {"router": [0.3]}, "mixed": {"router": [0.3]}}, 1)
    assert (
        titles(single)[0] == "1 image of one task: 30 % by the router; the same rule on mixed batches: 30 %"
    )
    assert titles(single)[1] == "Batches of one task: accuracy is 30 % (router)"


def test_lines_of_batches_are_told_apart_without_colour_and_the_rule_in_use_is_drawn_once():
    one, mixed = answering.batches(batched(**SIX), 5).figure.axes
    assert [line.get_label() for line in one.lines] == [
        "both",
        "experts, entropy (used)",
        "router",
        "experts, softmax",
        "experts, energy",
    ]
    assert len({line.get_marker() for line in one.lines}) == 5
    assert len({str(line._unscaled_dash_pattern) for line in one.lines}) == 5
    assert [line.get_marker() for line in mixed.lines[:5]] == [line.get_marker() for line in one.lines]
    assert mixed.lines[5].get_ydata()[0] == 20 and len(mixed.lines) == 6  # one task of five
    tie = answering.batches(batched(**SIX | {"experts, softmax": SIX["experts"]}), 5).figure.axes[0]
    assert len(tie.lines) == 6  # which of the two is in use cannot be told
    assert len(answering.batches(batched(experts=[0.5] * 3, router=[0.5] * 3), 5).figure.axes[0].lines) == 2


BOTH = "classes compete, part of it is forgotten"


@pytest.mark.parametrize(
    ("given", "alone", "by_sample", "given_the_task"),
    [
        (
            [0.85, 0.85, 0.85],
            [0.85, 0.5, 0.45],
            "falls from 85 % to 45 %",
            "stays at 85 % given the task: classes compete, it is not forgotten",
        ),
        (
            [0.9, 0.8, 0.6],
            [0.85, 0.5, 0.45],
            "falls from 85 % to 45 %",
            "falls from 90 % to 60 % given the task: " + BOTH,
        ),
        (
            [0.9, 0.8, 0.45],
            [0.85, 0.5, 0.45],
            "falls from 85 % to 45 %",
            "falls from 90 % to 45 % given the task: part of it is forgotten",
        ),
        (
            [0.8, 0.7, 0.9],
            [0.8, 0.8, 0.8],
            "stays at 80 %",
            "rises from 80 % to 90 % given the task: it is not forgotten",
        ),
    ],
)
def test_competition_concludes_only_what_the_first_task_shows(given, alone, by_sample, given_the_task):
    words = f"From 5 to 15 classes the first task's accuracy {by_sample} by sample and {given_the_task}"
    assert titles(answering.competition(first_task(given, alone), 5))[0] == words


def test_competition_draws_the_first_task_thick_chance_dotted_and_the_best_answerer():
    picture = answering.competition(nine(4) | first_task([0.9] * 4, [0.9, 0.5, 0.4, 0.3]), 5)
    given, alone = picture.figure.axes[:2]
    assert titles(picture)[1:] == [
        "oracle, both: first task stays at 90 %",
        "sample, both: first task falls from 90 % to 30 %",
    ]
    assert len(given.lines) == 5 and len(alone.lines) == 6
    thick, chance = alone.lines[4:]
    assert thick.get_linewidth() > 2 * alone.lines[0].get_linewidth() and chance.get_linestyle() == ":"
    np.testing.assert_allclose(thick.get_ydata(), [90, 50, 40, 30])
    np.testing.assert_allclose(chance.get_xdata() * chance.get_ydata(), 100)
    assert thick.get_xdata().tolist() == [5, 10, 15, 20] and alone.lines[2].get_xdata().tolist() == [15, 20]
    assert picture.alt.endswith("sample, both: tasks end at 30 % to 60 %; chance ends at 5 %.")
    old = titles(answering.competition(protocols(4), 5))
    assert old[1:] == [
        "oracle, experts: first task stays at 99 %",
        "sample, experts: first task stays at 45 %",
    ]
    assert (
        titles(answering.competition(nine(1), 5))[0]
        == "Among 5 classes the first task's accuracy is 43 % by sample and is 78 % given the task"
    )


def test_memory_draws_ours_by_who_and_others_where_their_memory_is_known():
    others = (
        Published("A", 20, "sample", "", stored=1000),
        Published("B", 30, "sample", "", stored=None),
        Published("C", 90, "oracle", ""),
    )
    picture = cost(POINTS, others, 100_000_000, 3000)
    (axis,) = picture.figure.axes
    assert titles(picture) == [
        (
            "One image alone: 50.0 ± 1.0 % by both with 40 MB, 40 % of the training set's bytes; best of "
            "others: 30 % (B)"
        )
    ]
    router, both, stored = (container[0] for container in axis.containers)
    assert router.get_xdata().tolist() == [5, 20] and router.get_label() == "_nolegend_"
    assert both.get_xdata().tolist() == [10, 40]
    assert router.get_marker() != both.get_marker() and router.get_linestyle() != both.get_linestyle()
    assert (stored.get_xdata(), stored.get_ydata(), stored.get_markerfacecolor()) == ([3], [20], "white")
    legend = [text.get_text() for text in axis.get_legend().get_texts()]
    assert legend == ["router", "both", "others': memory not stated", "others': the images that they store"]
    assert [text.get_text() for text in axis.texts] == [
        "A",
        "as many bytes as\nthe training set (100 MB)",
        "B: 30 %",
    ]
    assert "router: 35.0 % with 5 MB, 40.0 % with 20 MB" in picture.alt
    assert "A: 20 % with 3 MB of images; B: 30 % with memory not stated." in picture.alt
    beyond = titles(cost([point("all", 250, 0.6)], (), 100_000_000, 3000))
    assert beyond == ["One image alone: 60.0 % by all with 250 MB, 2.5 times the training set's bytes"]


def test_others_that_store_as_much_and_reach_as_much_share_a_label():
    entries = (("A", 20, 1000), ("B", 21, 1000), ("C", 24, 1000), ("D", 20, 5000))
    others = [
        Published(name, value, "sample", "", stored=kept, read=name != "B") for name, value, kept in entries
    ]
    (axis,) = cost([point("all", 10, 0.95)], others, 100_000_000, 3000).figure.axes
    named = {text.get_text(): text.xy for text in axis.texts if "training" not in text.get_text()}
    assert named == {"B †, A": (3.0, 20.5), "C": (3.0, 24.0), "D": (15.0, 20.0)}


def test_unknown_memory_is_named_in_groups_that_neither_span_far_nor_touch():
    close = tuple(Published(f"M{i}", 10 + i, "sample", "", stored=None) for i in range(8))
    picture = cost([point("all", 10, 0.95)], close, 100_000_000, 3000)
    (axis,) = picture.figure.axes
    labels = [text for text in axis.texts if text.get_text().startswith("M")]
    assert [text.get_text() for text in labels] == [
        "M0, M1: 10 to 11 %",
        "M2, M3: 12 to 13 %",
        "M4, M5: 14 to 15 %",
        "M6, M7: 16 to 17 %",
    ]
    style.png(picture)
    boxes = [text.get_window_extent(picture.figure.canvas.get_renderer()) for text in labels]
    assert not touch(boxes) and picture.figure.bbox.contains(*boxes[-1].max)
    ticks = [
        line.get_ydata()[0] for line in axis.lines if line.get_xdata()[-1] == 1 and len(line.get_xdata()) == 2
    ]
    assert ticks == list(range(10, 18))


def test_rivals_that_learn_to_the_end_are_not_called_gone():
    entries = searched(3)
    for candidate in entries[1]["candidates"]:
        candidate["batches"] = list(range(10, 30))
        candidate["accuracy"] = [0.5] * 20
    assert titles(search.candidates(entries, 1))[0].endswith("most of its 3 rivals learned to the end, too")


def test_search_pictures_name_the_choice_and_end_dropped_candidates():
    assert (
        titles(search.chosen(searched(3)))[0]
        == "Chosen most often: sparsity 0.9 (3 of 3 tasks), learning rate 0.01 (3 of 3 tasks)"
    )
    picture = search.candidates(searched(3), 1)
    assert titles(picture) == [
        (
            "Task 2 chose sparsity 0.9, learning rate 0.01 (75 % in its last batches); half of its 3 rivals "
            "were gone by batch 10"
        )
    ]
    assert "1 at batch 5, 1 at batch 10, 2 at batch 20" in picture.alt


IDLE = {"R8": "mlp has no BatchNorm"}


def test_worth_leads_with_what_matters_most_and_its_numbers():
    picture = audit.worth(worths(WORTH), ["R3", "R1", "R2"], IDLE, 5)
    assert titles(picture) == [
        (
            "What matters in both codes, by the smaller effect (points in ours, in the release): R3 learning "
            "rate x 0.01 (-50, +31); R1 labels choose the expert (+46, +0); R2 20 trials, many passes (+2, "
            "-10)"
        ),
        "as each code answers",
        "oracle: the task is given",
    ]
    assert picture.alt.startswith(titles(picture)[0]) and "5 seeds, paired" in picture.alt
    assert picture.alt.endswith(" R8 cannot act: mlp has no BatchNorm.")
    for effect in worths(WORTH):
        where = f"{effect['shortcut']} {audit.BASES[effect['base']]}, {audit.MEASURES[effect['measure']]}"
        assert f"{where}: {100 * effect['mean']:+.1f} ± 11.1" in picture.alt
    assert audit.points(worths(WORTH)[0]) == "+46.3 ± 11.1"


def test_worth_draws_both_bases_of_each_shortcut_beside_its_name():
    picture = audit.worth(worths(WORTH), ["R1"], {}, 5)
    for axis, share in zip(picture.figure.axes, (100, 50), strict=True):
        on, off = axis.containers
        assert list(on[0].get_xdata()) == pytest.approx([share * ours for ours, _ in WORTH.values()])
        assert list(off[0].get_xdata()) == pytest.approx([share * release for _, release in WORTH.values()])
        for row, (above, below) in enumerate(zip(on[0].get_ydata(), off[0].get_ydata(), strict=True)):
            assert row - 0.4 < above < row < below < row + 0.4
        assert on[0].get_marker() != off[0].get_marker()
        assert off[0].get_markerfacecolor() == "white" != on[0].get_markerfacecolor()
        assert "final average" in axis.get_xlabel()
        (bar, *_) = on[2][0].get_segments()
        assert bar[1, 0] - bar[0, 0] == pytest.approx(2 * 11.1)
    names = [tick.get_text() for tick in picture.figure.axes[0].get_yticklabels()]
    assert names == [f"{s}: {DESCRIBED[s].name}" for s in WORTH]
    low, high = picture.figure.axes[0].get_ylim()
    assert low > high  # the first on top


def test_one_seed_of_an_audit_has_no_interval():
    picture = audit.worth(worths(WORTH, half=None), ["R1"], {}, 1)
    assert "±" not in picture.alt and "over 1 seed, paired" in picture.alt
    assert "R1 switched on in ours, as each code answers: +46.3;" in picture.alt
    single = audit.levels(codes(["R1"], seeds=1))
    assert "±" not in single.alt and "release - R1: 80.0 % by probe-labelled, 90.0 % by oracle" in single.alt
    for each in (picture, single):
        style.png(each)


def test_levels_say_that_the_protocols_differ_and_what_is_left_given_the_task():
    picture = audit.levels(codes(["R1", "R3"]))
    (axis,) = picture.figure.axes
    assert titles(picture) == [
        (
            "The release reads 80.0 ± 12.7 % and ours 40.0 ± 12.7 %, but by different protocols; given the "
            "task it is 90.0 ± 6.4 % and 70.0 ± 6.4 %"
        )
    ]
    rows = [tick.get_text() for tick in axis.get_yticklabels()]
    assert rows == [
        f"{name} ({'probe-labelled' if name.startswith('release') else 'sample-experts'})"
        for name in codes(["R1", "R3"])
    ]
    for name in codes(["R1", "R3"]):
        assert f"{name}: {80 if name.startswith('release') else 40}.0 ± 12.7 % by " in picture.alt
    answered, given = (container[0] for container in axis.containers)
    assert list(answered.get_xdata()) == pytest.approx([40] * 3 + [80] * 3)
    assert list(given.get_xdata()) == pytest.approx([70] * 3 + [90] * 3)


def test_one_row_repeated_has_no_backward_transfer_and_the_measured_one_has_its_own():
    picture = audit.backward([[0.9], [0.5, 0.8], [0.3, 0.4, 0.7]], "release, seed 0")
    assert titles(picture)[:3] == [
        (
            "release, seed 0: one row repeated makes backward transfer 0 by construction; measured, it is "
            "-50.0 points"
        ),
        "as the release builds it: backward transfer +0.0 points",
        "measured after each task: backward transfer -50.0 points",
    ]
    repeated, measured = (
        " ".join(text.get_text() for text in axis.texts) for axis in picture.figure.axes[:2]
    )
    assert repeated == "30 30 40 30 40 70" and measured == "90 50 80 30 40 70"
    assert picture.alt.endswith(
        "Measured after task 1: 90 %; after task 2: 50 %, 80 %; after task 3: 30 %, 40 %, 70 %."
    )
    assert "measured, it is +10.0 points" in audit.backward([[0.5], [0.6, 0.9]], "x").alt


def crowded(picture):
    """Texts and legends of a picture that lie on each other, or beyond its frame."""
    style.png(picture)
    renderer, figure = picture.figure.canvas.get_renderer(), picture.figure
    legends = [*figure.legends, *(axis.get_legend() for axis in figure.axes if axis.get_legend())]
    texts = [figure._suptitle] if figure.get_suptitle() else []
    for axis in figure.axes:
        (left, right), (low, high) = sorted(axis.get_xlim()), sorted(axis.get_ylim())
        texts += [axis._left_title, axis.xaxis.label, axis.yaxis.label]
        # Those beyond are not drawn.
        texts += [tick for tick in axis.get_xticklabels() if left <= tick.get_position()[0] <= right]
        texts += [tick for tick in axis.get_yticklabels() if low <= tick.get_position()[1] <= high]
    # The box around a slanted word is larger than the word.
    straight = [text for text in texts if not text.get_rotation() % 90]
    shown = [text for text in straight if text.get_visible() and text.get_text()]
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in shown]
    boxes += [("legend", legend.get_window_extent(renderer)) for legend in legends]
    frame = figure.bbox.padded(2)
    beyond = [text for text, box in boxes if not (frame.contains(*box.min) and frame.contains(*box.max))]
    pairs = [(one, before) for i, one in enumerate(boxes) for before in boxes[:i]]
    return [(one, other) for (one, box), (other, before) in pairs if box.overlaps(before)] + beyond


@pytest.mark.parametrize("count", [2, 5, 10])
def test_nothing_of_an_audit_s_pictures_lies_on_anything_else(count):
    shortcuts = SHORTCUTS[:count]
    for picture in (
        *(audit.worth(worths(shortcuts, half), shortcuts[:3], IDLE, 5) for half in (0.111, None)),
        audit.levels(codes(shortcuts)),
    ):
        legends = [axis.get_legend() for axis in picture.figure.axes if axis.get_legend() is not None]
        assert len(picture.figure.legends) + len(legends) == 1
        assert crowded(picture) == []


# Equal memory


@pytest.mark.parametrize(("tasks", "count"), [(5, 2), (20, 8)])
def test_nothing_of_the_pictures_of_equal_memory_and_of_depth_lies_on_anything_else(tasks, count):
    for picture in studied(tasks, count):
        assert crowded(picture) == []
    for picture in (
        memory.stages(methods(count, seeds=1), [2] * 5),
        memory.over_memory(list(over(count, budgets=1, seeds=1))),
    ):
        assert crowded(picture) == [] and "±" not in picture.alt


def test_stages_rank_the_methods_after_the_last_task():
    picture = memory.stages(methods(3), [50, 10, 10, 10, 10])
    (axis,) = picture.figure.axes
    assert titles(picture) == [
        "After the last task: WA 60.0 ± 5.0 %, iCaRL 55.0 ± 5.0 %, replay 50.0 ± 5.0 %"
    ]
    assert titles(memory.stages(methods(2, seeds=1), [2] * 5)) == [
        "After the last task: iCaRL 55.0 %, replay 50.0 %"
    ]
    assert [container.get_label() for container in axis.containers] == ["replay", "iCaRL", "WA"]
    for container, method in zip(axis.containers, EIGHT, strict=False):
        assert container[0].get_xdata().tolist() == [50, 60, 70, 80, 90]  # the first task may be larger
        assert list(container[0].get_ydata()) == pytest.approx(100 * np.linspace(0.9, LAST[method], 5))
    assert len({container[0].get_marker() for container in axis.containers}) == 3
    # Of the first seed, which is 2 points below the middle one.
    assert "replay: 90, 80, 69, 58, 48; iCaRL" in picture.alt


def test_areas_over_memory_are_those_of_the_lines_whatever_their_order():
    lines = [
        ("replay", [2**20, 3 * 2**20], [[0.5], [0.7]], [[0.4], [0.6]]),
        ("memo", [2**20, 3 * 2**20], [[0.6], [0.8]], [[0.5], [0.75]]),
    ]
    picture = memory.over_memory(lines)
    assert titles(picture) == [
        "Area under last accuracy over memory (AUC-L): replay 1.00, MEMO 1.25",
        "average accuracy",
        "last accuracy",
    ]
    average, last = picture.figure.axes
    assert average.containers[0][0].get_xdata().tolist() == [1, 3]
    assert average.containers[1][0].get_ydata().tolist() == pytest.approx([60, 80])
    assert last.containers[1][0].get_ydata().tolist() == pytest.approx([50, 75])
    assert "MEMO: 1.00 MiB 60.0 % average, 50.0 % last, 3.00 MiB 80.0 % average, 75.0 % last." in picture.alt
    turned = [(method, *(values[::-1] for values in rest)) for method, *rest in lines]
    assert titles(memory.over_memory(turned))[0] == titles(picture)[0]


def test_where_methods_have_other_budgets_the_best_is_named_with_its_own():
    lines = [
        ("replay", [3 * 2**20, 2**20], [[0.7], [0.5]], [[0.6], [0.4]]),
        ("wa", [3 * 2**20], [[0.8]], [[0.5]]),
    ]
    assert titles(memory.over_memory(lines))[0] == "replay is best after the last task, 60.0 %, with 3.00 MiB"
    less_is_more = [*lines, ("memo", [2**20, 2**21], [[0.9], [0.7]], [[0.9], [0.3]])]
    assert titles(memory.over_memory(less_is_more))[0].startswith(
        "MEMO is best after the last task, 90.0 %, with 1.00 MiB"
    )
    single = [("memo", [2**20], [[0.5, 0.6]], [[0.3, 0.4]]), ("der", [2**21], [[0.5, 0.6]], [[0.2, 0.3]])]
    assert titles(memory.over_memory(single))[0] == "MEMO is best after the last task, 35.0 %, with 1.00 MiB"


def test_who_is_better_without_a_budget_is_named_too():
    lines = [("replay", [2**20], [[0.5]], [[0.6]]), ("memo", [2**20], [[0.5]], [[0.5]])]
    finding = titles(memory.over_memory(lines, {"finetune": [0.1], "joint": [0.9], "focil": [0.7, 0.8]}))[0]
    assert finding == (
        "replay is best after the last task, 60.0 %, with 1.00 MiB. "
        "Better without a budget: joint (keeps every image) 90.0 %, FOCIL (keeps none) 75.0 %"
    )


def test_where_several_answer_the_experts_alone_stand_beside():
    reports = [report | {"alone": {"experts": 0.5, "router": 0.6}} for report in trained("focil", 5, 1)]
    (title,) = titles(memory.stages({"focil": reports}, [2] * 5))
    assert title.endswith("% (experts alone 50.0 %)")


def test_confusions_say_how_many_old_images_are_answered_as_new():
    picture = memory.confusion(methods(6), CLASSES)
    finding = "Images of old classes answered as one of the newest task: 90 % with finetune, 40 % with iCaRL"
    assert titles(picture)[:7] == [
        finding,
        "replay: 50 %",
        "iCaRL: 40 %",
        "WA: 40 %",
        "DER: 60 %",
        "MEMO: 40 %",
        "finetune: 90 %",
    ]
    axes = picture.figure.axes
    counts = np.array(trained("replay")[0]["confusion"])
    np.testing.assert_allclose(axes[0].images[0].get_array(), 10 * counts)  # 10 images a class, in %
    assert [axis.axison for axis in axes[:8]] == [True] * 6 + [False] * 2
    none = [report | {"confusion": np.eye(10, dtype=int).tolist()} for report in trained("wa")]
    assert [label.get_text() for label in axes[0].get_xticklabels()] == ["class 0", "class 4", "class 9"]
    assert "0 % with WA" in memory.confusion({"replay": trained("replay"), "wa": none}, CLASSES).alt


def test_the_account_counts_every_byte_and_marks_what_is_published():
    runs = methods(2) | {"focil": trained("focil")}
    picture = account.counted(runs, image_bytes=10_000)
    (axis,) = picture.figure.axes
    assert titles(picture) == [
        (
            "Everything counted, FOCIL takes 11.28 MB, as much as 1,128 stored images; the published account"
            " says 6.00 MB"
        )
    ]
    bars = {container.get_label(): [bar.get_width() for bar in container] for container in axis.containers}
    np.testing.assert_allclose(bars["networks"], [4, 4, 1])
    np.testing.assert_allclose(bars["masks, statistics, router, held batches"], [0, 0, 10.2504])
    np.testing.assert_allclose(np.sum(list(bars.values()), axis=0), [6.091, 6.091, 11.2754])
    assert "teacher (while learning)" not in bars  # nobody has one here
    assert [line.get_xdata()[0] for line in axis.lines] == [6, 6, 6]
    assert "iCaRL 6.09 MB counted (609 images), 6.00 MB published" in picture.alt


def test_a_teacher_has_a_part_of_its_own():
    report = trained("wa")[0]
    counted = {"counted": COUNTED | {"teacher": 4_000_000}, "published": report["memory"][0]["published"]}
    picture = account.counted({"replay": trained("replay"), "wa": [report | {"memory": [counted]}]}, 10_000)
    (axis,) = picture.figure.axes
    bars = {container.get_label(): [bar.get_width() for bar in container] for container in axis.containers}
    assert bars["teacher (while learning)"] == pytest.approx([0, 4])
    assert "WA takes 10.09 MB" in titles(picture)[0]


# Depth


def test_blocks_after_one_epoch_have_not_moved_since_the_first():
    still = {name: values | {"shift": 0.0, "shift_per_weight": 0.0} for name, values in noted()[0][0].items()}
    picture = layers.blocks({"memo": [[still] * 3]})
    assert titles(picture)[0] == (
        "MEMO learns a task in one epoch, and shift is counted from the first epoch on"
    )


@pytest.mark.parametrize(
    ("deep", "words"),
    [
        (2.0, "stage3 moves 2.0 times as far as stem in all, but per weight 2.0 times less far"),
        (8.0, "stage3 moves 8.0 times as far as stem in all, and per weight 2.0 times as far as stem"),
        (0.5, "stage3 moves 2.0 times less far in all, and per weight 8.0 times less far"),
    ],
)
def test_blocks_say_how_far_the_deepest_moves_in_all_and_per_weight(deep, words):
    picture = layers.blocks({"der": noted(deep=deep), "memo": noted()})
    assert titles(picture)[0] == f"While DER learns a later task, {words}"
    assert titles(picture)[1:] == [
        "gradient norm",
        "shift of the weights",
        "gradient per weight",
        "shift per weight",
    ]
    shift = picture.figure.axes[1]
    lines = [line for line in shift.lines if not line.get_label().startswith("_")]
    means = {line.get_label(): line.get_ydata() for line in lines}
    np.testing.assert_allclose(means["MEMO"], np.linspace(1, 4, 4))
    assert shift.get_yscale() == "log"
    assert f"DER, shift of the weights: stem 1, stage1 {1 + (deep - 1) / 3:.2g}, " in picture.alt


def test_the_first_task_is_not_among_the_later_ones():
    seeds = [[noted(deep=9)[0][0], *noted(deep=2)[0][1:]]]
    names, values = layers.means(seeds, "shift")
    assert names == ["stem", "stage1", "stage2", "stage3"]
    assert values.tolist() == pytest.approx(np.linspace(1, 2, 4))


def test_a_block_that_is_frozen_has_no_number():
    frozen = [[tasks[0], *({"stage3": task["stage3"]} for task in tasks[1:])] for tasks in noted()]
    picture = layers.blocks({"der": noted(), "memo": frozen})
    style.png(picture)
    assert "nan" not in picture.alt and "MEMO, shift of the weights: stage3 4" in picture.alt
    assert "nan" not in titles(layers.blocks({"memo": frozen}))[0]


def test_similarity_compares_the_shallow_with_the_deep_and_says_which_is_more_alike():
    picture = layers.similarity({"der": [alike(3)], "memo": [alike(3, shallow=1.0)]})
    finding = titles(picture)[0]
    assert finding.startswith(
        "Networks of different tasks see more alike where they are shallow (CKA: DER 0."
    )
    assert ", MEMO 0." in finding and finding.endswith(" than where they are deep (DER 0.45, MEMO 0.48)")
    # The pool after it is not shown.
    assert "DER stage3 0.45" in picture.alt and "MEMO stage3 0.48" in picture.alt
    turned = titles(layers.similarity({"memo": [alike(3, 0.2, 0.8)]}))[0]
    assert turned.startswith(
        "Networks of different tasks see no less alike where they are deep (CKA: MEMO 0.65) than where they "
        "are shallow (MEMO 0."
    )
    both = titles(layers.similarity({"der": [alike(3)], "memo": [alike(3, 0.2, 0.8)]}))[0]
    assert both.startswith(
        "Methods differ in where networks of different tasks see alike: shallow, CKA DER 0."
    )
    assert both.endswith(", MEMO 0.35; deep, DER 0.45, MEMO 0.65")


def test_similarity_of_a_network_of_two_blocks_shows_both_and_means_over_seeds():
    blocks = ("block1", "block2", "pool")
    seeds = [alike(3, 1.0, 0.2, blocks), alike(3, 0.8, 0.0, blocks)]
    picture = layers.similarity({"der": seeds})
    assert titles(picture)[1:3] == ["DER, block1: 0.90 between tasks", "DER, block2: 0.50 between tasks"]


def test_experts_say_where_they_see_alike():
    names = [f"stages.{i}.conv.weight" for i in range(3)]
    picture = layers.experts([alike(2, 0.9, 0.3, names), alike(2, 0.7, 0.5, names)])
    assert titles(picture) == [
        "FOCIL's experts see more alike in the first layer (CKA 0.80) than in the last (0.40)"
    ]
    assert picture.alt.endswith("stage 1, conv 0.80; stage 2, conv 0.60; stage 3, conv 0.40.")
    (axis,) = picture.figure.axes
    np.testing.assert_allclose(axis.lines[-1].get_ydata(), [0.8, 0.6, 0.4])
    ticks = [tick.get_text() for tick in axis.get_xticklabels()]
    assert len(axis.lines) == 3 and ticks == ["stage 1, conv", "stage 2, conv", "stage 3, conv"]
    turned = titles(layers.experts([alike(2, 0.5, 0.9, names)]))[0]
    assert turned == "FOCIL's experts see no more alike in the first layer (CKA 0.50) than in the last (0.90)"


def test_curves_of_likeness_say_where_they_begin_and_in_which_order_they_end():
    picture = layers.curves(compared_lines(2), "block, shallow to deep")
    assert titles(picture) == ["CKA is 0.96 at stem, but at stage 3 0.60 (comparison 1), 0.10 (comparison 0)"]
    (axis,) = picture.figure.axes
    assert [line.get_label() for line in axis.lines] == ["comparison 0", "comparison 1"]
    assert len({(line.get_marker(), line.get_linestyle()) for line in axis.lines}) == 2
    assert "comparison 0: stem 0.96, stage 1 0.67, stage 2 0.39, stage 3 0.10" in picture.alt


# Freezing, and what is known


def test_weights_that_moved_are_counted_by_owner():
    picture = frozen.moved(weights_moved())
    assert titles(picture) == [
        "50 of 150 weights moved, all owned by task 2",
        "owned by task 1: 0 of 50 moved",
        "owned by task 2: 50 of 50 moved",
        "owned by nobody: 0 of 50 moved",
    ]
    stayed, moved = (axis.lines[-1] for axis in picture.figure.axes[:2])
    assert (stayed.get_xdata() == stayed.get_ydata()).all()
    assert (moved.get_ydata() > moved.get_xdata()).all()


def test_a_weight_that_should_not_have_moved_is_told():
    groups = weights_moved()
    groups["task 1"] = (groups["task 1"][0], np.nextafter(groups["task 1"][0], np.float32(1)))
    assert titles(frozen.moved(groups))[0] == "100 of 150 weights moved, owned by task 1 and task 2"
    still = {"task 1": weights_moved()["task 1"]}
    assert titles(frozen.moved(still))[0] == "None of 50 weights moved"


def test_bars_of_what_is_known_carry_their_numbers_and_name_the_first_answerer():
    picture = known(TOLD, 0.1)
    assert titles(picture) == [
        (
            "By the experts: 97.5 % given the task, 91 % for ten images of one task, "
            "59.2 % for one image alone; for one image alone: 98 % by the router, 98.1 % by both together"
        )
    ]
    (axis,) = picture.figure.axes
    heights = [[bar.get_height() for bar in container] for container in axis.containers]
    np.testing.assert_allclose(
        heights, [[100 * share for share in found.values()] for found in TOLD.values()]
    )
    assert [text.get_text() for text in axis.texts][:3] == ["97.5", "91.0", "59.2"]
    assert len({bars[0].get_hatch() for bars in axis.containers}) == 3
    assert "chance is 10 %" in picture.alt


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (0, "0 %"),
        (1, "100 %"),
        (0.0001, "< 0.1 %"),
        (0.9999, "> 99.9 %"),
        (0.5, "50 %"),
        (0.123, "12.3 %"),
        (0.0005, "0.1 %"),
    ],
)
def test_percent_never_rounds_to_none_or_all(share, words):
    assert parts.percent(share) == words


def test_task_ticks_are_few_and_inside():
    for tasks in range(1, 600):
        ticks = parts.task_ticks(tasks)
        assert ticks[0] == 1 and ticks[-1] <= tasks and len(ticks) <= 11 and ticks == sorted(set(ticks))


def test_png_is_deterministic_and_carries_the_alternative_text(tmp_path):
    first, second = (style.save(curves.curves(protocols(5)), tmp_path / name) for name in ("a.png", "b.png"))
    assert first.read_bytes() == second.read_bytes()
    assert Image.open(first).text["Description"] == curves.curves(protocols(5)).alt
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
    list(chain(pictures_of(2, 2), the_others()))
    assert dict(matplotlib.rcParams) == before


# The number of tasks


def test_the_number_of_tasks_is_told_for_ours_and_others():
    ours = {"router": {10: (0.514, 0.004), 20: (0.519, None)}, "experts": {10: (0.2, 0.01), 20: (0.1, 0.01)}}
    picture = by_tasks(ours, {"theirs": {10: 47.5, 20: 33.7}})
    (title,) = titles(picture)
    assert "From 10 to 20 tasks the router answers 51.4 to 51.9 %" in title
    assert "theirs falls from 47.5 % in 10 to 33.7 % in 20" in title
    assert "the router: 51.4 ± 0.4 % in 10 tasks, 51.9 % in 20 tasks" in picture.alt
    (axis,) = picture.figure.axes
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["10", "20"]
    assert [text.get_text() for text in axis.get_legend().get_texts()][-1] == "theirs"
    assert "not read" not in axis.get_xlabel()
    quoted = by_tasks(ours, {f"theirs {UNREAD}": {10: 1.0, 20: 2.0}})
    assert "goes from 1 % in 10 to 2 % in 20" in titles(quoted)[0]
    assert "not read" in quoted.figure.axes[0].get_xlabel()
