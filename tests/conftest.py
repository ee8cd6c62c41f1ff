"""Small data sets and benchmarks, and the browser, that the tests share."""

import os
from contextlib import ExitStack
from pathlib import Path

from jaxtyping import install_import_hook

# While the tests run, the shapes and dtypes in signatures are checked. First, so that every module is seen.
install_import_hook("focil", "shapes.checked")

import numpy as np
import pytest
import torch

import focil
from focil.engine.worker import Progress
from focil.reports.bench.browser import BrowserError, chromium
from focil.studies.study import Job, Study

# A test, and what it starts, takes one core: the other ones have tests of their own.
os.environ.setdefault("FOCIL_CORES", "1")

CLASS_NAMES = ["<b>bold</b>", "$x^2$ & co", '"quoted"', "lamp", "ray", "sea"]


def pytest_collection_modifyitems(items):
    """The file that takes longest comes first, so that workers side by side end together."""
    items.sort(key=lambda item: item.path.name != "test_storms.py")


@pytest.fixture(autouse=True)
def one_thread():
    """Bit equality is promised for one number of threads; tests use one."""
    torch.set_num_threads(1)


def separable(
    classes: int = 6, per_class: int = 40, size: int = 6, channels: int = 1, seed: int = 0
) -> focil.Dataset:
    """Images that are easy to tell apart: each class is one fixed random pattern under noise."""
    generator = np.random.default_rng(seed)
    patterns = generator.integers(40, 216, (classes, size, size, channels))

    def draw(count: int) -> tuple[np.ndarray, np.ndarray]:
        labels = np.repeat(np.arange(classes), count)
        noise = generator.normal(0, 25, (len(labels), size, size, channels))
        return np.clip(patterns[labels] + noise, 0, 255).astype(np.uint8), labels

    return focil.Dataset.from_arrays(*draw(per_class), *draw(max(2, per_class // 4)), name="separable")


def write_npz(path: Path, data: focil.Dataset | None = None) -> str:
    """Write a data set, or the separable images, as a user would have it; returns the path."""
    data = data or separable()
    np.savez(path, x_train=data.x_train, y_train=data.y_train, x_test=data.x_test, y_test=data.y_test)
    return str(path)


def small_benchmark(**changes) -> focil.Benchmark:
    """Three tasks of two classes with four candidates, on one thread."""
    values = {"name": "small", "data": "separable", "tasks": 3, "device": "cpu", "threads": 1}
    options = {"sparsities": [0.5, 0.8], "learning_rates": [0.02, 0.1], "first_rung": 2}
    return focil.Benchmark(**values | {"focil": options} | changes)


def train_alone(study: Study, job: Job, path: Path, progress: Progress | None = None) -> dict:
    """Do one training of a study in this process; its checkpoint, if there is one, lies beside `path`."""
    study.checkpoint = lambda _: path.with_suffix(".pt")
    return study.train(job, progress or Progress())


def without_time(tree):
    """A result without the seconds that it took: what two runs must agree in."""
    if isinstance(tree, dict):
        return {key: without_time(value) for key, value in tree.items() if key != "seconds"}
    return [without_time(value) for value in tree] if isinstance(tree, list) else tree


@pytest.fixture(scope="session")
def ran(tmp_path_factory):
    """outputs/ with a finished run of three tasks, whose class names would be HTML or formulas if they
    were not escaped."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("explored")
    data = separable(channels=3)
    arrays = {key: getattr(data, key) for key in ("x_train", "y_train", "x_test", "y_test")}
    np.savez(root / "mine.npz", **arrays, classes=np.array(CLASS_NAMES))
    benchmark = small_benchmark(name="mine", data=str(root / "mine.npz"))
    focil.run(benchmark, seed=0, out=root / "outputs" / "mine" / "seed-0")
    return root / "outputs"


@pytest.fixture
def data() -> focil.Dataset:
    return separable()


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    """An empty folder of data, the one that FOCIL_DATA names; the user's own folders and proxy are out of
    reach."""
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("FOCIL_DATA", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("no_proxy", "*")  # a proxy of this machine has no business with 127.0.0.1
    return folder


@pytest.fixture(scope="session")
def browser():
    """A chromium without a window.

    Where FOCIL_CHROMIUM names it, a machine without one fails; elsewhere the tests are skipped.
    """
    with ExitStack() as stack:
        try:
            opened = stack.enter_context(chromium())
        except BrowserError as error:
            if os.environ.get("FOCIL_CHROMIUM"):
                raise
            pytest.skip(str(error))
        yield opened
