"""The discriminant: sums that are exact, the rule that follows from them, and that nothing but the sums
matters."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from focil.router.discriminant import Discriminant, nbytes, unpack


def integers(count, size, seed=0):
    """Small whole numbers: their sums and products are exact in float32, whatever the order."""
    return torch.randint(-8, 9, (count, size), generator=torch.Generator().manual_seed(seed)).float()


def gaussians(count=300, size=8, classes=5, seed=0):
    """Classes around random means with one covariance.

    Labels in random order and of unequal number, each class at least once.
    """
    random = np.random.default_rng(seed)
    labels = np.concatenate(
        [
            np.arange(classes),
            random.choice(classes, count - classes, p=np.arange(1, classes + 1) / sum(range(classes + 1))),
        ]
    )
    random.shuffle(labels)
    axes, _ = np.linalg.qr(random.normal(size=(size, size)))
    noise = random.normal(size=(count, size)) * np.linspace(0.5, 2, size) @ axes.T
    features = 2 * random.normal(size=(classes, size))[labels] + noise
    return torch.from_numpy(features).float(), torch.from_numpy(labels)


def observed(features, labels, classes=5, ridge=0.01):
    known = Discriminant(features.shape[1], classes, ridge)
    known.observe(features, labels)
    return known


def dense(features, labels, ridge):
    """The rule from its definition, in float64 and with no sums: (rows, classes)."""
    x, y = features.double().numpy(), labels.numpy()
    means = np.stack([x[y == c].mean(axis=0) for c in range(y.max() + 1)])
    within = (x - means[y]).T @ (x - means[y]) / len(x)
    within += ridge * np.trace(within) / len(within) * np.eye(len(within))
    return np.stack(
        [x @ np.linalg.solve(within, m) - 0.5 * m @ np.linalg.solve(within, m) for m in means], axis=1
    )


def of_class(labels, c):
    return (labels == c).nonzero().flatten()


def centred(scores):
    return scores - scores.mean(axis=1, keepdims=True)  # posteriors are known up to a constant per row


# Sums


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9), st.integers(0, 30), st.integers(1, 4), st.integers(0, 2**32))
def test_packed_moments_are_those_of_a_dense_product(half, count, parts, seed):
    features = integers(count, 2 * half, seed)
    labels = torch.arange(count) % 3
    known = Discriminant(2 * half, 3, 0.01)
    for rows in torch.arange(count).tensor_split(parts):
        known.observe(features[rows], labels[rows])
    assert known.moments.numel() == half * (2 * half + 1)  # every number of a symmetric matrix once
    assert torch.equal(unpack(known.moments[0]), features.T @ features)
    assert known.counts.tolist() == [int((labels == c).sum()) for c in range(3)]
    assert torch.equal(known.sums, torch.stack([features[labels == c].sum(dim=0) for c in range(3)]))


@pytest.mark.parametrize(("size", "blocks"), [(1, 1), (3, 1), (75, 1), (6, 2), (8, 3), (10, 2)])
def test_an_odd_number_of_features_is_refused(size, blocks):
    with pytest.raises(ValueError, match=f"even number of features a block, not {size} in {blocks}"):
        Discriminant(size, 3, 0.01, blocks=blocks)


def test_blocks_are_discriminants_of_their_own_whose_scores_are_added():
    features, labels = gaussians(size=12)
    joint = Discriminant(12, 5, 0.01, blocks=3)
    joint.observe(features, labels)
    alone = [observed(part, labels) for part in features.chunk(3, dim=1)]
    expected = sum(known.scores(part) for known, part in zip(alone, features.chunk(3, dim=1), strict=True))
    torch.testing.assert_close(joint.scores(features), expected / 3**0.5)
    assert joint.nbytes == sum(tensor.nbytes for tensor in joint.state().values())
    assert joint.nbytes < observed(features, labels).nbytes
    kept = torch.tensor([0, 2, 4, 5, 10, 11])
    part, direct = joint.part(kept), Discriminant(6, 5, 0.01, blocks=3)
    direct.observe(features[:, kept], labels)
    torch.testing.assert_close(
        part.scores(features[:, kept]), direct.scores(features[:, kept]), rtol=1e-4, atol=1e-4
    )


@settings(max_examples=40, deadline=None)
@given(st.permutations(range(40)), st.lists(st.integers(0, 40), max_size=6))
def test_neither_order_nor_split_changes_exact_sums_or_scores(order, cuts):
    features, labels = integers(40, 6), torch.arange(40) % 4
    whole = observed(features, labels, 4)
    parts = Discriminant(6, 4, 0.01)
    for rows in torch.tensor(order).tensor_split(sorted(cuts)):
        parts.observe(features[rows], labels[rows])
    for name, tensor in whole.state().items():
        assert torch.equal(tensor, parts.state()[name]), name
    assert torch.equal(whole.scores(features), parts.scores(features))


def test_classes_one_after_the_other_give_the_sums_and_answers_of_all_at_once():
    features, labels = gaussians()
    whole, stream = observed(features, labels), Discriminant(8, 5, 0.01)
    for c in (3, 0, 4, 1, 2):
        for rows in of_class(labels, c).split(7):
            stream.observe(features[rows], labels[rows])
    # A sum of n float32 products is off by at most n units of rounding of the sum of their sizes, in either
    # order.
    bound = (
        2 * len(features) * torch.finfo(torch.float32).eps * (features.abs().T @ features.abs()).max().item()
    )
    assert torch.equal(whole.counts, stream.counts)
    torch.testing.assert_close(whole.sums, stream.sums, rtol=0, atol=bound)
    torch.testing.assert_close(unpack(whole.moments[0]), unpack(stream.moments[0]), rtol=0, atol=bound)
    assert torch.equal(whole.scores(features).argmax(dim=1), stream.scores(features).argmax(dim=1))


def test_what_is_observed_later_counts():
    features, labels = integers(40, 6), torch.arange(40) % 4
    known = observed(features[:20], labels[:20], 4)
    early = known.scores(features)
    known.observe(features[20:], labels[20:])
    assert torch.equal(
        known.scores(features), observed(features, labels, 4).scores(features)
    )  # no rule of before is kept
    assert not torch.equal(known.scores(features), early)


# The rule


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("ridge", [1e-3, 0.01, 1.0])
def test_scores_are_those_of_the_definition(seed, ridge):
    features, labels = gaussians(seed=seed)
    found = observed(features, labels, ridge=ridge).scores(features).double().numpy()
    expected = dense(features, labels, ridge)
    # float32 sums of 300 products, seen through a covariance whose condition is 16
    np.testing.assert_allclose(
        centred(found), centred(expected), rtol=0, atol=1e-4 * np.abs(centred(expected)).max()
    )


def test_scores_are_scikit_learns():
    features, labels = gaussians()
    rows = torch.cat(
        [of_class(labels, c)[: labels.bincount().min()] for c in range(5)]
    )  # its priors are frequencies: equal
    features, labels = features[rows], labels[rows]
    found = observed(features, labels, ridge=1e-9).scores(features).double().numpy()
    theirs = LinearDiscriminantAnalysis(solver="lsqr").fit(features.double().numpy(), labels.numpy())
    expected = theirs.decision_function(features.double().numpy())
    np.testing.assert_allclose(
        centred(found), centred(expected), rtol=0, atol=1e-3 * np.abs(centred(expected)).max()
    )
    assert np.array_equal(found.argmax(axis=1), expected.argmax(axis=1))


def test_every_class_has_the_same_prior():
    features, labels = gaussians()
    known = observed(features, labels)
    means = known.sums / known.counts[:, None]
    halfway = known.scores((means[0] + means[4])[None] / 2)[0]
    assert known.counts[4] > 3 * known.counts[0]  # log 3 apart, if frequent classes were preferred
    assert halfway[0].item() == pytest.approx(halfway[4].item(), abs=1e-3)


def test_the_unit_of_the_features_does_not_matter():
    features, labels = gaussians()
    # 4 is a power of two: every step is the same one, times a power of two
    assert torch.equal(
        observed(features, labels).scores(features), observed(4 * features, labels).scores(4 * features)
    )


def test_classes_not_seen_score_minus_infinity_and_are_never_chosen():
    features, labels = gaussians()
    known = observed(features, labels * 2 + 1, classes=11)
    scores = known.scores(1e4 * torch.randn(500, 8, generator=torch.Generator().manual_seed(0)))
    seen = torch.arange(11) % 2 == 1
    assert torch.equal(scores.isfinite(), seen.expand_as(scores))
    assert (scores[:, ~seen] == -torch.inf).all()
    assert set(scores.argmax(dim=1).tolist()) <= {1, 3, 5, 7, 9}
    gaps = observed(features, labels).scores(features)
    torch.testing.assert_close(
        known.scores(features)[:, seen], gaps
    )  # and they change nothing for the others; wider products may round differently


@pytest.mark.parametrize("classes, size", [(1, 2), (2, 4), (3, 8), (9, 4)])
def test_a_single_image_per_class_is_enough(classes, size):
    features = torch.randn(classes, size, generator=torch.Generator().manual_seed(classes))
    scores = observed(features, torch.arange(classes), classes).scores(features)
    assert scores.isfinite().all()
    assert scores.argmax(dim=1).tolist() == list(range(classes))


def test_images_of_a_class_that_are_all_alike_are_told_from_those_of_another():
    features = torch.randn(3, 8, generator=torch.Generator().manual_seed(0)).repeat(10, 1)
    scores = observed(features, torch.arange(30) % 3, 3).scores(features)
    assert scores.isfinite().all()
    assert torch.equal(scores.argmax(dim=1), torch.arange(30) % 3)


def test_features_that_are_all_zero_give_no_error_and_no_preference():
    scores = observed(torch.zeros(10, 4), torch.arange(10) % 2, 2).scores(torch.zeros(3, 4))
    assert torch.equal(scores, torch.zeros(3, 2))


# What is kept


@pytest.mark.parametrize("size, classes", [(2, 1), (8, 5), (64, 100)])
def test_nbytes_are_those_of_the_state(size, classes):
    known = Discriminant(size, classes, 0.01)
    assert known.nbytes == nbytes(size, classes) == sum(tensor.nbytes for tensor in known.state().values())
    known.observe(integers(3, size), torch.zeros(3, dtype=torch.int64))
    known.scores(integers(3, size))
    assert known.nbytes == sum(tensor.nbytes for tensor in known.state().values())


def test_a_state_continues_bit_for_bit():
    features, labels = gaussians()
    straight = observed(features[:100], labels[:100])
    resumed = Discriminant(8, 5, 0.01)
    resumed.observe(features[:10], labels[:10])
    resumed.scores(features)  # what it knew before is replaced, its rule too
    resumed.load(copy.deepcopy(straight.state()))
    assert torch.equal(straight.scores(features), resumed.scores(features))
    earlier = straight.state() | {"moments": straight.moments[0]}
    of_earlier = Discriminant(8, 5, 0.01)
    of_earlier.load(copy.deepcopy(earlier))
    assert torch.equal(straight.scores(features), of_earlier.scores(features))
    with pytest.raises(RuntimeError):
        Discriminant(10, 5, 0.01).load(earlier)
    for known in (straight, resumed):
        known.observe(features[100:], labels[100:])
    assert torch.equal(straight.scores(features), resumed.scores(features))
