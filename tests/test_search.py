"""Search: candidates that learn side by side on one pass, halved as it goes on."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from focil.search import Candidate, DivergedError, Halving
from focil.trainer import Learners


class Script(Learners):
    """Learners that read their prequential accuracies and losses from a script.

    (candidates, batches) each.
    """

    def __init__(self, accuracy, loss, names):
        self.accuracy, self.loss, self.names = np.asarray(accuracy), np.asarray(loss), list(names)
        self.alive, self.steps, self.again = list(range(len(self.names))), 0, []

    def __len__(self):
        return len(self.alive)

    def step(self, images, labels, again):
        assert again is None or len(self) == 1
        self.again.append(again)
        assert images.flatten().tolist() == [float(self.steps)] == labels.tolist()  # each batch, in order
        scores = tuple(torch.tensor(table[self.alive, self.steps]) for table in (self.accuracy, self.loss))
        self.steps += 1
        return scores

    def finite(self):
        return [bool(np.isfinite(self.loss[i, : self.steps]).all()) for i in self.alive]

    def keep(self, which):
        assert list(which) == sorted(which) and which
        self.alive = [self.alive[i] for i in which]

    @property
    def left(self):
        return [self.names[i] for i in self.alive]


class Batches:
    """A stream that counts what is drawn from it, and ends once."""

    def __init__(self, count):
        self.drawn = 0
        self._numbers = iter(range(count))

    def __iter__(self):
        return self

    def __next__(self):
        number = next(self._numbers)
        self.drawn += 1
        return torch.full((1, 1, 1, 1), float(number)), torch.tensor([number])


def run(halving, stream, again=lambda: None):
    """The loop of `Focil.learn`, over scripted batches."""
    for images, labels in stream:
        halving.step(images, labels, again() if halving.learns_again else None)
    return halving.winner()


def search(accuracy, loss=None, first_rung=2, groups=None):
    """Halve scripted candidates; returns the winner's position, all candidates, and the stream."""
    accuracy = np.asarray(accuracy, dtype=float)
    loss = np.zeros_like(accuracy) if loss is None else np.asarray(loss, dtype=float)
    count, batches = accuracy.shape
    candidates = [Candidate(0.9, 0.1 * (i + 1)) for i in range(count)]
    parts = np.split(np.arange(count), np.cumsum(groups or [count])[:-1])
    scripts = [Script(accuracy[part], loss[part], part.tolist()) for part in parts]
    stream = Batches(batches)
    learners, winner = run(Halving(scripts, candidates, first_rung), stream)
    position = next(i for i, candidate in enumerate(candidates) if candidate is winner)
    assert learners.left == [position]  # the learners that come back are the winner's
    assert stream.drawn == batches
    return position, candidates, stream


def constant(values, batches):
    """Candidates of constant accuracy."""
    return np.repeat(np.array(values, dtype=float)[:, None], batches, axis=1)


# Halving


def test_candidates_are_halved_at_every_doubling():
    winner, candidates, _ = search(constant([0.1, 0.8, 0.3, 0.5, 0.2, 0.7, 0.4, 0.6], 20), first_rung=2)
    assert winner == 1
    assert [len(candidate.accuracy) for candidate in candidates] == [2, 20, 2, 4, 2, 8, 2, 4]


@pytest.mark.parametrize("count, steps", [(8, [8, 4, 2, 1]), (5, [5, 3, 2, 1]), (3, [3, 2, 1]), (2, [2, 1])])
def test_the_better_half_goes_on_rounded_up(count, steps):
    _, candidates, _ = search(constant(np.linspace(0, 1, count), 40), first_rung=3)
    lengths = [len(candidate.accuracy) for candidate in candidates]
    alive = [sum(length > 3 * 2**i for length in lengths) for i in range(len(steps) - 1)]
    assert [count, *alive] == steps


def test_curves_end_where_a_candidate_is_dropped():
    accuracy, loss = np.random.default_rng(0).random((2, 6, 12))
    _, candidates, _ = search(accuracy, loss, first_rung=2)
    for candidate, accuracies, losses in zip(candidates, accuracy, loss, strict=True):
        assert len(candidate.accuracy) == len(candidate.loss)
        assert candidate.accuracy == accuracies[: len(candidate.accuracy)].tolist()
        assert candidate.loss == losses[: len(candidate.loss)].tolist()


@pytest.mark.parametrize("batches", [1, 2, 3, 4, 5, 7, 8, 9, 16, 17])
@pytest.mark.parametrize("first_rung", [1, 2, 4, 25])
def test_the_best_wins_wherever_the_stream_ends(batches, first_rung):
    for best in range(5):
        values = [0.5] * 5
        values[best] = 0.6
        winner, candidates, _ = search(constant(values, batches), first_rung=first_rung)
        assert winner == best and len(candidates[best].accuracy) == batches


def test_a_stream_shorter_than_the_first_rung_is_judged_as_a_whole():
    winner, candidates, _ = search([[0.9, 0.2, 0.2], [0.4, 0.5, 0.5]], first_rung=25)
    assert winner == 1  # 1.4 against 1.3
    assert [len(candidate.accuracy) for candidate in candidates] == [3, 3]


