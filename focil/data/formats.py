"""Image sets as arrays: what is accepted, the .npz store with its checksums, the official downloads, the
split by content.

A set is a dict with the keys of Keras' `mnist.npz`: x_train, y_train, x_test, y_test, and sometimes classes,
mean, std.
"""

import errno
import hashlib
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from focil.base.files import atomic_path, file_digest, why_unwritten
from focil.data.errors import DataError

KEYS = ("x_train", "y_train", "x_test", "y_test")
OPTIONAL_KEYS = ("classes", "mean", "std")
OFFICIAL = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST", "cifar10": "CIFAR10", "cifar100": "CIFAR100"}
DAMAGE = (
    OSError,
    ValueError,
    EOFError,
    RuntimeError,
    MemoryError,
    OverflowError,
    SyntaxError,
    zipfile.BadZipFile,
    zlib.error,
)


def checked(arrays: Mapping[str, object], origin: str) -> dict[str, np.ndarray]:
    """Return the four arrays in the one form the package uses, read-only; a writeable array is copied, never
    shared.

    arrays: x_* (N, H, W) or (N, H, W, C) uint8; y_* (N,) integers, every class 0..C-1 in both parts. origin:
    where they came from, for the messages. Returns x_* (N, H, W, C) uint8 and y_* (N,) int64, C-contiguous
    and not writeable. Raises DataError for anything else; the message says what is wrong and how to put it
    right.
    """
    missing = [key for key in KEYS if key not in arrays]
    if missing:
        raise DataError(
            f"{origin} holds {', '.join(sorted(arrays)) or 'nothing'}; expected x_train, y_train, x_test and "
            f"y_test. Add {', '.join(missing)}, e.g. with np.savez(path, x_train=..., y_train=..., ...)."
        )
    good = {}
    for part in ("train", "test"):
        x = good[f"x_{part}"] = _images(arrays[f"x_{part}"], f"x_{part} of {origin}")
        y = good[f"y_{part}"] = _labels(arrays[f"y_{part}"], f"y_{part} of {origin}")
        if len(x) != len(y):
            raise DataError(
                f"{origin} has {len(x)} images in x_{part} but {len(y)} labels in y_{part}; expected one "
                "label for each image. Check that both were written from the same selection."
            )
    _same_image_size(good, origin)
    _every_class_present(good["y_train"], good["y_test"], origin)
    return {key: good[key] for key in KEYS}


def _array(value: object, what: str) -> np.ndarray:
    try:
        return np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:
        raise DataError(
            f"{what} is a {type(value).__name__} that cannot be read as one array ({error}); expected a "
            "NumPy array. Give images of one size, and move a tensor to the CPU first."
        ) from error


def _images(value: object, what: str) -> np.ndarray:
    images = _array(value, what)
    if images.dtype != np.uint8:
        how = (
            "For floats in [0, 1] use (x * 255).round().astype(np.uint8)."
            if images.dtype.kind == "f"
            else "If its values are 0..255, use x.astype(np.uint8)."
        )
        raise DataError(f"{what} has dtype {images.dtype}; expected uint8 pixels, 0..255. {how}")
    if images.ndim == 3:
        images = images[..., None]  # (N, H, W, 1)
    if images.ndim != 4 or images.size == 0:
        raise DataError(
            f"{what} has shape {np.shape(value)}; expected (N, H, W) for gray or (N, H, W, C) for colour "
            "images, no axis of length 0. Reshape it, e.g. flat 784-pixel rows with x.reshape(-1, 28, 28)."
        )
    if images.shape[1] in (1, 3) and images.shape[3] > 4:
        raise DataError(
            f"{what} has shape {images.shape}, which looks channels-first; expected (N, H, W, C). Use "
            f"np.moveaxis(x, 1, -1)."
        )
    return _frozen(images)


