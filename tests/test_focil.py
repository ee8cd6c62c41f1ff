"""FOCIL itself: one pass, nothing forgotten, nothing shared that must not be."""

import copy

import numpy as np
import pytest
import torch
from conftest import separable
from torch import nn

import focil
from focil.evaluation.evaluation import ForgettingError
from focil.evaluation.frozen import FrozenEvaluation, identity, verify
from focil.router import routed


def learn(data, backbone="mlp", tasks=3, seed=0, upto=None, **options):
    """A stream and a method that has learned its tasks; with a router unless the options say none."""
    stream = focil.Stream(data, focil.class_order(data, tasks, seed), seed)
    settings = focil.RoutedOptions(
        **{"sparsities": (0.5, 0.8), "learning_rates": (0.02, 0.1), "first_rung": 2} | options
    )
    method = routed.kind_of(settings)(
        backbone, data.image_shape, tasks, data.num_classes // tasks, seed, settings
    )
    for task in list(stream)[:upto]:
        method.learn(task)
    return stream, method


class Convolutions(nn.Module):
    """A user's network: biases, affine normalisation, running statistics."""

    def __init__(self, image_shape):
        super().__init__()
        self.conv = nn.Conv2d(image_shape[0], 16, 3, padding=1)
        self.norm = nn.BatchNorm2d(16)
        self.last = nn.Linear(16, 20)

    def forward(self, images):
        return self.last(self.norm(self.conv(images)).relu().amax((2, 3))).relu()


def accuracy(stream, method):
    scores = method.scores(stream.prepare(stream.test))
    task = torch.from_numpy(stream.test_task())
    own = scores[torch.arange(len(task)), task].argmax(1)
    return (own == torch.from_numpy(stream.test_label())).float().mean().item()


@pytest.mark.parametrize("backbone", ["mlp", Convolutions])
def test_it_learns(backbone):
    stream, method = learn(separable(per_class=150), backbone)
    assert accuracy(stream, method) > 0.7  # chance is 0.5, and 222 images put it six deviations away


def test_resnet18_learns_a_task_and_scores_one_image_alone():
    data = separable(classes=4, per_class=60, size=12, channels=3)
    stream, method = learn(data, "resnet18", tasks=2, sparsities=(0.5,), learning_rates=(0.01,))
    images = stream.prepare(stream.test)
    assert accuracy(stream, method) > 0.75
    together, alone = (
        method.scores(images[:8]),
        torch.cat([method.scores(image[None]) for image in images[:8]]),
    )
    torch.testing.assert_close(
        together, alone, rtol=1e-3, atol=1e-4
    )  # statistics are the expert's, not the batch's


@pytest.mark.parametrize("backbone", ["mlp", Convolutions])
def test_nothing_of_an_expert_changes_when_later_tasks_are_learned(backbone, data):
    stream = focil.Stream(data, focil.class_order(data, 3, 0), 0)
    options = focil.FocilOptions(sparsities=(0.5,), learning_rates=(0.1, 0.2), first_rung=2, weight_decay=0.1)
    method = focil.Focil(backbone, data.image_shape, 3, 2, 0, options)
    images = stream.prepare(stream.test)
    first, owned = [], []
    for task in stream:
        method.learn(task)
        for then, now in zip(owned, owned_weights(method), strict=False):
            assert torch.equal(then, now)
        assert verify(method, first, images) == task.index
        first.append(identity(method, task.index, images))
        owned = owned_weights(method)
    assert all(
        mask.trainable_share < 1 for mask in method.ledger.claimed[1:]
    )  # later experts do use older connections


def owned_weights(method):
    """The owned connections' values, task by task."""
    return [
        torch.cat([method.store[name].flatten()[positions] for name, positions in mask.new.items()])
        for mask in method.ledger.claimed
    ]


@pytest.mark.parametrize("part", ["weight", "head", "own", "calibration", "mask"])
def test_the_check_fails_for_one_unit_in_the_last_place(part, data):
    stream, method = learn(data, Convolutions, upto=2)
    probes = stream.prepare(stream.test)[:50]
    first = [identity(method, expert, probes) for expert in (0, 1)]
    assert verify(method, first, probes) == 2
    expert = method.experts[0]
    if part == "mask":
        name, positions = next((n, p) for n, p in expert.mask.new.items() if len(p))
        changed = copy.copy(expert.mask.new) | {name: positions[1:]}
        method.experts[0] = copy.copy(expert)
        object.__setattr__(
            method.experts[0], "mask", type(expert.mask)(0, expert.mask.density, changed, expert.mask.reused)
        )
    else:
        name = "last.weight"
        tensor = {
            "weight": method.store[name],
            "head": expert.head,
            "own": expert.own["norm.running_var"],
            "calibration": expert.calibration,
        }[part]
        at = int(expert.mask.new[name][0]) if part == "weight" else 0
        flat = tensor.view(-1)
        flat[at] = torch.nextafter(flat[at], torch.tensor(np.inf, dtype=flat.dtype))
    with pytest.raises(ForgettingError, match="expert 0 has changed"):
        verify(method, first, probes)