def test_a_stream_that_ends_on_a_later_rung_is_judged_since_the_one_before():
    # Both are alive after batch 2; from then on to the end, batch 4, the second is better.
    accuracy = [[1.0, 1.0, 0.2, 0.3], [0.9, 0.9, 0.3, 0.3], [0.0] * 4, [0.0] * 4]
    assert search(accuracy, first_rung=2)[0] == 1
    accuracy = [
        [1.0, 1.0, 0.2, 0.3],
        [0.9, 0.9, 0.3, 0.3],
        [0.8, 0.8, 0.1, 0.1],
        [0.7] * 2 + [0.0] * 2,
        [0.6] * 2 + [0.0] * 2,
    ]
    assert search(accuracy, first_rung=2)[0] == 1  # five: 3 go on, then 2, and the stream ends there


def test_a_stream_that_ends_on_the_first_rung_is_judged_by_what_led_to_it():
    assert search([[1.0, 0.4], [0.5, 0.6], [0.0, 0.0], [0.0, 0.0]], first_rung=2)[0] == 0  # 0.70 against 0.55


def test_only_what_came_since_the_last_rung_counts():
    # The first is far ahead early on, but the second learns faster after the rung.
    early = [[1.0, 1.0, 0.3, 0.3, 0.3, 0.3], [0.5, 0.5, 0.4, 0.4, 0.4, 0.4], [0.1] * 6, [0.1] * 6]
    winner, candidates, _ = search(early, first_rung=2)
    assert winner == 1 and len(candidates[0].accuracy) == 4


def test_a_single_candidate_sees_the_whole_stream():
    winner, candidates, stream = search([[0.5] * 9], first_rung=2)
    assert winner == 0 and len(candidates[0].accuracy) == stream.drawn == 9


@pytest.mark.parametrize("count", [1, 2, 8])
def test_held_images_are_asked_for_once_one_candidate_is_left(count):
    candidates, asked = [Candidate(0.9, 0.1 * (i + 1)) for i in range(count)], []
    script = Script(constant(np.linspace(0.1, 0.8, count), 20), constant(np.zeros(count), 20), range(count))

    def again():
        asked.append(script.steps)
        return torch.zeros(5), torch.zeros(5)

    run(Halving([script], candidates, 2), Batches(20), again)
    decided = {1: 0, 2: 2, 8: 8}[count]  # batches until the last halving: 2, 4, 8
    assert asked == list(range(decided, 20))
    assert [held is not None for held in script.again] == [False] * decided + [True] * (20 - decided)


# Ties


def test_ties_are_settled_by_loss():
    accuracy = constant([0.5] * 4, 6)
    for best in range(4):
        loss = constant([2.0] * 4, 6)
        loss[best] = 1.0
        assert search(accuracy, loss)[0] == best


def test_accuracy_comes_before_loss():
    assert search(constant([0.5, 0.6], 6), constant([0.1, 9.0], 6))[0] == 1


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_a_broken_loss_loses_a_tie(broken):
    for position in range(3):
        loss = constant([50.0] * 3, 5)
        loss[position, -1] = broken
        assert search(constant([0.5] * 3, 5), loss, first_rung=25)[0] != position


def test_a_broken_candidate_never_wins_by_chance():
    accuracy, loss = constant([0.6, 0.5], 6), constant([0.7, 0.7], 6)
    loss[0, 1:] = np.nan
    assert search(accuracy, loss)[0] == 1


def test_a_broken_candidate_is_dropped_at_once_and_named():
    accuracy, loss = constant([0.6, 0.5, 0.4, 0.3], 12), constant([0.7] * 4, 12)
    loss[0, 2:] = np.inf
    winner, candidates, _ = search(accuracy, loss, first_rung=4)
    assert winner == 1 and [candidate.diverged for candidate in candidates] == [True, False, False, False]
    assert len(candidates[0].accuracy) == 3
    assert [len(candidate.accuracy) for candidate in candidates[1:]] == [
        12,
        8,
        4,
    ]  # halved as if it were there


def test_where_all_are_broken_the_rates_that_were_tried_are_named():
    with pytest.raises(
        DivergedError, match=r"with every candidate, after 1 batches.*rates tried were 0.1, 0.2"
    ):
        search(constant([0.5, 0.5], 6), constant([np.nan, np.nan], 6))


# One group or many


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 3), min_size=1, max_size=5),
    st.integers(1, 20),
    st.integers(1, 6),
    st.integers(0, 2**32),
)
def test_decisions_do_not_depend_on_the_grouping(groups, batches, first_rung, seed):
    # Tenths make ties of accuracy common, losses settle them.
    random = np.random.default_rng(seed)
    accuracy, loss = (
        random.integers(0, 11, (sum(groups), batches)) / 10,
        random.random((sum(groups), batches)),
    )
    results = []
    for grouping in (groups, [sum(groups)], [1] * sum(groups)):
        winner, candidates, _ = search(accuracy, loss, first_rung, grouping)
        results.append(
            (
                winner,
                [candidate.accuracy for candidate in candidates],
                [candidate.loss for candidate in candidates],
            )
        )
    assert results[0] == results[1] == results[2]
    winner, accuracies, _ = results[0]
    assert len(accuracies[winner]) == batches
    rungs = {first_rung * 2**i for i in range(20)} | {batches}
    assert {len(curve) for curve in accuracies} <= rungs


def test_learners_and_candidates_must_match():
    with pytest.raises(ValueError):
        run(
            Halving([Script([[0.5]], [[0.5]], ["a"])], [Candidate(0.9, 0.1), Candidate(0.9, 0.2)], 2),
            Batches(1),
        )
