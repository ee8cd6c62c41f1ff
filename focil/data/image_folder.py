"""A folder of images in the usual layout as arrays: FOLDER/train/CLASS/*.JPEG and FOLDER/val/CLASS/*.JPEG (or
`test` instead of `val`).

As is usual for ImageNet, the shorter side is resized to 256/224 of the size asked for, and the middle is cut
out. What is decoded is not kept on disk: at 224 pixels ImageNet-100 takes 19 GB, more than its files. So
every start decodes again, about 3 ms an image and core.
"""

import math
import re
import warnings
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from focil.base import progress
from focil.data.errors import DataError
from focil.data.formats import KEYS

SIZE, SMALLEST, LARGEST = 224, 8, 512  # pixels
SHORTER = 256 / 224  # the shorter side of the resized image, in sides of what is cut out
SUFFIXES = (".jpeg", ".jpg", ".png", ".bmp", ".webp")
FORMATS = ("JPEG", "PNG", "BMP", "WEBP")  # by content: one of ImageNet's .JPEG files is a PNG
LAYOUT = "train/CLASS/*.JPEG and val/CLASS/*.JPEG (or test/CLASS), a folder for each class"


def find(name: str, folders: Sequence[Path]) -> Path:
    """Return the folder of images called `name` in the first of `folders` that has it.

    It is never downloaded. Raises DataError.
    """
    if found := _first_folder(folder / name for folder in folders):
        return found
    raise DataError(
        f"{name} was not found: expected the folder {name} in {folders[0]}, with {LAYOUT}. It is not "
        "downloaded: put it (or a link to it) there, or set FOCIL_DATA to the folder that holds it."
    )


def read(folder: Path, size: int = SIZE) -> dict[str, np.ndarray]:
    """Return the images of a folder as arrays, decoded by a pool of threads.

    folder: in the layout above, the same classes in both parts. Links are followed; hidden files, and files
    without the name of an image, are left out. size: pixels of a side of every image, 8 to 512. Returns
    x_train, x_test (N, size, size, 3) uint8, y_train, y_test (N,) int64, read-only, by class and then by file
    name; classes (str), which are the names of the folders, sorted. Raises DataError for another layout, a
    file that is no image, or less free memory than the images take.
    """
    if not SMALLEST <= size <= LARGEST:
        raise DataError(
            f"image_size is {size!r}; expected a whole number of pixels from {SMALLEST} to {LARGEST}. "
            f"Correct it, or leave it out for {SIZE}."
        )
    parts = [_part(folder, "train"), _part(folder, "val", "test")]
    train, test = files = [_classes(part) for part in parts]
    _same_classes(parts, train, test)
    paths = [[path for found in classes.values() for path in found] for classes in files]
    images = _room(folder, [len(found) for found in paths], size)
    with progress.bar(desc=f"decoding {folder.name}", total=sum(map(len, paths)), unit="image") as bar:
        for pixels, found in zip(images, paths, strict=True):
            _decode_all(pixels, found, bar)
    labels = [
        np.repeat(np.arange(len(classes)), [len(found) for found in classes.values()]).astype(np.int64)
        for classes in files
    ]
    arrays = dict(zip(KEYS, (images[0], labels[0], images[1], labels[1]), strict=True))
    for array in arrays.values():
        array.flags.writeable = False  # so that they are shared later on: a copy may not fit
    return {**arrays, "classes": np.array(list(train))}


def _first_folder(paths: Iterable[Path]) -> Path | None:
    return next((path for path in paths if path.is_dir()), None)


def _part(folder: Path, *names: str) -> Path:
    if not folder.is_dir():
        raise DataError(
            f"{folder} is no folder; expected one with {LAYOUT}. Check the path: a relative one starts from "
            f"{Path.cwd()}."
        )
    if found := _first_folder(folder / name for name in names):
        return found
    raise DataError(
        f"{folder} has no folder {' or '.join(names)} ({_some(_listed(folder))}); expected {LAYOUT}. "
        "Arrange the images so, or name the folder that is."
    )


def _classes(part: Path) -> dict[str, list[Path]]:
    listed = _listed(part)
    found = {path.name: _images(path) for path in listed if path.is_dir()}
    if not found:
        raise DataError(
            f"{part} has no folder of a class ({_some(listed)}); expected {LAYOUT}. Move its images into a "
            "folder for each class, called the same in both parts."
        )
    return found


