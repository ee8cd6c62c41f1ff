"""Offline methods: what each keeps, freezes, copies and learns from, and that a training that is
interrupted ends as one that was not."""

import io
from collections import Counter, OrderedDict
from functools import cache

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import separable
from torch import nn

from focil import Dataset, StreamError
from focil.data.images import Augmentation
from focil.data.stream import Stream, class_order
from focil.memo import method as offline
from focil.memo import split
from focil.memo.account import Costs, Size, counted_bytes
from focil.memo.icarl import Icarl
from focil.memo.memo import GrowingNet, Memo
from focil.memo.networks import align, distillation, widened
from focil.memo.schedule import OfflineOptions
from focil.memo.table import OFFLINE as METHODS

DATA = separable()  # six classes of 40 grey images, 6 x 6
EPOCHS, EXEMPLARS = 8, 30
OPTIONS = OfflineOptions(epochs=EPOCHS, batch_size=20, lr=0.05, aligning="shrink")
SHORT = OPTIONS.model_copy(update={"epochs": 3})
BOUNDS = ("finetune", "joint")  # without exemplars
ONE, TWO, FEATURES = 6 * 9 + 12, 6 * 8 * 9 + 16, 32  # parameters of the blocks below, and their features


def network(image_shape):
    """Two blocks of a convolution and BatchNorm: one that MEMO shares and one that it does not."""

    def block(inputs, outputs):
        return nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
        )

    pool = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten())
    return nn.Sequential(OrderedDict(one=block(image_shape[0], 6), two=block(6, 8), pool=pool))


def stream(tasks=3, seed=0, data=DATA, first=None, **options):
    return Stream(data, class_order(data, tasks, seed, first=first), seed, **{"passes": 1000} | options)


def new(name, method=None, seed=0, options=OPTIONS, **given):
    """A method before its first task."""
    s = stream(seed=seed, **given)
    stored = 0 if name in BOUNDS else EXEMPLARS
    return (method or METHODS[name])(
        network, s.data.image_shape, [len(c) for c in s.order], seed, s, options, stored, "one"
    )


def learned(name, upto=3, **given):
    method = new(name, **given)
    for task in list(method.stream)[:upto]:
        method.learn(task)
    return method


@cache
def finished(name, options=OPTIONS):
    """A method that learned all three tasks, not to be changed, and its accuracies over all classes seen,
    task by task."""
    method, found = new(name, options=options), []
    for task in method.stream:
        method.learn(task)
        found.append(accuracy(method))
    return method, found


def accuracy(method):
    s = method.stream
    seen = s.test_task() < method.done
    scores = method.scores(s.prepare(s.test[torch.from_numpy(seen)]))
    assert scores.shape == (seen.sum(), sum(method.sizes[: method.done]))
    return (scores.argmax(1).numpy() == s.test_position()[seen]).mean()


