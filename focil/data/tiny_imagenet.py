"""TinyImageNet from its official layout, a zip or a folder, decoded once into a checksummed .npz.

The layout: wnids.txt (one class id a line), words.txt (id, tab, names), train/ID/images/*.JPEG,
val/images/*.JPEG and val/val_annotations.txt (file, tab, id, ...). The validation part is the test set: the
official test labels are withheld. Class numbers come from the order of wnids.txt and from nowhere else. Code
that takes them from a directory listing of train/ and another one of val/ can number the two parts
differently, and nothing but the accuracy shows it.
"""

import hashlib
import io
import os
import zipfile
import zlib
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from focil.base import progress
from focil.data.errors import DataError
from focil.data.formats import checked, read_npz, write_npz

URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
MD5 = "90528d7ca1a48142e341f4ef8d21d0de"
DAMAGE = (
    OSError,
    ValueError,
    EOFError,
    RuntimeError,
    SyntaxError,
    zipfile.BadZipFile,
    zlib.error,
    Image.DecompressionBombError,
)


def read(source: Path, cache: Path) -> tuple[dict[str, np.ndarray], str | None]:
    """Return the arrays of a TinyImageNet zip or folder, decoding it only if `cache` has no copy of this very
    content.

    source: a .zip with one top folder, or such a folder; any number of classes, images of one size. cache: a
    folder that can be written to; the copy's name carries a fingerprint of `source`. Returns x_train, x_test
    (N, H, W, 3) uint8, y_train, y_test (N,) int64, classes (str); and the digest of the four. Raises
    DataError for a file that is missing, damaged, or not as the layout says.
    """
    with closing(_Folder(source) if source.is_dir() else _Zip(source)) as layout:
        stored = cache / f"{source.stem}-{layout.fingerprint[:16]}.npz"
        if stored.exists():
            return read_npz(stored)
        arrays = _decoded(layout)
    return arrays, write_npz(stored, arrays)


class _Zip:
    """The members of an archive under its one top folder, matched by name and read in memory, never
    extracted."""

    def __init__(self, path: Path):
        self.path = path
        try:
            self._archive = zipfile.ZipFile(path)
        except DAMAGE as error:
            raise DataError(
                f"{path} cannot be opened as a zip ({error}); expected the whole official archive. It was "
                "cut short or is something else: delete it and fetch it again."
            ) from error
        members = {info.filename: info for info in self._archive.infolist()}
        top = next(
            (name.removesuffix("wnids.txt") for name in members if name.split("/")[1:] == ["wnids.txt"]), ""
        )
        self._members = {
            name.removeprefix(top): info for name, info in members.items() if name.startswith(top)
        }
        self.names = self._members.keys()
        # CRCs are in the directory of the archive: a fingerprint of the content that costs no reading of it.
        self.fingerprint = _fingerprint(
            (name, info.CRC, info.file_size) for name, info in self._members.items()
        )

    def read(self, name: str) -> bytes:
        return self._archive.read(self._members[name])

    def close(self) -> None:
        self._archive.close()


class _Folder:
    """The files under a folder, by their path from it with forward slashes."""

    def __init__(self, path: Path):
        self.path = path
        files = [Path(folder, file) for folder, _, found in os.walk(path) for file in found]
        self._files = {file.relative_to(path).as_posix(): file for file in files}
        self.names = self._files.keys()
        stats = {name: file.stat() for name, file in self._files.items()}
        self.fingerprint = _fingerprint(
            (name, stat.st_size, stat.st_mtime_ns) for name, stat in stats.items()
        )

    def read(self, name: str) -> bytes:
        return self._files[name].read_bytes()

    def close(self) -> None:
        pass


def _fingerprint(facts: Iterable[tuple]) -> str:
    return hashlib.sha256(repr(sorted(facts)).encode()).hexdigest()


def _decoded(layout: _Zip | _Folder) -> dict[str, np.ndarray]:
    ids = _lines(layout, "wnids.txt")
    number = {wnid: label for label, wnid in enumerate(ids)}
    if not ids or len(number) != len(ids):
        raise DataError(
            f"wnids.txt of {layout.path} has {len(ids)} class ids, {len(number)} of them distinct; expected "
            "at least one and each once. Fetch the archive again."
        )
    train, test = _training_files(layout, number), _validation_files(layout, number)
    with progress.bar(desc=f"decoding {layout.path.stem}", total=len(train) + len(test), unit="image") as bar:
        size = _decode(layout, train[0][0], None).shape
        x_train, y_train = _images(layout, train, size, bar)
        x_test, y_test = _images(layout, test, size, bar)
    arrays = {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}
    return {**checked(arrays, str(layout.path)), "classes": np.array(_class_names(layout, ids))}


