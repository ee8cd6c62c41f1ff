"""Evaluation: rows of the matrix for every answerer, caching, and that a method which forgets is caught."""

import numpy as np
import pytest
import torch
from conftest import separable

import focil
from focil.confidence import RULES
from focil.evaluation import protocols
from focil.evaluation.evaluation import Evaluation, ForgettingError
from focil.evaluation.frozen import BATCHES, FrozenEvaluation, router_scores
from focil.router import answers
from focil.router.routed import RoutedFocil
from focil.router.router import Router


class Known(RoutedFocil):
    """A method whose expert e gives class c of its task the logit that the image's first pixel says.

    Every expert is there from the start; what is not overridden is FOCIL's own.
    """

    def __init__(self, order, spoil=None, router=None):
        self.order, self.spoil, self.router, self.scored = order, spoil, router, []
        self.options = focil.RoutedOptions(rule="energy", calibrated=False)

    def weigh(self, logits, *features):
        self.experts = range(logits.shape[1])
        return super().weigh(logits, *features) if self.router else focil.Focil.weigh(self, logits)

    def scores(self, images, experts):
        self.scored.append((len(images), tuple(experts)))
        label = (images[:, 0, 0, 0] * 100).round().long()  # the class, written into the pixel
        out = []
        for expert in experts:
            matches = torch.stack([(label == int(c)).float() for c in self.order[expert]], dim=1)
            out.append(
                matches * (3.0 + expert) - (1e-6 if self.spoil == expert and len(self.scored) > 4 else 0.0)
            )
        return torch.stack(out, dim=1)

    def fingerprint(self, expert):
        return f"expert {expert}"

    def calibration(self):
        return np.tile([0.0, 1.0], (len(self.order), len(RULES), 1))


class Flat(Known):
    """A method whose experts know nothing."""

    def scores(self, images, experts):
        return torch.zeros(len(images), len(experts), self.order.shape[1])


class Sees(Router):
    """A router that reads the class from the first pixel, of all tasks from the start.

    loud: what each task scores for every image. offsets: what each class scores for every image of its task.
    """

    def __init__(self, order, loud=(0, 0, 0), offsets=(0, 0)):
        self.order, self.loud, self.mean = (
            torch.tensor(order),
            torch.tensor(loud),
            torch.tensor(offsets).float(),
        )
        self.asked = []

    def features(self, images):
        self.asked.append(len(images))
        return (images[:, :, 0, 0] * 100).round()  # (N, 1)

    def scores(self, features):
        return 10.0 * (features[:, :, None] == self.order) + self.loud[:, None] + self.mean

    def scores_and_offsets(self, features, tasks):
        offsets = self.mean.expand(self.order.shape)[:tasks].double().numpy()
        return self.scores(features)[:, :tasks].double().numpy(), offsets


class SeesTasks(Sees):
    """A router that tells tasks but not their classes."""

    def scores(self, features):
        return super().scores(features).amax(dim=2, keepdim=True).expand(-1, *self.order.shape)


NAMES = [
    protocol + who for protocol in ("oracle", "batch-10", "sample") for who in ("-experts", "-router", "")
]


def evaluation(tasks=3):
    labels = np.repeat(np.arange(6), 5)
    images = np.tile(labels[:, None, None, None], (1, 2, 2, 1)).astype(np.uint8)
    data = focil.Dataset.from_arrays(images, labels, images, labels, mean=[0.0], std=[100 / 255])
    stream = focil.Stream(data, focil.class_order(data, tasks, 0, "shuffled"), 0)
    return FrozenEvaluation(stream, 0), stream.order


def test_a_perfect_method_is_perfect_under_every_protocol_and_each_pair_is_scored_once():
    judge, order = evaluation()
    method = Known(order)
    for task in range(3):
        judge.after(method, task)
    accuracy = judge.accuracy()
    assert set(accuracy) == {"oracle-experts", "batch-10-experts", "sample-experts"}
    for report in accuracy.values():
        assert report["matrix"] == [[1.0, None, None], [1.0, 1.0, None], [1.0, 1.0, 1.0]]
        assert report["final_average"] == report["average_incremental"] == 1.0
        assert report["forgetting"] == report["backward_transfer"] == 0.0
    whole = [experts for count, experts in method.scored if judge.logits.shape[0] == count and count == 30]
    assert [e for e in whole if e == (2,)][:1] == [(2,)]
    routing = judge.routing(method)
    assert list(routing) == ["batch-10-experts", "sample-experts"]
    assert routing["sample-experts"] == np.eye(3).tolist()
    assert list(judge.batches(method)["one task"]) == ["experts"] + [f"experts, {rule}" for rule in RULES]


def test_a_row_counts_only_the_classes_seen_so_far():
    judge, order = evaluation()
    loud = Known(order)
    loud.scores = lambda images, experts: (
        torch.full((len(images), len(experts), 2), 1.0)
        * torch.tensor([e + 1.0 for e in experts])[None, :, None]
    )
    judge.after(loud, 0)
    judge.after(loud, 1)
    matrix = judge.accuracy()["sample-experts"]["matrix"]
    assert matrix[0] == [0.5, None]  # one expert: half of its two classes by chance of argmax
    assert matrix[1] == [0.0, 0.5]  # the louder second expert takes every image: competition, not forgetting


