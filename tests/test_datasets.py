"""Data sets: every load is checked, named, unchangeable and reproducible, and every bad input says what to
do."""

import os
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from focil.base.errors import FocilError
from focil.data import digits
from focil.data.datasets import NAMES, Dataset, data_root, load
from focil.data.download import user_cache
from focil.data.formats import KEYS

REAL = os.environ.get("FOCIL_DATA", "")  # before any test changes it
pytestmark = pytest.mark.usefixtures("root")


def real(name, monkeypatch):
    if not REAL or not Path(REAL, name).exists():
        pytest.skip(f"FOCIL_DATA names no folder with the real {name}")
    monkeypatch.setenv("FOCIL_DATA", REAL)


def arrays(classes=10, train=12, test=3, shape=(6, 5), seed=0):
    random = np.random.default_rng(seed)

    def part(count):
        y = random.permutation(np.repeat(np.arange(classes), count)).astype(np.uint8)
        return random.integers(0, 256, (len(y), *shape), dtype=np.uint8), y

    return dict(zip(KEYS, (*part(train), *part(test)), strict=True))


def digests(images):
    return sorted(image.tobytes() for image in images)


def complaint(action, *expected):
    """The message of the FocilError that `action` raises, checked for being one paragraph that names what
    is expected."""
    with pytest.raises(FocilError) as caught:
        action()
    message = str(caught.value)
    assert "\n" not in message and "expected" in message
    for word in expected:
        assert word in message
    return message


# What a data set is


def test_from_arrays_gives_the_one_form():
    given = arrays(classes=3)
    data = Dataset.from_arrays(**given, name="tiny")
    assert data.x_train.shape == (36, 6, 5, 1) and data.x_train.dtype == np.uint8
    assert data.y_test.dtype == np.int64 and data.classes == ("0", "1", "2")
    assert data.image_shape == (1, 6, 5) and data.num_classes == 3
    assert data.mean == (0.5,) and data.std == (0.25,)
    assert data.nbytes == 45 * 30 + 45 * 8
    assert "array" not in repr(data)


def test_arrays_cannot_change_under_the_checksum():
    given = arrays(classes=3)
    data = Dataset.from_arrays(**given)
    before = data.x_train.copy()
    given["x_train"][:] = 0
    assert (data.x_train == before).all()
    for key in KEYS:
        with pytest.raises(ValueError):
            getattr(data, key)[0] = 0
    with pytest.raises(AttributeError):
        data.name = "other"


@pytest.mark.parametrize("key", KEYS)
def test_checksum_notices_every_array_and_nothing_else(key):
    given = arrays(classes=3)
    data = Dataset.from_arrays(**given)
    wide = {name: value.astype(np.int32) if name[0] == "y" else value for name, value in given.items()}
    assert Dataset.from_arrays(**wide, name="other", mean=[0.1]).checksum == data.checksum
    given[key] = given[key][::-1]
    assert Dataset.from_arrays(**given).checksum != data.checksum