def _images(folder: Path) -> list[Path]:
    listed = _listed(folder)
    found = [path for path in listed if path.suffix.lower() in SUFFIXES]
    if odd := [path for path in found if not path.is_file()]:
        raise DataError(
            f"{odd[0]} is called like an image but is no file (a folder, a pipe, or a link to nothing); "
            "expected images. Remove it, or rename it."
        )
    if not found:
        raise DataError(
            f"{folder} holds no image ({_some(listed)}); expected at least one of a class in each part, "
            f"called {', '.join(SUFFIXES)}. Add some, or remove the class from both parts."
        )
    return found


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(
            (path for path in folder.iterdir() if not path.name.startswith(".")), key=lambda path: path.name
        )
    except OSError as error:
        raise DataError(
            f"{folder} cannot be listed ({error}); expected a folder that can be read. Check its permissions "
            "and its disk."
        ) from error


def _some(found: Sequence[Path]) -> str:
    names = [path.name for path in found[:3]]
    return f"it holds {', '.join(names) or 'nothing'}{', ...' if len(found) > 3 else ''}"


def _same_classes(parts: list[Path], train: dict, test: dict) -> None:
    for (has, lacks), odd in ((parts, train.keys() - test.keys()), (parts[::-1], test.keys() - train.keys())):
        if odd:
            raise DataError(
                f"{has} has {len(odd)} classes that are not in {lacks} "
                f"({', '.join(sorted(odd)[:3])}{', ...' if len(odd) > 3 else ''}); expected folders of the "
                "same classes in both. Add those that are missing, or remove these."
            )


def _room(folder: Path, counts: list[int], size: int) -> list[np.ndarray]:
    # A stream keeps a copy of its own, in the order of channels that networks read.
    needed, free = 2 * sum(counts) * size * size * 3, _free_memory()
    try:
        if needed > free:  # asked first: the system grants more than it has, and kills whoever uses it
            raise MemoryError(f"{free / 1e9:.1f} GB are free")
        return [np.empty((count, size, size, 3), dtype=np.uint8) for count in counts]
    except MemoryError as error:
        raise DataError(
            f"{folder} has {sum(counts)} images, which with the stream's copy take {needed / 1e9:.1f} GB of "
            f"memory at {size} x {size} pixels ({error}); expected room for all of them. Ask for smaller "
            "images (image_size), or use a machine with more memory."
        ) from error


def _free_memory() -> float:
    try:
        found = re.findall(
            r"^(?:MemAvailable|SwapFree):\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE
        )
    except OSError:
        return math.inf  # only Linux says it there
    return 1024 * sum(map(int, found)) or math.inf


def _decode_all(images: np.ndarray, paths: list[Path], bar: tqdm) -> None:
    def decode(row: int) -> None:
        images[row] = _decoded(paths[row], images.shape[1])

    with ThreadPoolExecutor() as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's about damaged metadata; nothing a reader could act on
        for _ in pool.map(decode, range(len(paths))):
            bar.update()


def _in_colour(image: Image.Image) -> Image.Image:
    """In RGB, 8 bits: 16 bits are scaled down, and what is transparent lies on white."""
    if image.mode.startswith("I;16"):  # convert() would clip it to white
        return Image.fromarray((np.asarray(image) // 257).astype(np.uint8)).convert("RGB")
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def _decoded(path: Path, size: int) -> np.ndarray:
    try:
        with Image.open(path, formats=FORMATS) as image:
            side = (
                min(image.size) * size / round(size * SHORTER)
            )  # of the square in the middle, in pixels of the file
            left, top = ((length - side) / 2 for length in image.size)
            square = _in_colour(image).resize(
                (size, size), Image.Resampling.BILINEAR, (left, top, left + side, top + side)
            )
            return np.asarray(square)
    except Exception as error:  # a damaged file fails in many ways inside Pillow
        raise DataError(
            f"{path} cannot be read ({type(error).__name__}: {' '.join(str(error).split())}); expected a "
            f"whole image, one of {', '.join(FORMATS)}. It is damaged or something else: fetch it again, or "
            "delete it."
        ) from error
