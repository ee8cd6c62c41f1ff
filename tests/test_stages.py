"""Accuracy stage by stage: what is right among all classes seen and inside a given task, and FOCIL asked
as the others are."""

import numpy as np
import pytest
import torch
from conftest import separable, small_benchmark

import focil
from focil import Stream, class_order
from focil.evaluation import metrics
from focil.evaluation.stages import Stages
from focil.memo.method import Offline
from focil.studies.training import OnePass

ONLINE = {"sparsities": [0.5, 0.8], "learning_rates": [0.02, 0.1], "first_rung": 2}


def numbered(counts=(3, 2, 4, 1), first=2):
    """A stream of three tasks, the first of two classes; an image's first pixel is its number.

    counts: test images of each class.
    """
    labels = np.repeat(np.arange(len(counts)), counts)
    images = np.zeros((len(labels), 3, 3), dtype=np.uint8)
    images[:, 0, 0] = np.arange(len(labels))
    data = focil.Dataset.from_arrays(images, labels, images, labels, mean=[0.0], std=[1.0])
    return Stream(data, class_order(data, 3, 0, first=first), 0)


class Table(Offline):
    """A method whose answers are a table: for each image the classes from the likeliest on."""

    def __init__(self, ranking, sizes):
        self.ranking, self.sizes, self.done, self.asked = ranking, sizes, 0, []

    def scores(self, images):
        numbers = torch.round(images[:, 0, 0, 0] * 255).long().tolist()
        self.asked += numbers
        classes = sum(self.sizes[: self.done])
        return torch.tensor(
            [[-float(self.ranking[number].index(c)) for c in range(classes)] for number in numbers]
        )

    def memory(self):
        return {"networks": 10 * self.done, "exemplars": 5}

    def published_memory(self):
        return {"networks": 10 * self.done, "exemplars": 9 * 7 * self.done}  # seven images of 3 x 3 a task


# Images 0-2 are of class 0, 3-4 of class 1 (the first task), 5-8 of class 2, 9 of class 3.
RANKING = [
    [0, 1, 2, 3],
    [2, 0, 1, 3],
    [1, 2, 0, 3],
    [1, 0, 3, 2],
    [3, 2, 0, 1],
    [2, 3, 1, 0],
    [0, 2, 1, 3],
    [2, 0, 1, 3],
    [3, 2, 1, 0],
    [3, 0, 1, 2],
]


@pytest.fixture
def told():
    stream = numbered()
    method, stages = Table(RANKING, [2, 1, 1]), Stages(stream)
    for task in range(3):
        method.done = task + 1
        stages.after(method)
    return method, stages


def test_all_classes_seen_compete_unless_the_task_is_given(told):
    _, stages = told
    assert stages.rows["sample"] == [[3 / 5], [2 / 5, 3 / 4], [2 / 5, 2 / 4, 1]]
    assert stages.rows["oracle"] == [
        [3 / 5],
        [3 / 5, 1],
        [3 / 5, 1, 1],
    ]  # the other tasks' classes are out of the question


def test_accuracy_over_all_classes_weighs_images_and_not_tasks(told):
    _, stages = told
    assert stages.accuracy == [3 / 5, 5 / 9, 5 / 10]
    report = stages.report()
    assert (report["last"], report["average"]) == (0.5, pytest.approx((3 / 5 + 5 / 9 + 1 / 2) / 3))
    assert report["sample"]["final_average"] == pytest.approx(
        (2 / 5 + 2 / 4 + 1) / 3
    )  # a mean over tasks is another number
    assert report["sample"]["average_incremental"] == pytest.approx(report["average"])
    assert report["sample"] == metrics.summarise(stages.rows["sample"], [5, 4, 1])
    assert (report["new"], report["stored"], report["stages"]) == (1, 21, stages.accuracy)


def test_no_image_is_asked_before_its_task(told):
    assert told[0].asked == [*range(5), *range(9), *range(10)]


def test_the_confusion_is_of_the_last_stage_and_counts_every_image(told):
    assert told[1].confusion == [[1, 1, 1, 0], [0, 1, 0, 1], [1, 0, 2, 1], [0, 0, 0, 1]]


def test_where_one_answers_nobody_is_told_alone(told):
    assert told[1].report()["alone"] == {}


def test_memory_is_asked_after_every_task(told):
    assert [stage["counted"]["networks"] for stage in told[1].memory] == [10, 20, 30]
    assert told[1].memory[0]["published"] == {"networks": 10, "exemplars": 63}


def test_stages_go_on_from_their_state(told):
    method, whole = told
    first, second = Stages(whole.stream), Stages(whole.stream)
    method.done = 1
    first.after(method)
    second.load(first.state())
    for done in (2, 3):
        method.done = done
        second.after(method)
    assert second.report() == whole.report() and "stream" not in first.state()


def online(router):
    """FOCIL after three tasks whose test images are noisy, so that not every answer is right.

    Its stages, benchmark and data.
    """
    easy = separable()
    noisy = np.clip(easy.x_test + np.random.default_rng(0).normal(0, 90, easy.x_test.shape), 0, 255).astype(
        np.uint8
    )
    data = focil.Dataset.from_arrays(easy.x_train, easy.y_train, noisy, easy.y_test)
    benchmark = small_benchmark(focil=ONLINE | {"router": router, "router_megabytes": 0.1})
    stream = Stream(data, class_order(data, 3, 0), 0)
    method, stages = OnePass(benchmark, stream), Stages(stream)
    for task in stream:
        method.learn(task)
        stages.after(method)
    return method, stages, benchmark, data


@pytest.mark.parametrize("router", ["none", "patches"])
def test_focil_answers_as_it_does_by_itself(router):
    method, stages, _, _ = online(router)
    images = stages.stream.prepare(stages.stream.test)
    task, label = method.method.answer(images)
    report, true = stages.report(), stages.stream.test_position()
    confusion = np.zeros((6, 6), dtype=int)
    np.add.at(confusion, (true, 2 * task + label), 1)
    assert report["confusion"] == confusion.tolist()
    assert report["last"] < report["oracle"]["final_average"]
    assert (
        router == "patches" or report["oracle"]["forgetting"] == 0
    )  # experts are frozen; a router's covariance grows
    assert method.memory() == method.method.memory() and method.published_memory() == {
        "networks": method.memory()["backbone"],
        "exemplars": 0,
    }


def test_focil_s_stages_are_those_of_a_benchmark(tmp_path):
    _, stages, benchmark, data = online("patches")
    accuracy, report = focil.run(benchmark, seed=0, out=tmp_path, data=data)["accuracy"], stages.report()
    assert report["sample"] == accuracy["sample"] and report["oracle"] == accuracy["oracle"]
    # Tasks have the same number of test images here, so a mean over tasks is a mean over images.
    alone = {who: accuracy[f"sample-{who}"]["final_average"] for who in ("experts", "router")}
    assert report["alone"] == pytest.approx(alone)
