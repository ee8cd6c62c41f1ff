"""The online methods: what each loss is, what a buffer keeps, that one pass is one pass, and that a resumed
method is the same method."""

import copy
import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import separable
from pydantic import ValidationError

import focil
from focil.data.images import Augmentation
from focil.data.stream import StreamError, class_order
from focil.evaluation import protocols
from focil.online import networks
from focil.online.agem import Agem
from focil.online.buffer import Buffer, BufferError
from focil.online.ncm import Sums
from focil.online.onpro import confusion, prototype_loss
from focil.online.scr import contrastive
from focil.online.table import ONLINE
from focil.search import DivergedError

TASKS, CLASSES = 3, 2
STORED = 30
TRAINED = [name for name, method in ONLINE.items() if "lr" in method.options_of.model_fields]
SMALL = {"exemplars": STORED, "memory_batch": 10, "lr": 0.1, "epochs": 10, "features": 60}


def stream(seed=0, **options):
    data = separable()
    return focil.Stream(data, class_order(data, TASKS, seed), seed, **options)


def made(name, given=None, seed=0, **options):
    """A method of the table with small options, as far as it has them."""
    kind, given = ONLINE[name], given or stream(seed)
    fields = kind.options_of.model_fields
    values = {key: value for key, value in SMALL.items() if key in fields} | options
    return kind(given.data.image_shape, TASKS, CLASSES, seed, given, kind.options_of(**values))


def taught(name, tasks=TASKS, **options):
    method = made(name, **options)
    for task in itertools.islice(method.stream, tasks):
        method.learn(task)
    return method


def accuracy(method):
    """(oracle, sample) on the test images."""
    s = method.stream
    (given,) = method.evidence(s.prepare(s.test)).values()
    task, label = s.test_task(), s.test_label()
    _, known = protocols.oracle(given, task)
    found, answered = protocols.sample(given)
    return (known == label).mean(), ((found == task) & (answered == label)).mean()


