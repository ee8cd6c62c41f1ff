"""Small data sets and benchmarks, and the browser, that the tests share."""

import os
import shutil

import numpy as np
import pytest
import torch

import focil


@pytest.fixture(autouse=True)
def one_thread():
    """Bit equality is promised for one number of threads; tests use one."""
    torch.set_num_threads(1)


def separable(classes: int = 6, per_class: int = 40, size: int = 6, channels: int = 1, seed: int = 0) -> focil.Dataset:
    """Images that are easy to tell apart: each class is one fixed random pattern under noise."""
    generator = np.random.default_rng(seed)
    patterns = generator.integers(40, 216, (classes, size, size, channels))

    def draw(count: int) -> tuple[np.ndarray, np.ndarray]:
        labels = np.repeat(np.arange(classes), count)
        noise = generator.normal(0, 25, (len(labels), size, size, channels))
        return np.clip(patterns[labels] + noise, 0, 255).astype(np.uint8), labels

    return focil.Dataset.from_arrays(*draw(per_class), *draw(max(2, per_class // 4)), name="separable")


def small_benchmark(**changes) -> focil.Benchmark:
    """Three tasks of two classes with four candidates, on one thread."""
    values = {"name": "small", "data": "separable", "tasks": 3, "device": "cpu", "threads": 1}
    options = {"sparsities": [0.5, 0.8], "learning_rates": [0.02, 0.1], "first_rung": 2}
    return focil.Benchmark(**values | {"focil": options} | changes)


@pytest.fixture
def data() -> focil.Dataset:
    return separable()


@pytest.fixture(scope="session")
def browser():
    """A chromium without a window. FOCIL_CHROMIUM names it and turns the skip of a machine without one into a failure."""
    from playwright.sync_api import sync_playwright

    path = os.environ.get("FOCIL_CHROMIUM") or next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        pytest.skip("no browser: install chromium, or name one with FOCIL_CHROMIUM")
    unboxed = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []  # chromium refuses its sandbox to root
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=unboxed)
        yield chromium
        chromium.close()
