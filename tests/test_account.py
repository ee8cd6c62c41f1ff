"""The account of memory: every integer that was published, from parameters and bytes."""

import pytest

from focil import FocilError
from focil.memo.account import (
    FLOAT,
    LABEL,
    MIB,
    AccountError,
    Costs,
    Size,
    auc,
    budget_of,
    counted_bytes,
    counted_exemplars,
    exemplars_within,
    in_exemplars,
    model_bytes,
)

CIFAR, IMAGENET = 3_072, 150_528  # bytes of an image
RESNET32, RESNET18 = Size(112_016, 351_488), Size(2_782_784, 8_393_728)
SMALLER = {
    "convnet2": Size(1_920, 37_056),
    "resnet14": Size(42_320, 129_536),
    "resnet20": Size(65_552, 203_520),
    "resnet26": Size(88_784, 277_504),
}

# MEMO, tables of the appendix. protocol: tasks, (exemplars of one network, of MEMO, of DER) and MiB, of
# CIFAR-100 and of ImageNet-100.
PUBLISHED = {
    "B0Inc5": (20, (13466, 4771, 2000), 41.22, (7642, 3404, 2000), 1139.8),
    "B0Inc10": (10, (7431, 3312, 2000), 23.54, (4672, 2665, 2000), 713.5),
    "B0Inc20": (5, (4414, 2583, 2000), 14.70, (3187, 2295, 2000), 500.3),
    "B50Inc10": (6, (5017, 2729, 2000), 16.47, (3484, 2369, 2000), 542.9),
    "B50Inc5": (11, (8035, 3458, 2000), 25.31, (4969, 2739, 2000), 756.1),
    "B50Inc2": (26, (17088, 5646, 2000), 51.83, (9424, 3848, 2000), 1395.6),
}
# Accuracy over memory, B0Inc10 (figure of section 5): MiB, then average and last accuracy of each method in
# %.
CURVE = {
    7.6: {
        "Replay": (58.6, 41.3),
        "iCaRL": (63.4, 48.3),
        "WA": (65.5, 51.8),
        "FOSTER": (66.5, 53.2),
        "DER": (53.9, 40.6),
        "MEMO": (54.7, 40.8),
    },
    12.4: {
        "Replay": (64.7, 48.8),
        "iCaRL": (67.3, 53.0),
        "WA": (67.5, 55.1),
        "FOSTER": (68.7, 56.1),
        "DER": (68.5, 57.2),
        "MEMO": (69.1, 57.0),
    },
    16.0: {
        "Replay": (67.1, 51.5),
        "iCaRL": (68.5, 54.8),
        "WA": (68.0, 56.5),
        "FOSTER": (70.3, 56.7),
        "DER": (70.5, 59.7),
        "MEMO": (70.3, 59.4),
    },
    19.8: {
        "Replay": (69.0, 54.4),
        "iCaRL": (70.0, 57.5),
        "WA": (69.2, 58.0),
        "FOSTER": (71.9, 59.0),
        "DER": (71.0, 60.3),
        "MEMO": (71.7, 61.8),
    },
    23.5: {
        "Replay": (70.0, 55.6),
        "iCaRL": (70.5, 58.6),
        "WA": (69.6, 59.4),
        "FOSTER": (72.2, 59.4),
        "DER": (70.2, 59.9),
        "MEMO": (72.2, 62.0),
    },
}
AUC = {
    "MEMO": (10.85, 9.03),
    "DER": (10.74, 8.95),
    "FOSTER": (11.12, 9.03),
    "WA": (10.80, 8.92),
    "iCaRL": (10.81, 8.64),
    "Replay": (10.49, 8.02),
}


def shares(size, tasks, image, budget, network=None):
    """Exemplars of one network, of MEMO and of DER in a budget; network.

    Of the last two, where it is another one.
    """
    sizes = {"single": size, "memo": network or size, "der": network or size}
    return tuple(exemplars_within(budget, growth, sizes[growth], tasks, image) for growth in sizes)


@pytest.mark.parametrize("protocol", PUBLISHED)
def test_every_published_number_of_exemplars_and_of_mib_follows(protocol):
    tasks, cifar, cifar_mib, imagenet, imagenet_mib = PUBLISHED[protocol]
    for size, image, exemplars, mib in (
        (RESNET32, CIFAR, cifar, cifar_mib),
        (RESNET18, IMAGENET, imagenet, imagenet_mib),
    ):
        budget = budget_of("der", size, tasks, 2000, image)
        assert shares(size, tasks, image, budget) == exemplars
        assert abs(budget / MIB - mib) < 0.06  # the table rounds, in part twice


def test_one_resnet32_takes_as_much_as_603_and_a_half_images():
    assert model_bytes("single", RESNET32, 10) == 463_504 * FLOAT == 1_854_016
    assert round(in_exemplars(model_bytes("single", RESNET32, 10), CIFAR), 1) == 603.5