def test_shape_is_part_of_the_checksum():
    given = arrays(classes=3)
    turned = {key: given[key].reshape(-1, 5, 6) for key in ("x_train", "x_test")}
    assert Dataset.from_arrays(**given | turned).checksum != Dataset.from_arrays(**given).checksum


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(2, 35), min_size=1, max_size=4), st.integers(0, 99))
def test_development_holds_out_the_last_tenth_of_each_class(counts, seed):
    random = np.random.default_rng(seed)
    y = random.permutation(np.repeat(np.arange(len(counts)), counts))
    x = np.arange(len(y), dtype=np.uint8).reshape(-1, 1, 1, 1)  # an image is its own row number
    tests = np.full((len(counts), 1, 1, 1), 255, np.uint8)
    data = Dataset.from_arrays(x, y, tests, np.arange(len(counts)), name="set", mean=[0.2]).development()
    assert data.name == "set-development" and data.mean == (0.2,)
    assert sorted([*data.x_train.ravel(), *data.x_test.ravel()]) == list(range(len(y)))
    for label, count in enumerate(counts):
        kept, held = data.x_train[data.y_train == label].ravel(), data.x_test[data.y_test == label].ravel()
        assert len(held) == max(1, count // 10) and kept.max() < held.min()


def test_development_needs_two_images_of_a_class():
    data = Dataset.from_arrays(**arrays(classes=2, train=1))
    complaint(data.development, "class '0'", "at least 2")


# Wrong arrays


def swap(**changes):
    return lambda: Dataset.from_arrays(**{**arrays(), **changes})


x, y = arrays()["x_train"], arrays()["y_train"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"x_train": x / 255}, ("float64", "uint8", ".round().astype(np.uint8)")),
        ({"x_test": arrays()["x_test"].astype(np.int64)}, ("x_test", "int64", "astype(np.uint8)")),
        ({"x_train": x.reshape(len(x), -1)}, ("(120, 30)", "(N, H, W)", "reshape")),
        ({"x_train": np.zeros((120, 3, 8, 8), np.uint8)}, ("channels-first", "moveaxis")),
        ({"x_train": x[:0], "y_train": y[:0]}, ("(0, 6, 5)", "length 0")),
        ({"x_train": [[1], [1, 2]]}, ("list", "NumPy array")),
        ({"x_train": x[:-1]}, ("119 images", "120 labels")),
        ({"x_test": np.zeros((30, 6, 6), np.uint8)}, ("(6, 5, 1)", "(6, 6, 1)", "one size")),
        ({"y_train": y[:, None]}, ("(120, 1)", "ravel")),
        ({"y_train": y.astype(float)}, ("float64", "astype(np.int64)")),
        ({"y_train": y.astype(str)}, ("<U", "return_inverse")),
        ({"y_train": y.astype(int) - 1}, ("-1..8", "Renumber")),
        ({"y_train": y.astype(int) + 1}, ("1..10", "none is 0")),
        ({"y_train": np.where(y == 4, 5, y)}, ("9 distinct", "none is 4")),
        ({"y_test": np.full(30, 10)}, ("never trained", "label 10")),
        ({"y_test": np.zeros(30, int)}, ("no test image", "label 1 (9 such)")),
        ({"classes": ["cat"]}, ("10 classes", "1 class names")),
        ({"mean": [0.1, 0.2, 0.3]}, ("1 numbers", "[0.1, 0.2, 0.3]")),
        ({"mean": [128.0]}, ("from 0 to 1", "divide")),
        ({"std": [0.0]}, ("std above 0",)),
        ({"std": [float("nan")]}, ("nan",)),
        ({"std": "wide"}, ("wide",)),
    ],
)
def test_wrong_arrays_are_explained(changes, words):
    complaint(swap(**changes), *words)


# Names, folders and splits


def test_names_and_unknown_ones():
    assert NAMES[:5] == ("digits", "mnist", "fashion-mnist", "cifar10", "cifar100")
    complaint(lambda: load("fasion-mnist"), "Did you mean fashion-mnist", "cifar10,")
    complaint(lambda: load("digits", split="dev"), "official, sha256")


def test_a_read_only_view_of_an_array_that_can_be_written_is_copied():
    base = np.full((4, 3, 3, 1), 7, np.uint8)
    view = base[:]
    view.flags.writeable = False
    data = Dataset.from_arrays(view, np.array([0, 1, 0, 1]), view, np.array([0, 1, 0, 1]))
    base[:] = 0
    assert (data.x_train == 7).all()