def equal(one, other):
    """Whether two states hold the same numbers."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return one == other


def dice(seed=0):
    return torch.Generator().manual_seed(seed)


# All methods


@pytest.mark.parametrize("name", ONLINE)
def test_every_method_learns_and_draws_each_image_once(name):
    method = taught(name)
    oracle, sample = accuracy(method)
    assert oracle > 0.7, oracle  # chance: 0.5
    if name not in ("finetune", "a-gem"):
        assert sample > 0.4, sample  # chance: 1/6, the last task alone: 1/3
    assert [entry["draws_per_sample"] for entry in method.report] == [1] * TASKS


@pytest.mark.parametrize("name", ONLINE)
def test_a_method_that_is_loaded_goes_on_with_the_same_numbers(name, tmp_path):
    whole = made(name)
    tasks = list(whole.stream)
    whole.learn(tasks[0])
    torch.save(whole.state(), tmp_path / "state.pt")
    for task in tasks[1:]:
        whole.learn(task)
    loaded = made(name)
    loaded.load(torch.load(tmp_path / "state.pt", weights_only=True))
    for task in list(loaded.stream)[1:]:
        loaded.learn(task)
    assert equal(whole.state(), loaded.state())
    images = whole.stream.prepare(whole.stream.test)
    assert torch.equal(whole.scores(images), loaded.scores(images))


def test_sums_go_to_the_device_that_they_are_loaded_on():
    elsewhere = Sums(4, 2, torch.device("meta"))
    elsewhere.load(Sums(4, 2, torch.device("cpu")).state())
    assert elsewhere.sums.device.type == elsewhere.counts.device.type == "meta"


@pytest.mark.parametrize("name", ONLINE)
def test_memory_is_what_must_be_kept(name):
    method = taught(name)
    tensors = []

    def gather(part):
        if isinstance(part, torch.Tensor):
            tensors.append(part)
        elif isinstance(part, dict | list | tuple):
            for value in part.values() if isinstance(part, dict) else part:
                gather(value)

    gather(method.state())
    assert sum(tensor.nbytes for tensor in tensors) == sum(method.memory().values())


@pytest.mark.parametrize("name", ONLINE)
def test_the_seed_decides_and_torchs_own_generator_does_not(name):
    torch.manual_seed(1)
    first = taught(name, 2)
    torch.manual_seed(2)
    before = torch.get_rng_state()
    assert equal(first.state(), taught(name, 2).state())
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("name", ONLINE)
def test_unknown_options_are_refused(name):
    with pytest.raises(ValidationError):
        made(name, sparsity=0.9)


@pytest.mark.parametrize("name", sorted(set(TRAINED) - {"gdumb"}))  # it takes no step on the stream
def test_more_steps_pass_more_images_and_draw_no_more(name):
    once, thrice = taught(name, 1), taught(name, 1, steps=3)
    assert thrice.report[0]["draws_per_sample"] == 1
    # Memory is empty at the first step.
    assert 2.9 < thrice.report[0]["passes"] / once.report[0]["passes"] < 3.2


@pytest.mark.parametrize("name", ["er", "scr", "finetune"])
def test_networks_with_batch_normalisation_learn_in_bfloat16(name):
    method = taught(name, 1, network="resnet18-slim", precision="bfloat16")
    assert torch.isfinite(method.scores(method.stream.prepare(method.stream.test))[:, :CLASSES]).all()


def test_a_rate_that_is_too_high_is_explained():
    with pytest.raises(focil.FocilError, match="ER diverged.*lower online.lr"):
        taught("er", lr=900.0)


# The stream


def test_raw_batches_are_those_of_the_pass_before_augmentation():
    given, same = stream(), stream()
    for task, other in zip(given, same, strict=True):
        for (raw, labels), (prepared, answers) in zip(task.raw_batches(), other.batches(), strict=True):
            assert raw.dtype == torch.uint8 and torch.equal(labels, answers)
            assert torch.equal(given.prepare(raw), prepared)
        assert torch.equal(task.held()[0], other.held()[0]) and task.draws == other.draws
        with pytest.raises(StreamError):
            task.raw_batches()


def test_a_mixed_pass_holds_every_image_once_and_uses_the_tasks_up():
    given = stream()
    drawn = list(given.mixed_batches())
    labels = torch.cat([part for _, part in drawn])
    counts = np.bincount(given.data.y_train)
    assert torch.bincount(labels).tolist() == counts[np.concatenate(given.order)].tolist()
    assert len(torch.cat([images for images, _ in drawn]).flatten(1).unique(dim=0)) == len(given.train)
    assert [task.draws_per_sample for task in given] == [1] * TASKS
    assert len(labels[:20].unique()) > CLASSES  # tasks are mixed
    with pytest.raises(StreamError):
        next(iter(given)).batches()


def test_a_mixed_pass_over_the_first_tasks_holds_none_of_the_others():
    given, whole = stream(first=2), stream()
    labels = torch.cat([part for _, part in given.mixed_batches()])
    assert sorted(labels.unique().tolist()) == list(range(2 * CLASSES))
    everything = torch.cat([part for _, part in whole.mixed_batches()])
    assert labels.tolist() == everything[everything < 2 * CLASSES].tolist()
    assert [task.draws_per_sample for task in given] == [1, 1]
    assert len(list(stream(first=TASKS + 1))) == TASKS


# The buffer


def numbered(count, first=0):
    """Images that say which they are."""
    return torch.arange(first, first + count, dtype=torch.uint8).view(-1, 1, 1, 1)


def offered(rule, labels, size, seed=0):
    buffer = Buffer(size, 4, 1000, (1, 1, 1), rule=rule)
    buffer.add(numbered(len(labels)), torch.tensor(labels), dice(seed))
    return buffer


def test_a_reservoir_keeps_every_image_with_the_same_probability():
    kept = torch.zeros(60)
    for seed in range(600):
        kept[offered("reservoir", [0] * 60, 12, seed).all().images.flatten().long()] += 1
    expected = 600 * 12 / 60
    chi_square = ((kept - expected).square() / (expected * (1 - 12 / 60))).sum()
    assert chi_square < 110  # 59 degrees of freedom: 0.9999


def test_a_balanced_buffer_keeps_as_many_of_each_class():
    buffer = offered("balanced", [0] * 50 + [1] * 30 + [2] * 20 + [3] * 2, 20)
    assert buffer.counts.tolist() == [6, 6, 6, 2]  # all there are of the last
    assert torch.bincount(buffer.all().labels, minlength=4).tolist() == buffer.counts.tolist()


@pytest.mark.parametrize("rule", ["reservoir", "balanced"])
def test_images_keep_their_labels_and_what_lies_beside_them(rule):
    buffer = Buffer(10, 4, 1000, (1, 1, 1), rule=rule, beside=3)
    for start in range(0, 80, 8):
        labels = torch.arange(start, start + 8) % 4
        beside = torch.arange(start, start + 8)[:, None] * torch.tensor([1.0, 10.0, 100.0])
        buffer.add(numbered(8, start), labels, dice(start), beside)
    for stored in (buffer.all(), buffer.draw(5, dice(1))):
        which = stored.images.flatten().long()
        assert len(which.unique()) == len(which) and torch.equal(stored.labels, which % 4)
        assert torch.equal(stored.beside, which[:, None] * torch.tensor([1.0, 10.0, 100.0]))
    assert len(buffer) == 10 and len(buffer.draw(50, dice()).labels) == 10
    assert sum(buffer.nbytes.values()) == 10 * (1 + 8 + 3 * 4)


def test_an_empty_buffer_gives_nothing():
    assert Buffer(4, 4, 10, (1, 1, 1)).draw(3, dice()) is None


@pytest.mark.parametrize(("size", "said"), [(3, "fewer than one for each of 4"), (11, "more than the 10")])
def test_buffers_that_cannot_be_are_refused(size, said):
    with pytest.raises(BufferError, match=said):
        Buffer(size, 4, 10, (1, 1, 1))


# Losses


def loaded_with(name, **options):
    """A method after one task, and a batch of the next: prepared images, labels, and what was drawn."""
    method = taught(name, 1, **options)
    method._throw_dice(1)
    images, labels = next(list(method.stream)[1].raw_batches())
    labels = labels + CLASSES
    return method, method.stream.prepare(images), labels, method.buffer.draw(8, dice(3))


def logits_of(method, images):
    method.net.train()
    return method.net(images)


def test_er_is_the_cross_entropy_of_both_batches():
    method, images, labels, stored = loaded_with("er")
    both = torch.cat([images, method.stream.prepare(stored.images)])
    expected = F.cross_entropy(logits_of(method, both), torch.cat([labels, stored.labels]))
    torch.testing.assert_close(method._loss(images, labels, stored), expected)


def test_er_ace_lets_new_images_compete_with_their_own_classes_only():
    method, images, labels, stored = loaded_with("er-ace")
    new, old = logits_of(method, images), logits_of(method, method.stream.prepare(stored.images))
    expected = F.cross_entropy(new[:, 2:4], labels - 2) + F.cross_entropy(old[:, :4], stored.labels)
    torch.testing.assert_close(method._loss(images, labels, stored), expected)


def test_derpp_pulls_to_the_stored_logits_and_labels():
    method, images, labels, _ = loaded_with("der++", alpha=0.3, beta=0.7)
    stored = method._drawn(images, labels)
    half = method._first_draw
    new, old = logits_of(method, images), logits_of(method, method.stream.prepare(stored.images))
    expected = (
        F.cross_entropy(new, labels)
        + 0.3 * (old[:half] - stored.beside[:half]).square().mean()
        + 0.7 * F.cross_entropy(old[half:], stored.labels[half:])
    )
    torch.testing.assert_close(method._loss(images, labels, stored), expected)
    assert method.buffer.beside.abs().sum() > 0


def test_agem_takes_away_what_points_against_the_stored_images():
    method = Agem.__new__(Agem)
    method.net = torch.nn.Linear(2, 1, bias=False)
    before = method.net.weight.detach().clone()
    method.rate = 1.0
    for gradient, against, moved in (
        ([1.0, -1.0], [0.0, 2.0], [1.0, 0.0]),  # the second part points against it
        ([1.0, 1.0], [0.0, 2.0], [1.0, 1.0]),  # nothing does
    ):
        method.net.weight.data.copy_(before)
        method._against = [torch.tensor([against])]
        method._descend([method.net.weight], [torch.tensor([gradient])])
        torch.testing.assert_close(before - method.net.weight.detach(), torch.tensor([moved]))


def test_mir_draws_those_whose_loss_would_rise_most():
    method, _, _, _ = loaded_with("mir", memory_batch=5, candidates=STORED)
    raw, labels = next(stream_of_task(1))
    before = copy.deepcopy(method.net.state_dict())
    found = method._drawn(raw, labels + CLASSES)
    assert equal(method.net.state_dict(), before)  # the step was not taken
    stored = method.buffer.all()

    def losses():
        method.net.eval()
        return F.cross_entropy(
            method.net(method.stream.prepare(stored.images)), stored.labels, reduction="none"
        )

    then = losses()
    method.net.train()
    optimiser = torch.optim.SGD(method.net.parameters(), lr=method.options.lr)
    F.cross_entropy(method.net(method.stream.prepare(raw)), labels + CLASSES).backward()
    optimiser.step()
    rise = losses() - then
    order = rise.argsort(descending=True)[:5]
    assert sorted(map(tuple, stored.images[order].flatten(1).tolist())) == sorted(
        map(tuple, found.images.flatten(1).tolist())
    )


def stream_of_task(index):
    return list(stream())[index].raw_batches()


def test_the_contrastive_loss_is_its_definition():
    vectors = F.normalize(torch.randn(7, 5, generator=dice()), dim=1)
    labels = torch.tensor([0, 0, 1, 1, 1, 2, 0])
    expected = []
    for i in range(7):
        others = [j for j in range(7) if j != i]
        shares = torch.softmax(torch.stack([vectors[i] @ vectors[j] / 0.2 for j in others]), 0)
        same = [k for k, j in enumerate(others) if labels[j] == labels[i]]
        expected.append(-shares[same].log().mean() if same else torch.tensor(0.0))
    torch.testing.assert_close(contrastive(vectors, labels, 0.2), torch.stack(expected).mean())


def test_prototypes_are_pulled_to_their_second_view_and_away_from_others():
    one, other = (F.normalize(torch.randn(5, 4, generator=dice(k)), dim=1) for k in (1, 2))
    labels = torch.tensor([3, 0, 3, 7, 0])
    means = [
        F.normalize(torch.stack([view[labels == c].mean(0) for c in (0, 3, 7)]), dim=1)
        for view in (one, other)
    ]
    both, expected = torch.cat(means), []
    for i in range(6):
        others = [j for j in range(6) if j != i]
        shares = torch.softmax(torch.stack([both[i] @ both[j] / 0.5 for j in others]), 0)
        expected.append(-shares[others.index((i + 3) % 6)].log())
    torch.testing.assert_close(prototype_loss(one, other, labels, 0.5), torch.stack(expected).mean())


def test_images_of_close_classes_are_mixed_most():
    vectors = torch.tensor([[0.0, 0.0], [0.0, 0.2], [1.0, 0.0], [0.0, 0.0]])
    labels = torch.tensor([0, 1, 2, 0])
    chance = confusion(vectors, labels)
    assert chance.sum() == pytest.approx(1) and (chance[labels[:, None] == labels] == 0).all()
    assert chance[0, 1] > 10 * chance[0, 2] and chance[0, 1] == chance[3, 1]


def test_onpro_mixes_the_share_that_is_asked_for():
    method = taught("onpro", 1, mixed=0.5)
    method._throw_dice(1)
    stored = method.buffer.draw(8, dice(3))
    images = method.stream.prepare(stored.images)
    mixed, first, second, share = method._mix(images, stored.labels, images.flatten(1))
    assert (share > 0).sum() == 4 and torch.equal(mixed[:4], images[:4])
    assert (first[4:] != second[4:]).all() and torch.equal(first[:4], stored.labels[:4])
    one_class = torch.zeros(8, dtype=torch.long)
    assert torch.equal(method._mix(images, one_class, images.flatten(1))[0], images)


def test_onpro_says_that_it_diverged_before_it_draws_by_what_is_no_number():
    method = taught("onpro", 1)
    images, labels = torch.zeros(4, *method.image_shape), torch.tensor([0, 0, 1, 1])
    with pytest.raises(DivergedError, match="OnPro diverged in task 1.*lower online.lr"):
        method._mix(images, labels, torch.full((4, 3), torch.nan))


def test_a_last_step_that_diverges_is_noticed_though_no_loss_comes_after_it():
    method = made("finetune", stream(batch_size=1000))
    step = method._descend

    def too_far(parameters, gradients):
        step(parameters, gradients)
        parameters[0].data.fill_(torch.inf)

    method._descend = too_far
    with pytest.raises(DivergedError, match="finetune diverged in task 0.*not finite"):
        method.learn(next(iter(method.stream)))


@pytest.mark.parametrize(
    "name, wrong",
    [
        ("slda", {"ridge": float("inf")}),
        ("randumb", {"gamma": float("inf")}),
        ("randumb", {"features": 10**9}),
        ("er", {"memory_batch": 10**6}),
        ("gdumb", {"steps": 3}),
    ],
)
def test_options_that_no_machine_can_follow_or_that_nothing_reads_are_refused(name, wrong):
    options = ONLINE[name].options_of
    given = {"exemplars": 20} if "exemplars" in options.model_fields else {}
    options(**given)
    with pytest.raises(ValidationError):
        options(**given | wrong)


def test_gdumb_begins_anew_with_every_task():
    given = stream()
    method, tasks = made("gdumb", given), list(given)
    for task in tasks[:2]:
        method.learn(task)
    other = made("gdumb", stream())
    other.load(method.state() | {"net": networks.build("mlp", given.data.image_shape, 6, 9).state_dict()})
    method.learn(tasks[2])
    other.learn(list(other.stream)[2])
    assert equal(method.state(), other.state())  # what it had learned before does not matter


def test_scr_answers_with_the_nearest_mean_of_what_is_stored():
    method = taught("scr", 2)
    images = method.stream.prepare(method.stream.test)[:20]
    scores = method.scores(images)
    assert torch.isinf(scores[:, 4:]).all() and torch.isfinite(scores[:, :4]).all()
    kept = method.buffer.all()
    features = F.normalize(method.net.body(method.stream.prepare(kept.images)), dim=1)
    mean = F.normalize(features[kept.labels == 1].mean(0), dim=0)
    mine = F.normalize(method.net.body(images), dim=1)
    torch.testing.assert_close(scores[:, 1], -(mine - mean).square().sum(1), rtol=1e-3, atol=1e-3)


def test_augmented_streams_store_images_as_they_came():
    given = stream(augmentation=Augmentation(crop=2, flip=True))
    method = made("er", given)
    method.learn(next(iter(given)))
    of_the_task = given.train.flatten(1).tolist()
    assert all(image in of_the_task for image in method.buffer.all().images.flatten(1).tolist())


@pytest.mark.parametrize("name", ["mlp", "resnet18-slim", "resnet18"])
def test_networks_have_the_seeds_weights_and_a_head_over_all_classes(name):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    one, other = networks.build(name, (3, 16, 16), 10, 4), networks.build(name, (3, 16, 16), 10, 4)
    assert torch.equal(before, torch.get_rng_state())
    assert equal(dict(one.state_dict()), dict(other.state_dict()))
    assert one.eval()(torch.randn(2, 3, 16, 16)).shape == (2, 10)


def test_the_slim_network_has_the_size_that_others_report():
    slim = networks.build("resnet18-slim", (3, 32, 32), 100, 0)
    assert sum(parameter.numel() for parameter in slim.parameters()) == pytest.approx(1.1e6, rel=0.01)
