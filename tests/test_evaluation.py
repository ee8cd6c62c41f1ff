"""Evaluation: rows of the matrix, caching, and that a method which forgets is caught."""

import numpy as np
import pytest
import torch
from conftest import separable

import focil
from focil.confidence import RULES
from focil.evaluation import Evaluation, ForgettingError
from focil.stream import class_order


class Known:
    """A method whose expert e gives class c of its task the logit that the image's first pixel says."""

    def __init__(self, order, spoil=None):
        self.order, self.spoil, self.scored = order, spoil, []

    def scores(self, images, experts):
        self.scored.append((len(images), tuple(experts)))
        label = (images[:, 0, 0, 0] * 100).round().long()  # the class, written into the pixel
        out = []
        for expert in experts:
            matches = torch.stack([(label == int(c)).float() for c in self.order[expert]], dim=1)
            out.append(matches * (3.0 + expert) - (1e-6 if self.spoil == expert and len(self.scored) > 4 else 0.0))
        return torch.stack(out, dim=1)

    def fingerprint(self, expert):
        return f"expert {expert}"

    def calibration(self):
        return np.tile([0.0, 1.0], (len(self.order), len(RULES), 1))


def evaluation(tasks=3):
    labels = np.repeat(np.arange(6), 5)
    images = np.tile(labels[:, None, None, None], (1, 2, 2, 1)).astype(np.uint8)
    data = focil.Dataset.from_arrays(images, labels, images, labels, mean=[0.0], std=[100 / 255])
    stream = focil.Stream(data, class_order(data, tasks, 0, "shuffled"), 0)
    return Evaluation(stream, 0, "energy", calibrated=False), stream.order


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
    assert judge.routing(method)["sample-experts"] == np.eye(3).tolist()


def test_a_row_counts_only_the_classes_seen_so_far():
    judge, order = evaluation()
    loud = Known(order)
    loud.scores = lambda images, experts: torch.full((len(images), len(experts), 2), 1.0) * torch.tensor([e + 1.0 for e in experts])[None, :, None]
    judge.after(loud, 0)
    judge.after(loud, 1)
    matrix = judge.accuracy()["sample-experts"]["matrix"]
    assert matrix[0] == [0.5, None]  # one expert: half of its two classes by chance of argmax
    assert matrix[1] == [0.0, 0.5]  # the louder second expert takes every image: competition, not forgetting


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
    again.load(straight.state(), resumed.first)  # the scores may be ahead of the experts
    for task in (1, 2):
        again.after(Known(order), task)
    assert again.accuracy() == straight.accuracy()
    assert np.array_equal(again.logits, straight.logits)


def test_rules_are_compared_raw_and_calibrated():
    data = separable()
    stream = focil.Stream(data, class_order(data, 3, 0), 0)
    method = focil.Focil("mlp", data.image_shape, 3, 2, 0, focil.FocilOptions(sparsities=(0.5,), learning_rates=(0.1,)))
    judge = Evaluation(stream, 0, "entropy", calibrated=True)
    for task in stream:
        method.learn(task)
        judge.after(method, task.index)
    table = judge.compare_rules(method)
    assert set(table) == {rule + suffix for rule in RULES for suffix in ("", "-calibrated")}
    assert table["entropy-calibrated"]["sample-experts"] == pytest.approx(judge.accuracy()["sample-experts"]["final_average"])
    assert len({row["oracle-experts"] for row in table.values()}) == 1  # the oracle needs no rule