def test_with_a_router_there_are_nine_accuracies_from_the_easiest_to_the_honest_one():
    judge, order = evaluation()
    method = Known(order, router=Sees(order))
    for task in range(3):
        judge.after(method, task)
    assert list(judge.accuracy()) == NAMES
    assert list(judge.routing(method)) == NAMES[3:]  # of the oracle's nothing is to be told
    for shares in judge.routing(method).values():
        np.testing.assert_allclose(np.sum(shares, axis=1), 1)


def test_each_answerer_is_measured_by_what_it_knows_itself():
    judge, order = evaluation()
    method = Flat(order, router=Sees(order))
    for task in range(3):
        judge.after(method, task)
    final = {name: report["final_average"] for name, report in judge.accuracy().items()}
    # class 0 of the oldest task is what experts without a clue answer: 1 of 2 classes, 1 of 6
    assert final == pytest.approx(dict(zip(NAMES, [1 / 2, 1, 1, 1 / 6, 1, 1, 1 / 6, 1, 1], strict=True)))
    routing = judge.routing(method)
    assert (
        routing["sample-experts"] == [[1, 0, 0]] * 3
        and routing["sample"] == routing["sample-router"] == np.eye(3).tolist()
    )


def test_both_together_take_the_task_from_the_router_and_the_class_from_experts_that_know_it():
    judge, order = evaluation()
    method = Known(order, router=SeesTasks(order))
    method.scores = lambda images, experts: (
        Known.scores(method, images, experts) + 20 * torch.tensor(experts)[:, None]
    )  # the last is loudest
    for task in range(3):
        judge.after(method, task)
    final = {name: report["final_average"] for name, report in judge.accuracy().items()}
    assert final["oracle-router"] == final["sample-router"] == 1 / 2  # of two classes, without knowing
    assert final["oracle-experts"] == 1 and final["sample-experts"] == pytest.approx(1 / 3)
    assert final["oracle"] == final["sample"] == final["batch-10"] == 1


def test_classes_inside_a_task_start_even():
    judge, order = evaluation()
    method = Flat(order, router=Sees(order, offsets=(0, 50)))
    for task in range(3):
        judge.after(method, task)
    assert (
        judge.accuracy()["oracle-router"]["final_average"] == judge.accuracy()["oracle"]["final_average"] == 1
    )


def test_a_router_competes_among_the_tasks_seen_so_far_only():
    judge, order = evaluation()
    method = Flat(order, router=Sees(order, loud=(0, 4, 50)))
    for task in range(3):
        judge.after(method, task)
    accuracy = judge.accuracy()
    for name in ("sample-router", "sample", "batch-10-router", "batch-10"):
        assert accuracy[name]["matrix"] == [
            [1, None, None],
            [1, 1, None],
            [0, 0, 1],
        ]  # nothing is said of task 2 before it is learned
    for name in ("oracle-router", "oracle"):
        assert accuracy[name]["matrix"] == [[1, None, None], [1, 1, None], [1, 1, 1]]


def test_the_router_sees_the_test_images_once():
    judge, order = evaluation()
    method = Known(order, router=Sees(order))
    for task in range(3):
        judge.after(method, task)
    judge.routing(method)
    judge.batches(method)
    assert method.router.asked == [30]


def test_batches_of_one_and_ten_are_the_accuracies_and_mixed_ones_must_fail():
    judge, method = learned(noisy())
    final = {name: report["final_average"] for name, report in judge.accuracy().items()}
    assert (
        list(final) == NAMES and max(final.values()) < 1
    )  # being perfect, they would be alike whatever was asked
    batches = judge.batches(method)
    assert batches["sizes"] == list(BATCHES) and (BATCHES[0], BATCHES[3], BATCHES[-1]) == (1, 10, 100)
    answerers = ["experts", "router", "both"]
    for kind in ("one task", "mixed"):
        assert list(batches[kind]) == answerers + [f"experts, {rule}" for rule in RULES]
        assert {len(row) for row in batches[kind].values()} == {len(BATCHES)}
        assert batches[kind]["experts"] == batches[kind]["experts, entropy"]  # the rule in use
    for who, suffix in zip(answerers, ("-experts", "-router", ""), strict=True):
        one, mixed = batches["one task"][who], batches["mixed"][who]
        assert one[0] == mixed[0] == pytest.approx(final["sample" + suffix])
        assert one[3] == pytest.approx(final["batch-10" + suffix])
        assert one[-1] >= one[0]  # images of one task help each other
        assert (
            mixed[-1] <= 1 / 4 < final["sample" + suffix]
        )  # all 72 images in one batch: right for one task of four at most