def _lines(layout: _Zip | _Folder, name: str) -> list[str]:
    text = _bytes(layout, name).decode("utf-8", errors="replace")
    return [line.strip() for line in text.splitlines() if line.strip()]


def _bytes(layout: _Zip | _Folder, name: str) -> bytes:
    if name not in layout.names:
        some = ", ".join(sorted(layout.names)[:3]) or "nothing"
        raise DataError(
            f"{layout.path} has no {name} (it holds {len(layout.names)} files: {some}, ...); expected the "
            "official TinyImageNet layout: wnids.txt, words.txt, train/ID/images, val/images and "
            "val/val_annotations.txt. Fetch the archive again, and leave it as it comes."
        )
    try:
        return layout.read(name)
    except DAMAGE as error:
        raise DataError(_damaged(layout, name, error)) from error


def _damaged(layout: _Zip | _Folder, name: str, error: BaseException) -> str:
    return (
        f"{name} in {layout.path} cannot be read ({type(error).__name__}: {error}); expected a whole file. "
        "The copy is damaged: delete it and fetch it again."
    )


def _training_files(layout: _Zip | _Folder, number: dict[str, int]) -> list[tuple[str, int]]:
    files: dict[str, list[str]] = {wnid: [] for wnid in number}
    for name in layout.names:
        match name.split("/"):
            case ["train", wnid, "images", file] if wnid in files and file.endswith(".JPEG"):
                files[wnid].append(name)
    for wnid, found in files.items():
        if not found:
            raise DataError(
                f"{layout.path} lists class {wnid} in wnids.txt but has no train/{wnid}/images/*.JPEG; "
                "expected training images of every class. Fetch the archive again."
            )
    # Shorter names first, so that _10 comes after _9 on every machine.
    return [
        (name, number[wnid])
        for wnid in number
        for name in sorted(files[wnid], key=lambda name: (len(name), name))
    ]


def _validation_files(layout: _Zip | _Folder, number: dict[str, int]) -> list[tuple[str, int]]:
    rows = [line.split("\t") for line in _lines(layout, "val/val_annotations.txt")]
    for row in rows:
        if len(row) < 2 or row[1] not in number:
            raise DataError(
                f"val/val_annotations.txt of {layout.path} has the line {' '.join(row)[:80]!r}; expected a "
                "file name, a tab and a class id that wnids.txt lists. Fetch the archive again."
            )
    return [(f"val/images/{row[0]}", number[row[1]]) for row in rows]


def _images(
    layout, files: list[tuple[str, int]], size: tuple[int, ...], bar: tqdm
) -> tuple[np.ndarray, np.ndarray]:
    images = np.empty((len(files), *size), dtype=np.uint8)  # (N, H, W, 3)
    for row, (name, _) in enumerate(files):
        images[row] = _decode(layout, name, size)
        bar.update()
    labels = np.array([label for _, label in files], dtype=np.int64)
    images.flags.writeable = labels.flags.writeable = False
    return images, labels


def _decode(layout: _Zip | _Folder, name: str, size: tuple[int, ...] | None) -> np.ndarray:
    data = _bytes(layout, name)
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
            pixels = np.asarray(image.convert("RGB"))  # some are gray or CMYK
    except DAMAGE as error:
        raise DataError(_damaged(layout, name, error)) from error
    if size is not None and pixels.shape != size:
        raise DataError(
            f"{name} in {layout.path} is {pixels.shape[1]} x {pixels.shape[0]} pixels; expected {size[1]} x "
            f"{size[0]} as the first image. Resize it, or fetch the archive again."
        )
    return pixels


def _class_names(layout: _Zip | _Folder, ids: list[str]) -> list[str]:
    if "words.txt" not in layout.names:
        return ids
    words = dict(line.split("\t", 1) for line in _lines(layout, "words.txt") if "\t" in line)
    return [words.get(wnid, wnid).split(",")[0] for wnid in ids]  # the first of the synonyms