def copied(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def round_trip(state):
    """A state as it comes back from a file."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


# Learning


@pytest.mark.parametrize("name", METHODS)
def test_every_method_learns_and_what_is_kept_is_remembered(name):
    found = finished(name)[1]
    assert found[0] > 0.95
    if name == "finetune":
        assert found[1] <= 0.5 and found[2] <= 1 / 3  # of what it learned before, nothing is left
    else:
        assert found[2] > 0.8


def test_a_shuffled_order_and_a_larger_first_task_are_learned_too():
    shuffled = Stream(DATA, class_order(DATA, 3, 4, "shuffled"), 4, passes=1000)
    for given, sizes in ((shuffled, [2, 2, 2]), (stream(tasks=2, first=4), [4, 2])):
        method = Memo(network, DATA.image_shape, sizes, given.seed, given, OPTIONS, EXEMPLARS, "one")
        for task in given:
            method.learn(task)
        assert accuracy(method) > 0.8


def test_a_stream_of_one_pass_is_refused():
    with pytest.raises(StreamError, match=r"one pass.*open it with more passes"):
        learned("finetune", passes=1)


def test_learning_follows_the_seed_and_leaves_torch_s_own_generator_alone():
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    one, other = (learned("memo", upto=2, seed=seed) for seed in (0, 1))
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(6)
    again = learned("memo", upto=2)
    assert same(one.net.state_dict(), again.net.state_dict())
    assert not torch.equal(one.net.head.weight, other.net.head.weight)


def test_half_precision_learns_and_keeps_single_precision():
    method = learned("memo", options=OPTIONS.model_copy(update={"precision": "bfloat16"}))
    assert accuracy(method) > 0.8
    assert {tensor.dtype for tensor in method.net.state_dict().values()} == {torch.float32, torch.int64}
    assert method.scores(method.stream.prepare(method.stream.test)).dtype == torch.float32


# Interruptions


class Stopped(Exception):
    """A kill."""


def stopped(name, task, epoch):
    """State of a method that is killed after an epoch of a task, as read from a file; epoch 0.

    Before the task.
    """
    method, kept = new(name, options=SHORT), []

    def on_epoch():
        if (method.done, method.epoch) == (task, epoch):
            kept.append(round_trip(method.state()))
            raise Stopped

    try:
        for given in method.stream:
            if (given.index, epoch) == (task, 0):
                return round_trip(method.state())
            method.learn(given, on_epoch)
    except Stopped:
        return kept[0]
    return round_trip(method.state())


@pytest.mark.parametrize("task, epoch", [(0, 1), (1, 2), (2, 3), (1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize("name", METHODS)
def test_what_is_interrupted_ends_bit_for_bit_as_what_was_not(name, task, epoch):
    method = new(name, options=SHORT)
    method.load(stopped(name, task, epoch))
    assert (method.done, method.epoch) == (task, epoch)
    for given in list(method.stream)[method.done :]:
        method.learn(given)
    whole, images = finished(name, SHORT)[0], method.stream.prepare(method.stream.test)
    assert torch.equal(method.scores(images), whole.scores(images)) and same(
        method.net.state_dict(), whole.net.state_dict()
    )
    assert method.report == whole.report and method.memory() == whole.memory()
    assert all(same(one, other) for one, other in zip(method.grams, whole.grams, strict=True))
    assert all(
        torch.equal(one, other)
        for one, other in zip(method.exemplars.images, whole.exemplars.images, strict=True)
    )


def test_each_epoch_is_counted_and_the_last_one_is_told_too():
    method, seen = new("replay"), []
    for task in list(method.stream)[:2]:
        method.learn(task, lambda: seen.append((method.done, method.epoch)))
    assert (
        seen == [(task, epoch) for task in range(2) for epoch in range(1, EPOCHS + 1)] and method.epoch == 0
    )


# What a batch is made of


class Recorded:
    """Notes what every loss is asked of: images back as pixels, and labels."""

    def _loss(self, images, labels):
        mean, std = (
            255 * torch.tensor(part)[:, None, None] for part in (self.stream.data.mean, self.stream.data.std)
        )
        pixels = torch.round(images * std + mean).to(torch.uint8)
        self.__dict__.setdefault("seen", []).append((self.done, self.epoch, pixels, labels))
        return super()._loss(images, labels)


def recorded(name, **given):
    return new(name, type("Recorded", (Recorded, METHODS[name]), {}), **given)


def pairs(images, labels):
    """How often each image comes with each label."""
    return Counter(
        (image.numpy().tobytes(), label)
        for image, label in zip(images.contiguous(), labels.tolist(), strict=True)
    )


@pytest.mark.parametrize("name", ["finetune", "replay", "icarl", "memo", "joint"])
def test_an_epoch_has_every_new_image_and_every_stored_one_exactly_once(name):
    method, orders = recorded(name), set()
    tasks = list(method.stream)
    for task in tasks:
        new_images, new_labels = task.images()
        expected = pairs(new_images, new_labels + 2 * task.index)
        if name == "joint":
            old = [t.images() for t in tasks[: task.index]]
            expected += sum(
                (pairs(images, labels + 2 * t) for t, (images, labels) in enumerate(old)), Counter()
            )
        elif stored := method.exemplars.all():
            expected += pairs(*stored)
        method.learn(task)
        for epoch in range(EPOCHS):
            batches = [
                (pixels, labels)
                for done, at, pixels, labels in method.seen
                if (done, at) == (task.index, epoch)
            ]
            assert sum((pairs(*batch) for batch in batches), Counter()) == expected
            sizes = [len(labels) for _, labels in batches]
            assert max(sizes) <= OPTIONS.batch_size and max(sizes) - min(sizes) <= 1
            orders.add(b"".join(pixels.contiguous().numpy().tobytes() for pixels, _ in batches))
    assert len(orders) == 3 * EPOCHS  # each epoch has an order of its own


def test_stored_images_are_from_old_classes_and_have_their_labels():
    method = recorded("replay")
    tasks = list(method.stream)
    for task in tasks[:2]:
        method.learn(task)
    images, labels = method.exemplars.all()
    of_all = [pairs(found, given + 2 * t.index) for t in tasks[:2] for found, given in [t.images()]]
    assert Counter(labels.tolist()) == dict.fromkeys(range(4), EXEMPLARS // 4) and pairs(
        images, labels
    ) <= sum(of_all, Counter())


def test_training_images_are_augmented_and_stored_ones_are_not():
    plain, crops = recorded("replay"), recorded("replay", augmentation=Augmentation(crop=2, flip=True))
    first = pairs(*next(iter(crops.stream)).images())
    for method in (plain, crops):
        method.learn(next(iter(method.stream)))
    seen = [pairs(pixels, labels) for _, _, pixels, labels in crops.seen]
    assert sum((batch & first).total() for batch in seen) < 0.2 * sum(batch.total() for batch in seen)
    assert pairs(*crops.exemplars.all()) <= first


def test_draws_are_told_as_they_happen():
    method, told = new("replay"), []
    method.stream.on_draw = told.append
    for task in list(method.stream)[:2]:
        method.learn(task)
    assert sum(told) == EPOCHS * (80 + 80 + EXEMPLARS)


# Exemplars and answers


def test_quotas_shrink_as_classes_come_and_old_lists_keep_their_head():
    method, kept = new("icarl"), []
    for task in method.stream:
        method.learn(task)
        kept.append([images.clone() for images in method.exemplars.images])
    assert [[len(images) for images in stored] for stored in kept] == [[15] * 2, [7] * 4, [5] * 6]
    for before, after in zip(kept, kept[1:], strict=False):
        assert all(torch.equal(short, long[: len(short)]) for long, short in zip(before, after, strict=False))


def plain(image_shape):
    """Pixels are features."""
    return nn.Sequential(OrderedDict(one=nn.Flatten(), two=nn.Linear(2, 2, bias=False)))


def test_icarl_answers_with_the_nearest_mean_of_normalised_features():
    images, labels = np.zeros((4, 1, 2), dtype=np.uint8), [0, 0, 1, 1]
    data = Dataset.from_arrays(images, labels, images, labels, mean=[0.0], std=[1.0])  # not normalised
    method = Icarl(plain, (1, 1, 2), [2], 0, Stream(data, class_order(data, 1, 0), 0, passes=9), OPTIONS, 4)
    method.done = 1
    method.net.specialised.two.weight.data = torch.eye(2)
    # Class 0 has one bright and one dark image: as they are, their mean points up, and normalised it points
    # between them.
    method.exemplars.images = [pixels([10, 0], [0, 200]), pixels([0, 100])]
    queries = torch.tensor([[60.0, 255], [100, 110], [1, 1], [200, 10]]).reshape(4, 1, 1, 2)
    found = method.scores(queries)
    up, middle = torch.tensor([0.0, 1]), torch.tensor([0.5, 0.5]) ** 0.5
    unit = F.normalize(queries.flatten(1), dim=1)
    torch.testing.assert_close(
        found, -torch.stack([(unit - middle).square().sum(1), (unit - up).square().sum(1)], 1)
    )
    assert found.argmax(1).tolist() == [
        1,
        0,
        0,
        0,
    ]  # without normalising, the first image would be of class 0


def pixels(*rows):
    return torch.tensor(rows, dtype=torch.uint8).reshape(len(rows), 1, 1, 2)


# Losses


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_distillation_is_least_and_flat_where_the_pupil_is_its_teacher():
    teacher = torch.randn(5, 4, generator=generator(), dtype=torch.float64)
    for shift in (0.0, 3.0):  # a constant is nothing to a softmax
        pupil = torch.cat(
            [teacher + shift, torch.randn(5, 2, generator=generator(1), dtype=torch.float64)], 1
        ).requires_grad_()
        least = distillation(pupil, teacher)
        least.backward()
        assert pupil.grad.abs().max() < 1e-12
        for seed in range(5):
            assert (
                distillation(
                    pupil + 0.3 * torch.randn(5, 6, generator=generator(seed), dtype=torch.float64), teacher
                )
                > least
            )
    soft = F.softmax(teacher / 2, 1)
    torch.testing.assert_close(
        least, -(soft * soft.log()).sum(1).mean()
    )  # the entropy of answers at temperature 2


def test_new_logits_have_no_part_in_distillation():
    teacher, pupil = torch.randn(3, 2, generator=generator()), torch.randn(3, 5, generator=generator(1))
    changed = pupil.clone()
    changed[:, 2:] += 10
    assert torch.equal(distillation(pupil, teacher), distillation(changed, teacher))


@pytest.mark.parametrize("name, share", [("wa", 3 / 4), ("icarl", None)])
def test_wa_weighs_by_the_share_of_old_classes_and_icarl_adds(name, share):
    taught, logits, loss = (
        torch.randn(2, 3, generator=generator()),
        torch.randn(2, 4, generator=generator(1)),
        torch.tensor(5.0),
    )
    found, distilled = new(name)._distilled(loss, logits, taught), distillation(logits, taught)
    torch.testing.assert_close(
        found, loss + distilled if share is None else (1 - share) * loss + share * distilled
    )


def test_the_teacher_is_the_network_before_the_task_and_is_never_changed():
    method = new("wa")
    first, second = list(method.stream)[:2]
    method.learn(first)
    assert method.teacher is None  # the first task has none
    before, head = copied(method.net), method.net.head.out_features
    method.learn(second, lambda: torch.testing.assert_close(copied(method.teacher), before, rtol=0, atol=0))
    assert method.teacher.head.out_features == head == 2 and same(method.teacher.state_dict(), before)
    assert not any(p.requires_grad for p in method.teacher.parameters()) and not method.teacher.training


class Fake(nn.Module):
    """Features that are given; an auxiliary head over the newest ones."""

    def __init__(self, features, size, classes, auxiliary):
        super().__init__()
        self.given, self.size = features, size
        self.head = nn.Linear(features.shape[1], classes)
        self.auxiliary = nn.Linear(size, auxiliary)

    def features(self, images):
        return self.given


def test_memo_tells_its_new_classes_from_all_old_ones_by_its_newest_features_only():
    method = new("memo")
    method.sizes, method.done = [2, 3], 1
    labels, targets = torch.tensor([0, 1, 2, 3, 4]), torch.tensor([0, 0, 1, 2, 3])
    net = method.net = Fake(torch.randn(5, 7, generator=generator()), size=4, classes=5, auxiliary=4)
    expected = F.cross_entropy(net.head(net.given), labels) + 1.0 * F.cross_entropy(
        net.auxiliary(net.given[:, 3:]), targets
    )
    torch.testing.assert_close(method._loss(torch.zeros(5), labels), expected)
    net.auxiliary = None  # the first task
    torch.testing.assert_close(
        method._loss(torch.zeros(5), labels), F.cross_entropy(net.head(net.given), labels)
    )


# Growing


def grown(freeze_shared=False):
    """A network with two tasks' blocks, the first as trained, and its states before the second came."""
    parts = split.build(network, (1, 6, 6), 0, "one")
    net = GrowingNet(parts)
    net.widen(2, freeze_shared)
    net.train()
    for _ in range(3):
        net(torch.randn(8, 1, 6, 6, generator=generator())).square().sum().backward()  # statistics move
        with torch.no_grad():
            for p in net.parameters():
                p -= 0.01 * p.grad
                p.grad = None
    before = copied(net.generalized), copied(net.specialised[0]), copied(net.head)
    net.widen(3, freeze_shared)
    return net, before


def test_a_new_block_begins_as_a_copy_of_the_newest_and_is_its_own():
    net, (_, first, _) = grown()
    assert same(copied(net.specialised[1]), first)
    with torch.no_grad():
        for p in net.specialised[1].parameters():
            p += 1
    assert same(copied(net.specialised[0]), first)
    second = copied(net.specialised[1])
    net.widen(1, freeze_shared=False)
    assert same(copied(net.specialised[2]), second) and not same(
        second, first
    )  # of the newest, not of the first


def test_the_head_keeps_old_rows_times_old_columns_and_old_biases():
    net, (_, _, head) = grown()
    assert net.head.weight.shape == (5, 2 * FEATURES)
    assert torch.equal(net.head.weight[:2, :FEATURES], head["weight"]) and torch.equal(
        net.head.bias[:2], head["bias"]
    )
    fresh = torch.cat(
        [net.head.weight[:2, FEATURES:].flatten(), net.head.weight[2:].flatten(), net.head.bias[2:]]
    )
    assert (
        len(set(fresh.tolist())) == len(fresh) and fresh.abs().max() <= (2 * FEATURES) ** -0.5
    )  # as torch draws a new layer
    assert (net.auxiliary.in_features, net.auxiliary.out_features) == (FEATURES, 4)


def test_a_head_that_only_gains_rows_keeps_all_of_the_old_one():
    old = nn.Linear(3, 2)
    found = widened(old, 3, 5)
    assert (
        torch.equal(found.weight[:2], old.weight)
        and torch.equal(found.bias[:2], old.bias)
        and found.weight.shape == (5, 3)
    )
    assert widened(None, 3, 2).weight.shape == (2, 3)


@pytest.mark.parametrize("freeze", [False, True])
def test_old_blocks_are_frozen_and_shared_ones_by_choice(freeze):
    net, _ = grown(freeze)
    trained = {name for name, p in net.named_parameters() if p.requires_grad}
    assert {name.split(".")[0] for name in trained} == {"specialised", "head", "auxiliary"} | (
        {"generalized"} if not freeze else set()
    )
    assert not any(name.startswith("specialised.0") for name in trained)
    net.training_mode()
    frozen = [net.specialised[0]] + [net.generalized] * freeze
    assert not any(module.training for part in frozen for module in part.modules())
    assert (
        all(module.training for module in net.specialised[1].modules()) and net.generalized.training != freeze
    )


@pytest.mark.parametrize("shared", ["trained", "frozen"])
def test_what_is_frozen_stays_bit_for_bit_while_later_tasks_are_learned(shared):
    method, kept = new("memo", options=OPTIONS.model_copy(update={"shared_blocks": shared})), []
    for task in method.stream:
        method.learn(task)
        for t, block in enumerate(kept):  # statistics of BatchNorm are among them
            assert same(copied(method.net.specialised[t]), block)
        kept.append(copied(method.net.specialised[-1]))
        if task.index == 0:
            generalized = copied(method.net.generalized)
        assert method.net.auxiliary is None
    assert same(copied(method.net.generalized), generalized) == (shared == "frozen")
    for later in method.report[1:]:
        assert list(later) == (["one"] if shared == "trained" else []) + ["two"]
    assert not any(same(a, b) for a, b in zip(kept, kept[1:], strict=False))


def test_der_shares_nothing_and_memo_what_it_is_told_to():
    der, memo = (finished(name)[0].net for name in ("der", "memo"))
    assert not list(der.generalized.parameters()) and split.parameters(der.specialised) == 3 * (ONE + TWO)
    assert (split.parameters(memo.generalized), split.parameters(memo.specialised)) == (ONE, 3 * TWO)
    assert [list(net.newest_blocks()) for net in (der, memo)] == [["one", "two", "pool"]] * 2
    for net in (der, memo):
        own = net.specialised[2]
        assert not {id(p) for p in own.parameters()} & {
            id(p) for part in net.specialised[:2] for p in part.parameters()
        }


# Aligning


def norms(head):
    return head.weight.detach().norm(dim=1)


@pytest.mark.parametrize("factor", [0.2, 5.0])
def test_aligning_makes_mean_norms_equal_and_leaves_directions_and_old_rows(factor):
    head = nn.Linear(6, 5)
    with torch.no_grad():
        head.weight[3:] *= factor
    before, biases = head.weight.detach().clone(), head.bias.detach().clone()
    align(head, 2)
    torch.testing.assert_close(norms(head)[:3].mean(), norms(head)[3:].mean())
    assert torch.equal(head.weight[:3], before[:3]) and torch.equal(head.bias, biases)
    ratios = head.weight[3:] / before[3:]
    torch.testing.assert_close(
        ratios, torch.full_like(ratios, ratios[0, 0].item())
    )  # one factor for all new rows


@pytest.mark.parametrize("factor", [0.2, 5.0])
def test_shrinking_never_lengthens_a_row(factor):
    head = nn.Linear(6, 5)
    with torch.no_grad():
        head.weight[3:] *= factor
    before = head.weight.detach().clone()
    align(head, 2, longest=1.0)
    if factor < 1:
        assert torch.equal(head.weight, before)
    else:
        torch.testing.assert_close(norms(head)[:3].mean(), norms(head)[3:].mean())
        assert (norms(head)[3:] < before.norm(dim=1)[3:]).all()


@pytest.mark.parametrize("aligning", ["published", "shrink"])
@pytest.mark.parametrize("name", METHODS)
def test_only_wa_memo_and_der_are_aligned_and_not_after_the_first_task(name, aligning, monkeypatch):
    called = []
    monkeypatch.setattr(
        offline, "align", lambda head, new, longest: called.append((head.out_features, new, longest))
    )
    learned(name, options=OPTIONS.model_copy(update={"epochs": 1, "aligning": aligning}))
    longest = 1.0 if aligning == "shrink" else torch.inf
    assert called == ([(4, 2, longest), (6, 2, longest)] if name in ("wa", "memo", "der") else [])


# The account

HEAD, GROWN_HEAD = 4 * (6 * FEATURES + 6), 4 * (6 * 3 * FEATURES + 6)
BUFFERS = {"one": 4 * 2 * 6 + 8, "two": 4 * 2 * 8 + 8}  # running mean and variance, and a counter of 8 bytes
STORED = {"exemplars": EXEMPLARS * 36, "labels": EXEMPLARS * 8}
SINGLE = {"networks": 4 * (ONE + TWO), "buffers": sum(BUFFERS.values()), "heads": HEAD, "teacher": 0}
COUNTED = {
    "finetune": SINGLE | {"exemplars": 0, "labels": 0},
    "replay": SINGLE | STORED,
    "icarl": SINGLE | STORED | {"teacher": 4 * (ONE + TWO) + sum(BUFFERS.values()) + HEAD},
    "memo": SINGLE
    | STORED
    | {"networks": 4 * (ONE + 3 * TWO), "buffers": BUFFERS["one"] + 3 * BUFFERS["two"], "heads": GROWN_HEAD},
    "der": SINGLE
    | STORED
    | {"networks": 4 * 3 * (ONE + TWO), "buffers": 3 * sum(BUFFERS.values()), "heads": GROWN_HEAD},
    "joint": SINGLE | {"exemplars": 240 * 36, "labels": 240 * 8},
}


@pytest.mark.parametrize("name", COUNTED)
def test_every_byte_is_counted(name):
    method = finished(name)[0]
    assert method.memory() == COUNTED[name]
    assert method.published_memory() == {part: COUNTED[name][part] for part in ("networks", "exemplars")}
    assert all(type(size) is int for size in method.memory().values())  # for result.json


@pytest.mark.parametrize("name", ["replay", "icarl", "wa", "memo", "der"])
def test_what_the_account_plans_is_what_the_methods_take(name):
    costs = Costs(Size(ONE, TWO), BUFFERS["one"], BUFFERS["two"], FEATURES)
    method = new(name, options=SHORT)
    for task in method.stream:
        method.learn(task)
        planned = counted_bytes(
            METHODS[name].growth, costs, task.index + 1, 2 * (task.index + 1), distils=METHODS[name].distils
        )
        taken = {part: size for part, size in method.memory().items() if part in planned}
        assert planned == taken


def test_a_teacher_is_counted_from_the_second_task_on_and_images_as_they_come():
    method, joint, found, kept = new("icarl", options=SHORT), new("joint", options=SHORT), [], []
    for task, again in zip(method.stream, joint.stream, strict=True):
        method.learn(task)
        joint.learn(again)
        found.append(method.memory())
        kept.append(joint.memory()["exemplars"])
    assert [memory["exemplars"] for memory in found] == [30 * 36, 28 * 36, 30 * 36]  # of four classes, 7 each
    heads = [4 * (classes * FEATURES + classes) for classes in (2, 4, 6)]
    assert [memory["teacher"] for memory in found] == [0] + [
        4 * (ONE + TWO) + sum(BUFFERS.values()) + head for head in heads[1:]
    ]
    assert kept == [80 * 36, 160 * 36, 240 * 36]


# What is noted by depth


def test_every_task_is_noted_by_block():
    for name in ("finetune", "memo", "der"):
        method = finished(name)[0]
        assert [list(task) for task in method.report] == [["one", "two"]] * 3
        assert all(
            0 < value < np.inf
            for task in method.report
            for block in task.values()
            for value in block.values()
        )
        assert [list(grams) for grams in method.grams] == [["one", "two", "pool"]] * 3
        assert all(
            matrix.shape == (len(DATA.x_test),) * 2 for grams in method.grams for matrix in grams.values()
        )


def test_wa_answers_with_its_head_and_icarl_does_not():
    for name, equal in (("wa", True), ("icarl", False)):
        method = finished(name)[0]
        images = method.stream.prepare(method.stream.test)
        method.net.eval()
        with torch.no_grad():
            assert torch.allclose(method.scores(images), method.net(images)) == equal