def test_a_row_with_a_router_is_what_images_alone_give():
    judge, method = learned(noisy(), upto=2)
    stream = judge.stream
    seen = judge.task < 2
    images = stream.prepare(stream.test)[torch.from_numpy(seen)]
    alone = [method.router.scores_and_offsets(method.router.features(image[None]), 2) for image in images]
    scores, offsets = np.concatenate([scores for scores, _ in alone]), alone[0][1]
    task, label = protocols.sample(answers.router(scores, offsets))
    right = (task == judge.task[seen]) & (label == judge.label[seen])
    assert judge.accuracy()["sample-router"]["matrix"][1][:2] == [
        right[judge.task[seen] == t].mean() for t in (0, 1)
    ]


def noisy():
    """Four tasks of three classes that neither experts nor router tell apart perfectly, by any protocol.

    72 test images.
    """
    data, random = separable(classes=12, per_class=24, size=4), np.random.default_rng(0)
    x_train, x_test = (
        np.clip(x + random.normal(0, 80, x.shape), 0, 255).astype(np.uint8)
        for x in (data.x_train, data.x_test)
    )
    return focil.Dataset.from_arrays(x_train, data.y_train, x_test, data.y_test)


def learned(data, upto=4):
    """An evaluation and a method with a router, after some of four tasks."""
    stream = focil.Stream(data, focil.class_order(data, 4, 0), 0)
    options = focil.RoutedOptions(sparsities=(0.5,), learning_rates=(0.1,), router_megabytes=0.02)
    method = focil.RoutedFocil("mlp", data.image_shape, 4, 3, 0, options)
    judge = FrozenEvaluation(stream, 0)
    for task in list(stream)[:upto]:
        method.learn(task)
        judge.after(method, task.index)
    return judge, method


def test_a_method_that_forgets_is_caught():
    judge, order = evaluation()
    method = Known(order, spoil=0)
    with pytest.raises(ForgettingError, match="expert 0"):
        for task in range(3):
            judge.after(method, task)


def test_a_state_continues_with_the_same_numbers():
    straight, order = evaluation()
    resumed, _ = evaluation()
    for task in range(3):
        straight.after(Known(order), task)
    resumed.after(Known(order), 0)
    again, _ = evaluation()
    again.load(straight.state(), 1)  # the scores may be ahead of the experts
    again.first = resumed.first
    for task in (1, 2):
        again.after(Known(order), task)
    assert again.accuracy() == straight.accuracy()
    assert np.array_equal(again.logits, straight.logits)


def test_a_state_continues_with_a_router_too():
    straight, method = learned(noisy())
    early, _ = learned(noisy(), upto=3)
    again = FrozenEvaluation(straight.stream, 0)
    again.load(early.state(), 3)
    again.first = early.first
    again.after(method, 3)
    assert again.accuracy() == straight.accuracy()
    assert again.batches(method) == straight.batches(method) and again.routing(method) == straight.routing(
        method
    )


def test_the_scores_that_a_new_process_must_repeat_are_the_routers():
    judge, method = learned(noisy(), upto=1)
    probes = judge.stream.prepare(judge.probe_images)
    assert torch.equal(router_scores(method, probes), method.router.scores(method.router.features(probes)))
    assert router_scores(Known(judge.stream.order), probes) is None


def test_rules_are_compared_raw_and_calibrated():
    data = separable()
    stream = focil.Stream(data, focil.class_order(data, 3, 0), 0)
    options = focil.RoutedOptions(sparsities=(0.5,), learning_rates=(0.1,), router_megabytes=0.05)
    method = focil.RoutedFocil("mlp", data.image_shape, 3, 2, 0, options)
    judge = FrozenEvaluation(stream, 0)
    for task in stream:
        method.learn(task)
        judge.after(method, task.index)
    table = judge.compare_rules(method)
    assert set(table) == {rule + suffix for rule in RULES for suffix in ("", "-calibrated")}
    assert {tuple(row) for row in table.values()} == {
        ("oracle-experts", "batch-10-experts", "sample-experts")
    }  # no router has a rule
    assert table["entropy-calibrated"]["sample-experts"] == pytest.approx(
        judge.accuracy()["sample-experts"]["final_average"]
    )
    assert len({row["oracle-experts"] for row in table.values()}) == 1  # the oracle needs no rule


def test_any_method_is_evaluated_as_it_is_then_and_nothing_is_kept():
    judge, order = evaluation()
    method, plain = Known(order), Evaluation(judge.stream, 0)

    class Asked:
        """A method that says what its first experts know, and how many images it was asked about."""

        images = []

        def evidence(self, images):
            self.images.append(len(images))
            return method.weigh(method.scores(images, list(range(self.learned))).numpy())

    asked = Asked()
    for task in range(3):
        asked.learned = task + 1
        judge.after(method, task)
        plain.after(asked, task)
    assert plain.accuracy() == judge.accuracy()
    assert asked.images == [10, 20, 30]  # of the tasks so far, every time
    again = Evaluation(judge.stream, 0)
    again.load(plain.state(), 2)
    again.after(asked, 2)
    assert again.accuracy() == plain.accuracy()
