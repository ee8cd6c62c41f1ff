"""Calculations side by side: the same results in the same order, on one core each, unless they draw."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from focil.base import seeds
from focil.base.cores import Cores, _on_one_core

MAIN = threading.main_thread()


@pytest.fixture(autouse=True)
def two_cores():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def where(item):
    return item, threading.current_thread() is MAIN, torch.get_num_threads()


def test_results_keep_their_order_and_each_is_computed_on_one_core():
    cores = Cores()
    # First in turns, to see whether they draw.
    assert cores.map(where, [1, 2, 3]) == [(item, True, 2) for item in (1, 2, 3)]
    for _ in range(3):
        assert cores.map(where, [4, 5, 6]) == [(item, False, 1) for item in (4, 5, 6)]
        assert torch.get_num_threads() == 2
    assert cores.map(where, [7]) == [(7, True, 2)]  # one alone has all cores


def test_a_thread_keeps_to_one_core_whatever_another_sets_meanwhile():
    begun, others = threading.Event(), threading.Event()

    def call(item):
        begun.set()
        others.wait(60)
        return torch.get_num_threads()

    with ThreadPoolExecutor(1) as thread:  # its first question for the number comes after the other's setting
        found = thread.submit(_on_one_core, call, 0)
        begun.wait(60)
        torch.set_num_threads(2)
        others.set()
        assert found.result() == 1


def test_what_draws_from_torchs_generator_keeps_its_order():
    def draw(item):
        return (*where(item), torch.rand(1).item())

    def drawn():
        cores = Cores()
        with seeds.as_torchs_own(0, "dropout", 0):
            return [cores.map(draw, [1, 2, 3]) for _ in range(3)]

    first = drawn()
    assert first == drawn()
    assert all(alone for results in first for _, alone, _, _ in results)


def test_one_core_computes_in_turns():
    torch.set_num_threads(1)
    cores = Cores()
    for _ in range(2):
        assert cores.map(where, [1, 2]) == [(1, True, 1), (2, True, 1)]


def test_an_error_of_one_is_raised():
    def fail(item):
        if item == 2:
            raise ValueError("two")
        return item

    cores = Cores()
    cores.map(str, [1, 2, 3])
    with pytest.raises(ValueError, match="two"):
        cores.map(fail, [1, 2, 3])
    assert torch.get_num_threads() == 2