def test_the_search_reads_each_image_once_and_tells_what_it_did(data):
    _, method = learn(data)
    for report in method.report:
        assert report["draws_per_sample"] == 1
        assert len(report["candidates"]) == 4
        lengths = sorted(len(candidate["accuracy"]) for candidate in report["candidates"])
        assert lengths == [2, 2, 4, 8]  # 80 images: dropped after 2, 2 and 4 of 8 batches
        assert {"sparsity": report["sparsity"], "lr": report["lr"]}.items() <= report["candidates"][
            [len(c["accuracy"]) for c in report["candidates"]].index(8)
        ].items()


def test_head_rows_belong_to_their_task(data):
    _, method = learn(data, upto=2)
    heads = [expert.head for expert in method.experts]
    assert all(head.shape == (2, 100) for head in heads)
    assert heads[0].data_ptr() != heads[1].data_ptr()


def test_own_tensors_are_not_shared_between_experts(data):
    _, method = learn(data, Convolutions, upto=2)
    for name in ("conv.bias", "norm.weight", "norm.running_mean"):
        assert not torch.equal(method.experts[0].own[name], method.experts[1].own[name])


def test_a_state_restores_every_expert_bit_for_bit(data):
    stream, method = learn(data, Convolutions, upto=2)
    other = focil.RoutedFocil(Convolutions, data.image_shape, 3, 2, 0, method.options)
    other.load(copy.deepcopy(method.state()))
    images = stream.prepare(stream.test)
    assert torch.equal(method.scores(images), other.scores(images))
    assert [method.fingerprint(e) for e in (0, 1)] == [other.fingerprint(e) for e in (0, 1)]
    third = list(stream)[2]
    method.learn(third)
    again = list(focil.Stream(data, focil.class_order(data, 3, 0), 0))[2]
    other.learn(again)
    assert method.fingerprint(2) == other.fingerprint(2)


def test_memory_counts_every_tensor_of_the_state(data):
    _, method = learn(data, Convolutions)
    state, memory = method.state(), method.memory()
    assert memory["backbone"] == sum(t.nbytes for t in state["store"].values())
    assert memory["heads"] == 3 * 2 * 20 * 4
    assert memory["statistics"] == sum(t.nbytes for own in state["own"] for t in own.values()) + 3 * 6 * 8
    assert memory["masks"] == 3 * 40
    assert memory["held_batches"] == 80 * (36 + 8)  # 8 batches of 10 uint8 images and int64 labels


def test_seeds_differ_and_repeat(data):
    fingerprints = [learn(data, seed=seed, upto=1)[1].fingerprint(0) for seed in (0, 0, 1)]
    assert fingerprints[0] == fingerprints[1] != fingerprints[2]


@pytest.mark.parametrize("router", ["patches", "none"])
def test_answering_one_image_alone_is_what_sample_measures(router, data):
    stream, method = learn(data, upto=0, router=router, router_megabytes=0.05)
    judge = FrozenEvaluation(stream, 0)
    for each in stream:
        method.learn(each)
        judge.after(method, each.index)
    task, label = method.answer(stream.prepare(stream.test))
    right = (task == stream.test_task()) & (label == stream.test_label())
    name = "sample" if router == "patches" else "sample-experts"
    per_task = [right[stream.test_task() == t].mean() for t in range(3)]
    assert np.mean(per_task) == pytest.approx(judge.accuracy()[name]["final_average"], abs=1e-12)
    alone = [method.answer(image[None])[0][0] for image in stream.prepare(stream.test)[:5]]
    assert alone == task[:5].tolist()


def test_with_a_router_only_one_expert_is_asked(data, monkeypatch):
    stream, method = learn(data, router_megabytes=0.05)
    asked, scores = [], method.scores
    monkeypatch.setattr(
        method, "scores", lambda images, experts: asked.extend(experts) or scores(images, experts)
    )
    method.answer(stream.prepare(stream.test)[:1])
    assert len(asked) == 1