@pytest.mark.parametrize(
    "name, mib, exemplars",
    [
        ("resnet14", 12.4, (3634, 2495, 2000)),
        ("resnet20", 16.0, (4900, 2768, 2000)),
        ("resnet26", 19.8, (6165, 3040, 2000)),
    ],
)
def test_smaller_networks_set_the_budgets_of_the_curve(name, mib, exemplars):
    budget = budget_of("der", SMALLER[name], 10, 2000, CIFAR)
    assert abs(budget / MIB - mib) < 0.2  # read off an axis
    assert shares(RESNET32, 10, CIFAR, budget, SMALLER[name]) == exemplars


def test_the_smallest_budget_of_the_curve_is_one_network_and_2000_exemplars():
    budget = budget_of("single", RESNET32, 10, 2000, CIFAR)
    assert abs(budget / MIB - 7.6) < 0.06 and shares(RESNET32, 10, CIFAR, budget, SMALLER["convnet2"]) == (
        2000,
        2118,
        2096,
    )


def test_what_is_not_spent_on_networks_is_spent_on_images_to_less_than_one():
    for tasks in (1, 3, 10):
        budget = budget_of("der", RESNET32, tasks, 100, CIFAR)
        for growth in ("single", "memo", "der"):
            exemplars = exemplars_within(budget, growth, RESNET32, tasks, CIFAR)
            assert 0 <= budget - budget_of(growth, RESNET32, tasks, exemplars, CIFAR) < CIFAR
        assert tasks > 1 or shares(RESNET32, tasks, CIFAR, budget) == (
            100,
            100,
            100,
        )  # after one task they are all the same


@pytest.mark.parametrize("method", AUC)
def test_the_published_areas_follow_from_the_published_curve(method):
    for which, published in enumerate(AUC[method]):
        assert (
            abs(auc(list(CURVE), [point[method][which] / 100 for point in CURVE.values()]) - published) < 0.02
        )  # read off the figure


def test_an_area_is_that_of_its_trapezoids():
    assert auc([1, 3, 4], [0.5, 0.5, 1.0]) == 1.75 and auc([2], [0.9]) == 0


def test_a_budget_that_networks_alone_use_up_is_refused_and_says_by_whom():
    budget = model_bytes("memo", RESNET32, 10)
    assert exemplars_within(budget, "memo", RESNET32, 10, CIFAR) == 0
    with pytest.raises(
        AccountError,
        match=r"networks of 'memo' take 14,507,584 bytes after 10 tasks, more than the budget of 14,507,583",
    ) as caught:
        exemplars_within(budget - 1, "memo", RESNET32, 10, CIFAR)
    assert isinstance(caught.value, FocilError)


# Everything counted

COSTS = Costs(Size(100, 1000), generalized_buffers=16, specialised_buffers=40, feature_size=8)


def test_everything_that_a_network_takes_is_counted_by_hand():
    one = {
        "networks": 4 * 1100,
        "buffers": 56,
        "heads": 4 * 9 * 6,
        "teacher": 0,
    }  # 6 classes: 8 features and a bias each
    assert counted_bytes("single", COSTS, 3, 6, distils=False) == one
    assert counted_bytes("single", COSTS, 3, 6, distils=True) == one | {"teacher": 4 * 1100 + 56 + 4 * 9 * 6}
    assert counted_bytes("memo", COSTS, 3, 6, distils=False) == {
        "networks": 4 * 3100,
        "buffers": 16 + 3 * 40,
        "heads": 4 * 25 * 6,
        "teacher": 0,
    }
    assert counted_bytes("der", COSTS, 3, 6, distils=False) == {
        "networks": 4 * 3300,
        "buffers": 3 * 56,
        "heads": 4 * 25 * 6,
        "teacher": 0,
    }


@pytest.mark.parametrize(
    "growth, distils", [("single", False), ("single", True), ("memo", False), ("der", False)]
)
def test_counted_exemplars_fill_the_budget_after_every_task_and_never_pass_it(growth, distils):
    budget, image = 20_000, 92
    found = counted_exemplars(budget, growth, COSTS, [2, 4, 6, 8], image, distils)
    for task, exemplars in enumerate(found, 1):
        left = budget - sum(counted_bytes(growth, COSTS, task, 2 * task, distils).values())
        assert 0 <= left - exemplars * (image + LABEL) < image + LABEL or (left < 0 and exemplars == 0)
    assert found == sorted(found, reverse=True) and len(found) == 4  # models only grow


def test_distilling_costs_exemplars_from_the_second_task_on():
    plain, distilled = (
        counted_exemplars(20_000, "single", COSTS, [2, 4, 6], 92, distils) for distils in (False, True)
    )
    assert plain[0] == distilled[0] and all(
        more > less for more, less in zip(plain[1:], distilled[1:], strict=False)
    )


def test_a_model_beyond_the_budget_leaves_no_exemplars_instead_of_less_than_none():
    assert counted_exemplars(3_000, "der", COSTS, [2, 4], 92, False) == [0, 0]