def test_digits_are_embedded_stratified_and_fixed(monkeypatch):
    monkeypatch.setenv("FOCIL_DATA", "not there")  # they need no folder
    data = load("digits")
    total = np.bincount(data.y_train) + np.bincount(data.y_test)
    assert data.image_shape == (1, 8, 8) and total.sum() == 1797 and data.x_train.max() == 255
    assert (np.bincount(data.y_test) == total // 5).all()
    assert load("digits", split="sha256").checksum == data.checksum
    pixels = np.concatenate([data.x_train, data.x_test]) / 255
    assert pixels.mean() == pytest.approx(data.mean[0], abs=1e-4)
    assert pixels.std() == pytest.approx(data.std[0], abs=1e-4)


def test_digits_are_scikit_learns_wherever_it_keeps_them(monkeypatch):
    pixels, labels = load_digits(return_X_y=True)
    read = digits._table()
    assert (read[0] == pixels).all() and (read[1] == labels).all()
    assert not {array.dtype for array in read} - {np.dtype(np.int64)}
    monkeypatch.setattr(digits, "FILE", "elsewhere.csv.gz")
    asked = digits._table()
    assert all((mine == theirs).all() for mine, theirs in zip(asked, read, strict=True))


def test_a_file_in_the_folder_is_used_and_the_folder_left_alone(root):
    given = arrays()
    np.savez(root / "mnist.npz", **given)
    data = load("mnist")
    assert data.checksum == Dataset.from_arrays(**given).checksum
    assert (data.name, data.mean, data.std) == ("mnist", (0.1307,), (0.3081,))
    assert os.listdir(root) == ["mnist.npz"]


def test_a_folder_may_be_given(tmp_path):
    np.savez_compressed(tmp_path / "fashion-mnist.npz", **arrays())
    assert load("fashion-mnist", root=tmp_path).classes[-1] == "Ankle boot"
    complaint(lambda: load("mnist", root=tmp_path / "no"), "root is", "does not exist")


def test_a_folder_that_cannot_be_used(root, monkeypatch):
    monkeypatch.setenv("FOCIL_DATA", str(root / "absent"))
    complaint(data_root, "FOCIL_DATA", "absent", "does not exist")
    (root / "file").touch()
    monkeypatch.setenv("FOCIL_DATA", str(root / "file"))
    complaint(lambda: load("mnist"), "is a file", "existing folder")


def test_without_a_setting_the_user_cache_is_the_root(monkeypatch, tmp_path):
    monkeypatch.delenv("FOCIL_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert data_root() == user_cache() and user_cache().name == "focil"
    if sys.platform == "linux":
        assert user_cache() == tmp_path / "xdg" / "focil"


def test_the_names_of_another_set_are_refused(root):
    np.savez(root / "cifar100.npz", **arrays(shape=(4, 4, 3)))
    complaint(lambda: load("cifar100"), "10 classes", "100 class names")
    np.savez(root / "cifar10.npz", **arrays())
    complaint(lambda: load("cifar10"), "mean of cifar10", "1 numbers")


def test_split_by_content_forgets_order_and_origin(root, tmp_path):
    first = arrays(shape=(4, 4, 3))
    np.savez(tmp_path / "a.npz", **first)
    random = np.random.default_rng(1)
    pool = {axis: np.concatenate([first[f"{axis}_train"], first[f"{axis}_test"]]) for axis in "xy"}
    order = random.permutation(len(pool["y"]))
    rank = np.zeros(len(order), int)
    for label in range(10):
        rank[order[pool["y"][order] == label]] = np.arange(15)
    train, test = [r for r in order if rank[r] >= 3], [r for r in order if rank[r] < 3]
    parts = [pool[axis][rows] for rows in (train, test) for axis in "xy"]
    np.savez(tmp_path / "b.npz", **dict(zip(KEYS, parts, strict=True)))
    a, b = (load(str(tmp_path / f"{name}.npz"), split="sha256") for name in "ab")
    assert a.checksum == b.checksum and load(str(tmp_path / "a.npz")).checksum != a.checksum
    assert (np.bincount(a.y_train) == 12).all() and (np.bincount(a.y_test) == 3).all()
    np.savez(tmp_path / "c.npz", **{key: getattr(a, key) for key in KEYS})
    assert load(str(tmp_path / "c.npz"), split="sha256").checksum == a.checksum  # a fixed point


def test_split_by_content_tests_on_the_lowest_digests(tmp_path):
    import hashlib

    np.savez(tmp_path / "a.npz", **arrays(classes=2))
    data = load(str(tmp_path / "a.npz"), split="sha256")
    for label in range(2):
        low, high = (
            [hashlib.sha256(image.tobytes()).hexdigest() for image in part]
            for part in (data.x_test[data.y_test == label], data.x_train[data.y_train == label])
        )
        assert max(low) < min(high) and low == sorted(low) and high == sorted(high)


# Your own file


def test_your_own_file_may_bring_names_and_statistics(tmp_path):
    path = tmp_path / "leaves.npz"
    names = {"classes": np.array(["oak", "beech"]), "notes": np.array(["x"])}
    np.savez(path, **arrays(classes=2), **names, mean=0.4, std=np.array([0.2]))
    data = load(str(path))
    assert (data.name, data.classes, data.mean, data.std) == ("leaves", ("oak", "beech"), (0.4,), (0.2,))


def test_bytes_are_names_too(tmp_path):
    np.savez(tmp_path / "a.npz", **arrays(classes=2), classes=np.array([b"oak", b"beech"]))
    assert load(str(tmp_path / "a.npz")).classes == ("oak", "beech")


def test_missing_keys_are_listed(tmp_path):
    given = arrays()
    del given["y_test"]
    np.savez(tmp_path / "a.npz", **given, extra=[1])
    complaint(lambda: load(str(tmp_path / "a.npz")), "x_test, x_train, y_train", "Add y_test")


class Bomb:
    def __reduce__(self):
        return (os._exit, (3,))


def test_pickled_objects_are_refused_and_never_run(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, **{**arrays(), "x_train": np.array([Bomb()], dtype=object)})
    complaint(lambda: load(str(path)), "pickled", "run code")
    path.write_bytes(pickle.dumps(Bomb()))
    complaint(lambda: load(str(path)), "no zip archive")


@pytest.mark.parametrize("content", [b"", b"\0" * 4096, b"not a zip" * 99, b"PK\x03\x04" + b"\0" * 200])
def test_garbage_is_refused(root, content):
    (root / "mnist.npz").write_bytes(content)
    complaint(lambda: load("mnist"), "mnist.npz", "cannot be read", "delete it")


@settings(max_examples=25, deadline=None)
@given(st.floats(0, 0.999))
def test_a_file_cut_anywhere_is_refused(tmp_path_factory, share):
    path = tmp_path_factory.mktemp("cut") / "a.npz"
    np.savez_compressed(path, **arrays(classes=2))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    complaint(lambda: load(str(path)), "cannot be read")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_changed_byte_is_noticed_without_a_checksum_file(tmp_path, save):
    path = tmp_path / "a.npz"
    save(path, **arrays())
    broken = bytearray(path.read_bytes())
    broken[700] ^= 255  # inside the pixels of x_train
    path.write_bytes(broken)
    complaint(lambda: load(str(path)), "cannot be read")


def test_no_such_file_and_a_folder(tmp_path):
    complaint(lambda: load(str(tmp_path / "a.npz")), "is no file", "relative")
    (tmp_path / "b.npz").mkdir()
    complaint(lambda: load(str(tmp_path / "b.npz")), "is no file")


# The real sets, where a folder with them is named


@pytest.mark.parametrize(("name", "per_class"), [("fashion-mnist", (6000, 1000)), ("cifar100", (500, 100))])
def test_the_real_resplit_sets_are_fixed_points(name, per_class, monkeypatch):
    real(f"{name}.npz", monkeypatch)
    stored, split = load(name), load(name, split="sha256")
    for part, count in zip(("train", "test"), per_class, strict=True):
        assert (np.bincount(getattr(split, f"y_{part}")) == count).all()
        assert digests(getattr(stored, f"x_{part}")) == digests(getattr(split, f"x_{part}"))


def test_the_real_mnist_has_the_official_counts(monkeypatch):
    real("mnist.npz", monkeypatch)
    data = load("mnist")
    assert np.bincount(data.y_train).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert (data.x_train / np.float32(255)).mean() == pytest.approx(data.mean[0], abs=1e-3)