def _labels(value: object, what: str) -> np.ndarray:
    labels = _array(value, what)
    if labels.ndim != 1:
        raise DataError(
            f"{what} has shape {labels.shape}; expected (N,), one integer for each image. Use y.ravel() for "
            "a column of labels, y.argmax(1) for one-hot rows."
        )
    if labels.dtype.kind not in "iu":
        raise DataError(
            f"{what} has dtype {labels.dtype}; expected integers 0..C-1. Use y.astype(np.int64) for whole "
            f"numbers, np.unique(y, return_inverse=True)[1] for names."
        )
    return _frozen(labels.astype(np.int64, copy=False))


def _frozen(array: np.ndarray) -> np.ndarray:
    # Whoever holds a writeable array could change it under the checksum; a read-only one is shared, sets can
    # be large.
    base = array
    while isinstance(base.base, np.ndarray):  # a read-only view may belong to a writeable array
        base = base.base
    fixed = array.copy(order="C") if base.flags.writeable else np.ascontiguousarray(array)
    fixed.flags.writeable = False
    return fixed


def _same_image_size(arrays: Mapping[str, np.ndarray], origin: str) -> None:
    train, test = arrays["x_train"].shape[1:], arrays["x_test"].shape[1:]
    if train != test:
        raise DataError(
            f"{origin} has training images of (H, W, C) = {train} and test images of {test}; expected one "
            "size. Resize one of them, or give both the same number of channels."
        )


def _every_class_present(y_train: np.ndarray, y_test: np.ndarray, origin: str) -> None:
    present = np.unique(y_train)
    gaps = np.flatnonzero(present != np.arange(len(present)))
    if len(gaps):
        raise DataError(
            f"{origin} has training labels {present[0]}..{present[-1]}, {len(present)} distinct, and none is "
            f"{gaps[0]}; expected every class 0..C-1 to have training images. Renumber train and test labels "
            f"alike, e.g. np.searchsorted(np.unique(y_train), y)."
        )
    for odd, what in (
        (np.setdiff1d(y_test, present), "test images of a class that is never trained"),
        (np.setdiff1d(present, y_test), "no test image of a class that is trained"),
    ):
        if len(odd):
            raise DataError(
                f"{origin} has {what}: label {odd[0]} ({len(odd)} such); expected the same classes "
                f"0..{len(present) - 1} in y_train and y_test. Drop those images or add the missing ones."
            )


def digest(arrays: Mapping[str, np.ndarray]) -> str:
    """Return the SHA-256 hex digest over dtype, shape and bytes of x_train, y_train, x_test, y_test, in
    this order."""
    total = hashlib.sha256()
    for key in KEYS:
        array = np.ascontiguousarray(arrays[key])
        total.update(f"{array.dtype.str}{array.shape}".encode())
        total.update(array.data)
    return total.hexdigest()


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> str:
    """Write a set to `path` whole or not at all, with its checksum in `path`.sha256; return `digest(arrays)`.

    The side file is in the format of `sha256sum -c`; a comment in it records the digest of the arrays, so
    that a file which has been verified need not be hashed a second time.
    """
    side = _side(path)
    side.unlink(missing_ok=True)  # one left by a deleted file would call the new file altered
    contents = digest(arrays)
    with atomic_path(path) as part:
        with open(part, "wb") as file:
            np.savez(file, **arrays)
        whole = file_digest(part)
    with atomic_path(side) as part:
        part.write_text(f"{whole}  {path.name}\n# arrays {contents}\n")
    return contents


