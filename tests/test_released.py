"""The release's shortcuts: none of them is ours number for number, each does what it says, all of them are
the release."""

import numpy as np
import pytest
import torch
from conftest import separable

from focil import backbones
from focil.data.stream import Stream, class_order
from focil.masks import FREE
from focil.method import Focil, FocilOptions
from focil.runs.sections import SHORTCUTS
from focil.studies.audit import shortcuts
from focil.studies.audit.learners import batch_normalised, normalises
from focil.studies.audit.method import Released
from focil.studies.audit.search import _promoted

SMALL = FocilOptions(sparsities=(0.5, 0.8), learning_rates=(0.02, 0.1), first_rung=2)
TRAINED = [s for s in SHORTCUTS if s not in shortcuts.AT_TEST]


def stream(data=None, tasks=3, seed=0, **options):
    data = data or separable()
    return Stream(data, class_order(data, tasks, seed), seed, **options)


def learned(taken=(), tasks=3, upto=3, options=SMALL, backbone="mlp", data=None, seed=0):
    s = stream(data, tasks, seed)
    method = Released(backbone, s.data.image_shape, tasks, s.order.shape[1], seed, options, taken)
    for task in list(s)[:upto]:
        method.learn(task)
    return method, s


def test_without_a_shortcut_it_is_ours_bit_for_bit():
    method, s = learned()
    ours = Focil("mlp", s.data.image_shape, 3, 2, 0, SMALL)
    for task in stream():
        ours.learn(task)
    assert torch.equal(method.scores(s.prepare(s.test)), ours.scores(s.prepare(s.test)))
    assert torch.equal(method.calibrations[2][False], ours.experts[2].calibration)


@pytest.mark.parametrize("taken", [[s] for s in TRAINED] + [TRAINED])
def test_each_trains_and_leaves_an_expert_per_task(taken):
    method, s = learned(taken)
    logits = method.logits(1, s.prepare(s.test))
    assert logits.shape == (len(s.test), 6 if "R7" in taken else 2) and torch.isfinite(logits).all()
    assert len(method.experts) == len(method.passes) == len(method.report) == 3


def test_r2_reads_the_task_many_times_and_ours_once():
    assert learned()[0].passes == [1, 1, 1]
    assert min(learned(["R2"])[0].passes) > 2


def test_r2_stops_what_is_not_in_the_best_quarter_of_what_came_before():
    assert _promoted([0.5]) == [0]
    assert _promoted([0.5, 0.4, 0.6]) == [0, 2]
    assert _promoted([0.9] + [0.1] * 6 + [0.8, 0.7]) == [0, 7]  # from eight on, the best two go on


def test_r3_takes_a_hundredth_of_every_step():
    one = SMALL.model_copy(update={"sparsities": (0.5,), "learning_rates": (0.1,)})
    small = one.model_copy(update={"learning_rates": (0.001,)})
    slow, s = learned(["R3"], upto=1, options=one)
    images = s.prepare(s.test)
    torch.testing.assert_close(slow.scores(images), learned(options=small, upto=1)[0].scores(images))


def test_r4_zeroes_what_the_first_task_did_not_learn():
    method, _ = learned(["R4"], upto=1)
    for name, owner in method.ledger.owner.items():
        weights = method.store[name].flatten()
        assert (weights[torch.as_tensor(owner == FREE)] == 0).all()
        assert (weights[torch.as_tensor(owner != FREE)] != 0).any()


def test_r5_gives_rows_of_later_classes_to_the_first_task():
    method, _ = learned(["R5"], upto=1, options=SMALL.model_copy(update={"sparsities": (0.1,)}))
    owner = method.ledger.owner["classifier.weight"].reshape(6, -1)
    assert (owner[2:] == 0).any()
    assert "classifier.weight" not in learned(upto=1)[0].ledger.owner


def overlapping(taken, upto):
    options = SMALL.model_copy(update={"sparsities": (0.5,), "weight_decay": 0.01})
    return learned(["R12", *taken], upto=upto, options=options)[0]


def test_r6_lets_frozen_weights_decay_and_ours_does_not():
    for taken, changed in ((["R6"], True), ([], False)):
        method, before = overlapping(taken, upto=2), overlapping(taken, upto=1)
        name = "layers.0.weight"
        first, second = before.experts[0].mask.new[name], method.experts[1].mask.reused[name]
        both = torch.from_numpy(np.intersect1d(first, second))
        assert len(both) > 10
        then, now = before.store[name].flatten()[both], method.store[name].flatten()[both]
        if changed:
            ratio = now / then
            # The same shrinkage everywhere: decay, no gradient.
            assert (ratio < 1).all() and (ratio > 0.5).all() and ratio.std() < 1e-3
        else:
            assert torch.equal(then, now)


def test_r7_counts_an_answer_for_any_class():
    data = separable()
    method, s = learned(["R7"], data=data)
    assert method.logits(2, s.prepare(s.test)).shape[1] == 6
    ours, _ = learned(data=data)
    own = method.experts[0].head[:2], ours.experts[0].head
    assert own[0].shape == own[1].shape  # the same rows are trained


def test_r12_draws_without_looking_at_what_is_free():
    options = SMALL.model_copy(update={"sparsities": (0.3,)})
    independent, planned = (
        learned(taken, options=options)[0].capacity()[2]["trainable_share"] for taken in (["R12"], [])
    )
    assert independent < 0.15 < planned


def network(image_shape):
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3),
        torch.nn.BatchNorm2d(4, affine=False),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.Linear(64, 8),
    )


@pytest.fixture
def normalising(monkeypatch):
    monkeypatch.setitem(backbones.BACKBONES, "resnet18", network)


def test_r8_makes_an_image_depend_on_its_batch(normalising):
    method, s = learned(backbone="resnet18", upto=1)
    assert normalises(method.backbone)
    images = s.prepare(s.test)[:20]
    halves = [torch.arange(10), torch.arange(10, 20)]
    mixed = [torch.arange(0, 20, 2), torch.arange(1, 20, 2)]
    assert not torch.allclose(method.logits(0, images, halves), method.logits(0, images, mixed))
    # Ours: one image is enough.
    torch.testing.assert_close(method.logits(0, images)[3:4], method.logits(0, images[3:4]))
    before = {name: tensor.clone() for name, tensor in method.experts[0].own.items()}
    batch_normalised(method.backbone, method.store, method.experts[0], images, halves, "float32")
    assert all(torch.equal(before[name], tensor) for name, tensor in method.experts[0].own.items())


def test_convolutions_learn_with_every_shortcut(normalising):
    method, s = learned(TRAINED, backbone="resnet18")
    assert torch.isfinite(method.scores(s.prepare(s.test))).all()


@pytest.mark.parametrize("shortcut", SHORTCUTS)
def test_every_shortcut_points_at_a_line_of_ours(shortcut):
    assert shortcuts.our_line(shortcut).startswith("focil/")


def test_a_line_that_has_gone_is_noticed(monkeypatch):
    gone = shortcuts.Described("x", "masks.py", "this line does not exist")
    monkeypatch.setitem(shortcuts.DESCRIBED, "R1", gone)
    with pytest.raises(LookupError, match="this line"):
        shortcuts.our_line("R1")
