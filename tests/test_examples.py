"""The examples in docstrings are true, and the functions that are used most have one."""

import doctest
import importlib

import pytest

WITH_EXAMPLES = {
    "focil.backbones": ("build",),
    "focil.base.words": ("count", "in_percent", "layer"),
    "focil.confidence": ("answer", "confidence"),
    "focil.data.datasets": ("load",),
    "focil.data.images": ("normalise",),
    "focil.data.stream": ("class_order",),
    "focil.evaluation.metrics": ("backward_transfer", "forgetting", "mean_interval"),
    "focil.evaluation.names": ("join", "split"),
    "focil.masks": ("erk_counts", "erk_densities", "fair_share"),
    "focil.memo.account": ("in_exemplars", "model_bytes"),
    "focil.memo.exemplars": ("herding",),
    "focil.method": ("Focil",),
    "focil.runs.params_files": ("changed", "changed_by", "joined", "kind_of", "networks_of"),
}


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples_are_true(name):
    module = importlib.import_module(name)
    tests = [test for test in doctest.DocTestFinder(exclude_empty=True).find(module) if test.examples]
    assert {test.name.removeprefix(f"{name}.") for test in tests} == set(WITH_EXAMPLES[name])
    found = doctest.testmod(module)
    assert found.failed == 0 and found.attempted > 0
