"""The router: it keeps to its budget, learns from sums alone, and observes every training image once."""

import copy
from collections import Counter

import numpy as np
import pytest
import torch
from conftest import separable
from hypothesis import given, settings
from hypothesis import strategies as st

import focil
from focil.data.images import Augmentation
from focil.data.stream import class_order
from focil.evaluation import protocols
from focil.router import answers, patches, routed
from focil.router.discriminant import Discriminant, class_offsets, unpack
from focil.router.patches import Patches, Recipe
from focil.router.router import Router, RouterError


def offsets_of(router):
    """Score that each class has on average over the images of its task."""
    sums = router.discriminant
    return class_offsets(sums.sums, sums.counts, router.tasks, router.scores)


@pytest.fixture(autouse=True)
def fewer_patches(monkeypatch):
    """As many as the filters here need are drawn, not as many as are good for whitening."""
    monkeypatch.setattr(patches, "DRAWN", 4000)


def new(data=None, budget=50_000, tasks=3, **options):
    """A router for the shared separable images: three tasks of two classes."""
    data = data or separable()
    return Router(data.image_shape, tasks, data.num_classes // tasks, budget=budget, **options)


def lessons(data, tasks=3):
    """[(normalised images, task, labels inside it)] in natural class order.

    Each class's images in stored order.
    """
    stream = focil.Stream(data, class_order(data, tasks, 0), 0)
    images, classes = stream.prepare(stream.train), data.num_classes // tasks
    y = torch.tensor(data.y_train)
    return [(images[y // classes == t], t, y[y // classes == t] % classes) for t in range(tasks)]


def taught(data, order=(0, 1, 2), like=None, **options):
    """A router that has observed tasks in an order; like: a router whose filters it takes."""
    router = new(data, **options)
    if like:
        router.patches = like.patches
    for t in order:
        router.observe(*lessons(data)[t])
    return router


def tensors(router):
    """Every tensor that is kept, by name."""
    state = router.state()
    named = {
        f"{name}{i}": tensor
        for name in ("filters", "biases")
        for i, tensor in enumerate(state["patches"][name])
    }
    return named | {"centre": state["patches"]["centre"]} | state["discriminant"]


def assert_equal(one, other):
    one, other = tensors(one), tensors(other)
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


def second_moments(discriminant):
    return torch.stack([unpack(moments) for moments in discriminant.moments])


def assert_same_sums(one, other, features):
    """Equal up to rounding: a sum of n float32 products is off by at most n units of rounding of the sum
    of their sizes."""
    bound = (
        2 * len(features) * torch.finfo(torch.float32).eps * (features.abs().T @ features.abs()).max().item()
    )
    assert torch.equal(one.counts, other.counts)
    torch.testing.assert_close(one.sums, other.sums, rtol=0, atol=bound)
    torch.testing.assert_close(second_moments(one), second_moments(other), rtol=0, atol=bound)
    assert bound < 0.02 * one.moments.abs().max()  # else one image more or less would not be noticed


# Budget

SHAPES = st.sampled_from([(1, 2, 2), (1, 8, 8), (3, 5, 7), (1, 28, 28), (3, 32, 32)])


@settings(max_examples=25, deadline=None)
@given(SHAPES, st.integers(1, 20), st.integers(1, 5), st.integers(1, 3), st.floats(5, 6.7))
def test_the_budget_is_kept_and_two_more_filters_would_not_fit(shape, tasks, classes, cells, magnitude):
    budget = round(10**magnitude)
    router = Router(shape, tasks, classes, budget=budget, recipe=Recipe(cells=cells))
    images = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    router.observe(images, tasks - 1, torch.zeros(2, dtype=torch.int64))
    assert router.nbytes == sum(tensor.nbytes for tensor in tensors(router).values()) <= budget
    features = router.features(images).shape[1]
    more = features // router.filters * (router.filters + 2)
    wider = Patches.fit(images, router.filters + 2, Recipe(cells=cells), "float32", torch.Generator())
    assert wider.nbytes + Discriminant(more, tasks * classes, 0.01).nbytes > budget


@settings(max_examples=60, deadline=None)
@given(SHAPES, st.integers(1, 4), st.lists(st.integers(0, 4_000_000), min_size=2, max_size=2))
def test_a_larger_budget_never_gives_fewer_filters(shape, cells, budgets):
    few, many = (filters_for(shape, budget, cells) for budget in sorted(budgets))
    assert 0 <= few <= many and few % 2 == many % 2 == 0


def filters_for(shape, budget, cells):
    try:
        return Router(shape, 4, 5, budget=budget, recipe=Recipe(cells=cells)).filters
    except RouterError as error:
        assert "router_megabytes" in str(error) and "needs" in str(error)
        return 0


def test_a_budget_for_nothing_is_refused_with_what_it_takes(data):
    with pytest.raises(RouterError, match="needs (\\d+)") as refused:
        new(data, budget=100)
    needed = int(str(refused.value).split("needs ")[1].split()[0])
    assert new(data, budget=needed).filters == 2
    with pytest.raises(RouterError):
        new(data, budget=needed - 1)


def test_a_part_is_the_router_of_a_smaller_budget():
    data = separable()
    large = taught(data, budget=300_000)
    small, kept = large.part(large.filters // 4 * 2)
    direct = taught(data, budget=small.nbytes)
    assert direct.filters == small.filters < large.filters
    images = lessons(data)[1][0]
    torch.testing.assert_close(small.features(images), direct.features(images))
    torch.testing.assert_close(large.features(images)[:, kept], direct.features(images))
    whole, own = second_moments(small.discriminant), second_moments(direct.discriminant)
    torch.testing.assert_close(
        whole, own, rtol=1e-3, atol=1e-4 * own.abs().max().item()
    )  # features in float32, summed over the images


def test_a_budget_is_used_and_one_ten_times_as_large_too():
    routers = [taught(separable(), budget=budget) for budget in (30_000, 300_000)]
    assert routers[0].nbytes > 0.8 * 30_000 and routers[1].nbytes > 0.8 * 300_000


def test_before_the_first_image_only_sums_are_kept(data):
    router = new(data)
    assert router.nbytes == router.discriminant.nbytes and router.state()["patches"] is None


# Learning


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_it_finds_task_and_class_of_one_image_alone(seed, mirror):
    data = separable(seed=seed)
    router = taught(data, seed=seed, recipe=Recipe(mirror=mirror))
    stream = focil.Stream(data, class_order(data, 3, 0), 0)
    scores = router.scores(router.features(stream.prepare(stream.test))).numpy()
    task, label = protocols.sample(answers.router(scores, offsets_of(router).numpy()))
    assert (
        np.mean((task == stream.test_task()) & (label == stream.test_label())) > 0.8
    )  # of 60 images; chance is 1/6


def test_a_class_has_its_own_column(data):
    router = new(data)
    for images, task, labels in lessons(data)[1:]:
        router.observe(images[:7], task, labels[:7])  # classes in stored order: only the first of each task
    assert router.discriminant.counts.tolist() == [0, 0, 7, 0, 7, 0]
    images = lessons(data)[2][0][:7]
    scores = router.scores(router.features(images))
    assert scores.shape == (7, 3, 2) and (scores.flatten(1).argmax(dim=1) == 4).all()


def test_tasks_not_seen_score_minus_infinity_and_have_no_offsets(data):
    router = taught(data, order=(1,))
    scores, offsets = router.scores(router.features(lessons(data)[0][0])), offsets_of(router)
    assert scores.shape == (80, 3, 2) and offsets.shape == (3, 2)
    assert scores[:, 1].isfinite().all() and offsets[1].isfinite().all()
    assert (scores[:, [0, 2]] == -torch.inf).all() and offsets[[0, 2]].isnan().all()


def test_with_offsets_subtracted_the_classes_of_a_task_start_even():
    data = separable()
    router = taught(data)
    for images, task, _ in lessons(data):
        scores = router.scores(router.features(images))[:, task]
        rest = (scores - offsets_of(router)[task]).mean(dim=0)
        # float32 scores, whose features are summed in another order here
        assert rest.abs().max() < 1e-4 * scores.abs().max()
        assert scores.mean(dim=0).abs().max() > 1e-2 * scores.abs().max()  # without, they do not


def test_offsets_do_not_wait_for_other_tasks(data):
    router = taught(data, order=(0,))
    early = offsets_of(router)[0]
    router.observe(*lessons(data)[2])
    assert offsets_of(router)[0].isfinite().all() and not torch.equal(
        offsets_of(router)[0], early
    )  # one covariance for all
    assert offsets_of(router).isnan().all(dim=1).tolist() == [False, True, False]


def test_a_mirrored_image_scores_the_same_if_mirrored(data):
    images = lessons(data)[1][0]
    for mirror in (True, False):
        router = taught(data, recipe=Recipe(mirror=mirror))
        found, other = (router.scores(router.features(part)) for part in (images, images.flip(3)))
        assert torch.equal(found, other) == mirror


# Sums over the stream


def test_the_order_of_tasks_does_not_matter_once_the_patches_are_drawn(data):
    natural = taught(data)
    features = natural.features(torch.cat([images for images, _, _ in lessons(data)]))
    backwards = taught(data, order=(2, 0, 1), like=natural)
    assert_same_sums(natural.discriminant, backwards.discriminant, features)
    assert torch.equal(*(r.scores(features).flatten(1).argmax(dim=1) for r in (natural, backwards)))


def test_images_one_by_one_give_the_sums_of_all_at_once(data):
    whole = taught(data, order=(0, 1))
    single = new(data)
    single.patches = whole.patches
    for images, task, labels in lessons(data)[:2]:
        for i in range(len(images)):
            single.observe(images[i : i + 1], task, labels[i : i + 1])
    assert_same_sums(
        whole.discriminant,
        single.discriminant,
        whole.features(torch.cat([lesson[0] for lesson in lessons(data)])),
    )


def test_the_seed_draws_the_patches_and_nothing_else_does(data):
    first = taught(data, seed=3)
    torch.manual_seed(99)
    before = torch.get_rng_state()
    again = taught(data, seed=3)
    assert_equal(first, again)
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(first.patches.filters[0], taught(data, seed=4).patches.filters[0])


def test_patches_are_drawn_from_the_first_images_and_then_stay(data):
    router = taught(data, order=(0,))
    images = lessons(data)[2][0]
    early, features = copy.deepcopy(router.patches.state()), router.features(images)
    router.observe(*lessons(data)[1])
    router.observe(*lessons(data)[2])
    assert torch.equal(router.features(images), features)
    assert torch.equal(router.patches.filters[0], early["filters"][0]) and torch.equal(
        router.patches.centre, early["centre"]
    )


@pytest.mark.parametrize("known", [0, 1, 2, 3])
def test_a_resumed_router_equals_one_that_was_never_stopped(known, data):
    straight, before = new(data, recipe=Recipe(mirror=True)), new(data, recipe=Recipe(mirror=True))
    for lesson in lessons(data)[:known]:
        before.observe(*lesson)
    after = new(data, recipe=Recipe(mirror=True))
    after.load(copy.deepcopy(before.state()))
    for lesson in lessons(data)[known:]:
        after.observe(*lesson)
    for lesson in lessons(data):
        straight.observe(*lesson)
    assert_equal(straight, after)
    images = lessons(data)[1][0]
    assert torch.equal(straight.scores(straight.features(images)), after.scores(after.features(images)))
    assert torch.equal(offsets_of(straight), offsets_of(after))


# Inside FOCIL


def method_for(data, tasks=3, seed=0, **options):
    chosen = {"sparsities": (0.5,), "learning_rates": (0.1,), "router_megabytes": 0.05} | options
    options = focil.RoutedOptions(**chosen)
    kind = routed.kind_of(options)
    return kind("mlp", data.image_shape, tasks, data.num_classes // tasks, seed, options)


def learned(data, stream=None, upto=None, **options):
    stream = stream or focil.Stream(data, class_order(data, 3, 0), 0)
    method = method_for(data, **options)
    for task in list(stream)[:upto]:
        method.learn(task)
    return method


def test_experts_do_not_know_whether_there_is_a_router(data):
    options = {"sparsities": (0.5, 0.8), "learning_rates": (0.02, 0.1), "first_rung": 2, "again": 4}
    streams = [
        focil.Stream(data, class_order(data, 3, 0), 0, augmentation=Augmentation(1, True), hold=2)
        for _ in range(2)
    ]
    without, beside = (
        learned(data, stream, router=router, **options)
        for stream, router in zip(streams, ("none", "patches"), strict=True)
    )
    assert without.router is None and beside.router is not None
    assert [without.fingerprint(e) for e in range(3)] == [beside.fingerprint(e) for e in range(3)]
    assert without.report == beside.report
    images = lessons(data)[0][0]
    assert torch.equal(without.scores(images), beside.scores(images))


def test_memory_counts_the_router(data):
    without, beside = learned(data, router="none"), learned(data)
    assert without.memory() | {"router": beside.memory()["router"]} == beside.memory()
    assert "router" not in without.memory() and "router" not in without.state()
    kept = sum(tensor.nbytes for tensor in tensors(beside.router).values())
    assert beside.memory()["router"] == kept and 0.8 * 50_000 < kept <= 50_000


def test_options_reach_the_router(data):
    plain = method_for(data)
    router = method_for(
        data, router_megabytes=0.2, router_cells=3, router_mirror=True, precision="bfloat16", seed=7
    ).router
    assert (router.recipe, router.precision, router.seed) == (Recipe(cells=3, mirror=True), "bfloat16", 7)
    assert 100_000 < router.nbytes <= 200_000 and plain.router.nbytes <= 50_000


@pytest.mark.parametrize(
    "hold, batch_size, per_class",
    [
        (2, 10, 20),  # the held room is filled twice, exactly
        (2, 10, 25),  # and half a time more
        (2, 7, 15),  # and the last batch is short: 14, 14, 2
        (1, 10, 25),
        (1, 1, 3),
        (3, 7, 10),  # all of the task is held
        (50, 10, 2),  # a task smaller than a batch
        (1, 10, 2),
    ],
)
def test_the_router_observes_every_training_image_once_as_it_is(hold, batch_size, per_class):
    data = separable(per_class=per_class)
    stream = focil.Stream(
        data,
        class_order(data, 3, 1, "shuffled"),
        0,
        hold=hold,
        batch_size=batch_size,
        augmentation=Augmentation(2, True),
    )
    method, calls = method_for(data), []
    observe = method.router.observe

    def recorded(images, task, labels):
        calls.append((images.clone(), task, labels.clone()))
        observe(images, task, labels)

    method.router.observe = recorded
    for task in stream:
        method.learn(task)
        assert task.draws == task.size  # the router has asked for no image of its own
    assert method.router.discriminant.counts.tolist() == [per_class] * 6
    seen = Counter(
        (stream.order[task, label], image.numpy().tobytes())
        for images, task, labels in calls
        for image, label in zip(images, labels, strict=True)
    )
    raw = zip(data.y_train.tolist(), stream.prepare(stream.train), strict=True)
    assert seen == Counter((label, image.numpy().tobytes()) for label, image in raw)
    sizes = [len(images) for images, _, _ in calls]
    room, whole = hold * batch_size, 2 * per_class
    assert sizes == 3 * (
        [room] * (whole // room) + [whole % room] * (whole % room > 0)
    )  # as seldom as what is held allows


def test_a_stream_teaches_the_router_what_raw_images_do(data):
    stream = focil.Stream(data, class_order(data, 3, 0), 0, hold=3, augmentation=Augmentation(1, True))
    router = learned(data, stream).router
    direct = taught(data, like=router)
    assert_same_sums(router.discriminant, direct.discriminant, router.features(stream.prepare(stream.train)))


def test_augmentation_does_not_reach_the_router(data):
    plain, augmented = (
        learned(data, focil.Stream(data, class_order(data, 3, 0), 0, hold=2, augmentation=augmentation))
        for augmentation in (Augmentation(), Augmentation(2, True))
    )
    assert plain.fingerprint(0) != augmented.fingerprint(0)
    assert_equal(
        plain.router, augmented.router
    )  # the patches are those of the first held images, in the stream's order


@pytest.mark.parametrize("known", [1, 2])
def test_nothing_of_a_later_task_is_read_early(known, data):
    x = data.x_train.copy()
    x[data.y_train >= 2 * known] = 255 - x[data.y_train >= 2 * known]  # what is to come is another thing
    other = focil.Dataset.from_arrays(x, data.y_train, data.x_test, data.y_test)
    whole = method_for(data)
    for task in focil.Stream(data, class_order(data, 3, 0), 0):
        whole.learn(task)
        if task.index == known - 1:
            then = copy.deepcopy(whole.router)
    assert_equal(then, learned(other, upto=known).router)
    assert not torch.equal(whole.router.discriminant.moments, then.discriminant.moments)


def test_a_method_resumed_between_tasks_ends_with_the_same_router(data):
    straight, before, after = learned(data), learned(data, upto=1), method_for(data)
    after.load(copy.deepcopy(before.state()))
    for task in list(focil.Stream(data, class_order(data, 3, 0), 0))[1:]:
        after.learn(task)
    assert_equal(straight.router, after.router)
    assert after.memory() == straight.memory()