def _side(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def read_npz(path: Path) -> tuple[dict[str, np.ndarray], str | None]:
    """Return the arrays of an .npz file, read-only, and their recorded digest where there is one.

    Only the known keys are read, none of them unpickled. Where `path`.sha256 exists the file is verified
    against it.

    Raises DataError if the file is absent, damaged, altered, no .npz, or holds pickled objects.
    """
    if not path.is_file():
        raise DataError(
            f"{path} is no file; expected an .npz with x_train, y_train, x_test and y_test. Check the path: "
            f"a relative one starts from {Path.cwd()}."
        )
    try:
        contents = _verified(path)
        with open(path, "rb") as file:
            if not zipfile.is_zipfile(file):
                raise ValueError("it is no zip archive, or its end is missing")
            file.seek(0)
            with np.load(file, allow_pickle=False) as stored:
                arrays = {key: stored[key] for key in stored.files if key in KEYS + OPTIONAL_KEYS}
    except DAMAGE as error:
        raise DataError(_why_unreadable(path, error)) from error
    for array in arrays.values():
        array.flags.writeable = False
    return arrays, contents


def _why_unreadable(path: Path, error: BaseException) -> str:
    if "Object arrays" in str(error):
        return (
            f"{path} holds pickled Python objects, which could run code and are not loaded; expected plain "
            "arrays of numbers (and strings for classes). Save them again with a numeric dtype, images all "
            "of one size."
        )
    return (
        f"{path} cannot be read ({type(error).__name__}: {error}); expected a whole .npz file. It is "
        "damaged or was cut short: delete it so that it is fetched again, or save your own once more."
    )


def _verified(path: Path) -> str | None:
    side = _side(path)
    if not side.is_file():
        return None  # a user's own file: nothing is known about it, and nothing is added to their folder
    words = side.read_text(errors="replace").split()
    found = file_digest(path)
    if not words or words[0].lower() != found:
        raise DataError(
            f"{path} has SHA-256 {found[:16]}…, expected {(words or ['none'])[0][:16]}… as recorded in "
            f"{side.name}: it was cut short or altered. Delete both so that it is fetched again."
        )
    return words[-1] if words[-3:-1] == ["#", "arrays"] else None


def official(name: str, folder: Path) -> dict[str, np.ndarray]:
    """Download one of OFFICIAL through torchvision into a temporary place in `folder` and return its four
    arrays.

    torchvision shows a progress bar and checks the MD5 of what it fetched. CIFAR's official files are
    pickles: they are unpickled by torchvision, and only after each has matched the MD5 written in its source.

    Raises DataError without a connection, or if the files did not match.
    """
    import torchvision  # slow, and needed only for the first download

    make = getattr(torchvision.datasets, OFFICIAL[name])
    with TemporaryDirectory(prefix=f".{name}-", dir=folder, ignore_cleanup_errors=True) as temporary:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter(
                    "ignore"
                )  # NumPy's about the dtypes in old pickles; nothing a reader could act on
                train, test = make(temporary, train=True, download=True), make(temporary, train=False)
        except (*DAMAGE, HTTPException, tarfile.TarError) as error:
            target = folder / f"{name}.npz"
            if getattr(error, "errno", None) == errno.ENOSPC:
                raise DataError(why_unwritten(target, error)) from error
            raise DataError(
                f"{name} is not on this machine and could not be downloaded "
                f"({' '.join(str(error).split())}); expected either. Connect to the network, or put "
                f"{target.name} (x_train, y_train, x_test, y_test) into {folder}, or set FOCIL_DATA to the "
                "folder that holds it."
            ) from error
    values = (train.data, train.targets, test.data, test.targets)
    return {key: np.asarray(value) for key, value in zip(KEYS, values, strict=True)}


def split_by_content(x: np.ndarray, y: np.ndarray, test_counts: np.ndarray) -> dict[str, np.ndarray]:
    """Split images by the SHA-256 of their pixels: of each class the lowest digests are for testing, the rest
    for training.

    The result depends on the set of images alone: not on their order, nor on which part each was in before.
    Both parts are stored in the order of the digests.

    x: (N, H, W, C) uint8; the digest is over the H*W*C bytes of an image in this order. y: (N,) int64.
    test_counts: (classes,) how many of each class are for testing. Returns the four arrays, read-only.
    """
    digests = np.array([hashlib.sha256(image.tobytes()).hexdigest() for image in x], dtype="S64")
    order = np.lexsort((y, digests))  # the label decides between equal pixels in two classes
    for_test = np.zeros(len(order), dtype=bool)
    for label, count in enumerate(test_counts):
        for_test[np.flatnonzero(y[order] == label)[:count]] = True
    train, test = order[~for_test], order[for_test]
    arrays = dict(zip(KEYS, (x[train], y[train], x[test], y[test]), strict=True))
    for array in arrays.values():
        array.flags.writeable = False
    return arrays
