"""Data sets by name: `load` gives checked uint8 images, integer labels, and a checksum of what was loaded.

A set is looked for in `data_root()` and in the per-user cache, downloaded when absent, and kept as a
checksummed .npz. Folders of images are neither downloaded nor kept a second time, see `image_folder`.
"""

import difflib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from focil.data import image_folder, tiny_imagenet
from focil.data.catalogue import CATALOGUE, FOLDER, NAMES, Entry
from focil.data.digits import digits
from focil.data.download import data_root, fetch, user_cache, writable_folder
from focil.data.errors import DataError, existing_folder, own_path
from focil.data.formats import (
    KEYS,
    OPTIONAL_KEYS,
    checked,
    digest,
    official,
    read_npz,
    split_by_content,
    write_npz,
)

__all__ = ["NAMES", "SPLITS", "DataError", "Dataset", "data_root", "load"]

SPLITS = ("official", "sha256")
TINY = re.compile(r"tiny-imagenet(-\d+)?")
DEFAULT_MEAN, DEFAULT_STD = 0.5, 0.25
DEVELOPMENT_SHARE = 10  # one in ten training images of a class


@dataclass(frozen=True, eq=False)
class Dataset:
    """A labelled image set whose arrays cannot be written to.

    Made by `load` or `from_arrays`, which check everything.
    """

    name: str
    x_train: np.ndarray = field(repr=False)  # (N, H, W, C) uint8
    y_train: np.ndarray = field(repr=False)  # (N,) int64, every class 0..num_classes-1
    x_test: np.ndarray = field(repr=False)
    y_test: np.ndarray = field(repr=False)
    classes: tuple[str, ...]
    mean: tuple[float, ...]  # per channel, for pixels scaled to [0, 1]
    std: tuple[float, ...]
    checksum: str  # SHA-256 hex over dtype, shape and bytes of the four arrays, in the order above

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.classes)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of every image: the order a network takes, not the order of storage."""
        height, width, channels = self.x_train.shape[1:]
        return channels, height, width

    @property
    def nbytes(self) -> int:
        """Bytes of the four arrays."""
        return sum(getattr(self, key).nbytes for key in KEYS)

    @classmethod
    def from_arrays(
        cls,
        x_train,
        y_train,
        x_test,
        y_test,
        *,
        name: str = "mine",
        classes: Sequence[str] | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> "Dataset":
        """Return a data set made of your own arrays, after checking them; writeable arrays are copied.

        x_train, x_test: (N, H, W) or (N, H, W, C) uint8, 0..255, all images of one size. y_train, y_test:
        (N,) integers; every class 0..C-1 occurs in both. name: what results and figures call it. classes: one
        name a class; None gives "0", "1", ... mean, std: one number a channel, for pixels scaled to [0, 1];
        None gives 0.5 and 0.25. They are not computed from the images, because a stream must not look ahead
        at those of later tasks. Raises DataError for anything that does not fit; the message says what to do.
        """
        arrays = dict(zip(KEYS, (x_train, y_train, x_test, y_test), strict=True))
        return _dataset(name, arrays, f"data set {name!r}", classes, mean, std)

    def development(self) -> "Dataset":
        """The development split: the last tenth of each class's training images become the test images.

        "Last" is by stored order; at least one image a class. The real test images are dropped, so that
        choices made on this split have not seen them.

        Raises DataError if a class has only one training image.
        """
        held_out = np.zeros(len(self.y_train), dtype=bool)
        for label, name in enumerate(self.classes):
            rows = np.flatnonzero(self.y_train == label)
            if len(rows) < 2:
                raise DataError(
                    f"{self.name} has {len(rows)} training image of class {name!r}; expected at least 2, "
                    "one to train on and one to hold out. Add images of it, or use the test split."
                )
            held_out[rows[-max(1, len(rows) // DEVELOPMENT_SHARE) :]] = True
        parts = [part for keep in (~held_out, held_out) for part in (self.x_train[keep], self.y_train[keep])]
        for part in parts:
            part.flags.writeable = False  # new arrays that nobody else holds: spares from_arrays a copy
        return Dataset.from_arrays(
            *parts, name=f"{self.name}-development", classes=self.classes, mean=self.mean, std=self.std
        )


def load(
    name: str, *, split: str = "official", root: Path | None = None, image_size: int | None = None
) -> Dataset:
    """A data set by name: from disk if it is there, else downloaded, decoded and kept for the next time.

    name: one of NAMES, or the path of your own .npz with x_train, y_train, x_test, y_test and, if you like,
    classes, mean and std. `tiny-imagenet-K` is a zip or folder of that name in the official layout, never
    downloaded. `imagenet100` is a folder with train/CLASS/*.JPEG and val/CLASS/*.JPEG, never downloaded; so
    is any path with a slash. Their mean and std are ImageNet's. split: "official" leaves train and test as
    they come. "sha256" pools them and takes, of each class, the images with the lowest SHA-256 of their
    pixels for testing, as many as the class has test images officially. The embedded digits have no official
    split; theirs is the one by SHA-256, a fifth of each class for testing. root: the folder to look in; None
    takes `data_root()`. image_size: pixels to which images of a folder are resized and cropped, 8 to 512;
    None takes 224. No other set has it. Raises DataError for an unknown name, no file and no network, a
    damaged file, a folder that does not exist, a full disk.

    >>> digits = load("digits")
    >>> digits.x_train.shape, digits.image_shape, digits.num_classes
    ((1442, 8, 8, 1), (1, 8, 8), 10)
    """
    if split not in SPLITS:
        raise DataError(
            f"split is {split!r}; expected one of {', '.join(SPLITS)}. Correct it in the params file or the "
            "call."
        )
    name = str(name)
    if image_size is not None and type(image_size) is not int:
        raise DataError(f"image_size is {image_size!r}; expected a whole number of pixels")
    family = "tiny-imagenet" if TINY.fullmatch(name) else FOLDER if _is_folder(name) else name
    entry = CATALOGUE.get(family, Entry((), ()))
    arrays, checksum = _arrays(name, root, image_size)
    if split == "sha256":
        good = checked(arrays, name)
        pooled = (np.concatenate([good[f"{part}_train"], good[f"{part}_test"]]) for part in "xy")
        arrays, checksum = {**arrays, **split_by_content(*pooled, np.bincount(good["y_test"]))}, None
    mine = {key: np.atleast_1d(arrays[key]).tolist() for key in OPTIONAL_KEYS if key in arrays}
    classes, mean, std = (getattr(entry, key) or mine.get(key) for key in OPTIONAL_KEYS)
    title = Path(name).stem if _is_path(name) else Path(name).absolute().name if _is_folder(name) else name
    return _dataset(title, arrays, name, classes, mean, std, checksum)


def _is_path(name: str) -> bool:
    return name.endswith(".npz")


def _is_folder(name: str) -> bool:
    return name == FOLDER or not _is_path(name) and ("/" in name or os.sep in name)


def _arrays(
    name: str, root: Path | None, image_size: int | None
) -> tuple[Mapping[str, np.ndarray], str | None]:
    if _is_folder(name):
        folder = (
            image_folder.find(name, (_root(root), user_cache())) if name == FOLDER else own_path(name, "data")
        )
        return image_folder.read(folder, image_folder.SIZE if image_size is None else image_size), None
    if image_size is not None:
        raise DataError(
            f"image_size is {image_size}, but {name} is no folder of images and its images have one size; "
            f"expected {FOLDER} or the path of a folder. Remove image_size from the params file or the call."
        )
    if _is_path(name):
        return read_npz(own_path(name, "data"))
    if name == "digits":
        return digits(), None
    if name not in NAMES and not TINY.fullmatch(name):
        close = difflib.get_close_matches(name, NAMES, n=2)
        hint = f" Did you mean {' or '.join(close)}?" if close else ""
        raise DataError(
            f"There is no data set {name!r}; expected one of {', '.join(NAMES)}, or the path of an .npz "
            f"file or of a folder of images (with a slash).{hint}"
        )
    root = _root(root)
    if TINY.fullmatch(name):
        return tiny_imagenet.read(_tiny_source(name, root), writable_folder(root))
    for folder in (root, user_cache()):
        if (folder / f"{name}.npz").exists():
            return read_npz(folder / f"{name}.npz")
    kept = writable_folder(root)
    arrays = checked(official(name, kept), f"the official {name}")
    return arrays, write_npz(kept / f"{name}.npz", arrays)


def _root(given: Path | None) -> Path:
    return data_root() if given is None else existing_folder(Path(given), "root")


def _tiny_source(name: str, root: Path) -> Path:
    stem = "tiny-imagenet-200" if name == "tiny-imagenet" else name
    for path in (folder / file for folder in (root, user_cache()) for file in (f"{stem}.zip", stem)):
        if path.exists():
            return path
    if stem == "tiny-imagenet-200":
        return fetch(tiny_imagenet.URL, writable_folder(root) / f"{stem}.zip", md5=tiny_imagenet.MD5)
    raise DataError(
        f"{name} was not found: expected {stem}.zip or the folder {stem} in {root}, in the official "
        "TinyImageNet layout. It is not downloaded: put it there, or set FOCIL_DATA to the folder that "
        "holds it."
    )


def _dataset(
    name: str, arrays: Mapping[str, object], origin: str, classes, mean, std, checksum: str | None = None
) -> Dataset:
    good = checked(arrays, origin)
    count, channels = int(good["y_train"].max()) + 1, good["x_train"].shape[3]
    classes = tuple(map(str, range(count))) if classes is None else _class_names(classes, count, origin)
    mean = _per_channel(mean, DEFAULT_MEAN, channels, f"mean of {origin}", 0.0)
    std = _per_channel(std, DEFAULT_STD, channels, f"std of {origin}", 1e-6)
    return Dataset(name, **good, classes=classes, mean=mean, std=std, checksum=checksum or digest(good))


def _class_names(given: object, count: int, origin: str) -> tuple[str, ...]:
    labels = np.atleast_1d(np.asarray(given, dtype=object)).tolist()
    names = tuple(
        label.decode(errors="replace") if isinstance(label, bytes) else str(label) for label in labels
    )
    if len(names) != count:
        raise DataError(
            f"{origin} has labels of {count} classes but {len(names)} class names; expected one name a "
            "class. Check that the labels and the names belong to the same data set."
        )
    return names


def _per_channel(given: object, default: float, channels: int, what: str, least: float) -> tuple[float, ...]:
    try:
        numbers = np.full(channels, default) if given is None else np.asarray(given, dtype=float)
    except (TypeError, ValueError):
        numbers = np.empty(0)
    if numbers.shape != (channels,) or not ((numbers >= least) & (numbers <= 1)).all():
        raise DataError(
            f"{what} is {given}; expected {channels} numbers from 0 to 1 (std above 0), one for each "
            "channel of the images. Check that the images are of this data set; divide statistics of "
            "0..255 pixels by 255."
        )
    return tuple(numbers.tolist())
