"""The official TinyImageNet layout, built small: the order of wnids.txt decides, and damage is explained."""

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_datasets import REAL, complaint, real

from focil.data.datasets import load

IDS = ("n03", "n01", "n02")  # not in the order of a directory listing
NAME = "tiny-imagenet-3"
pytestmark = pytest.mark.usefixtures("root")


def jpeg(level, size=(8, 8), mode="RGB"):
    buffer = io.BytesIO()
    Image.new(mode, size, level if mode == "L" else (level,) * len(mode)).save(buffer, "JPEG")
    return buffer.getvalue()


def layout():
    """{path: bytes}; an image of class n0K has the gray level 50 K, so that its label can be read from its
    pixels."""
    files = {
        "wnids.txt": "\n".join(IDS).encode(),
        "words.txt": b"n01\tgoldfish, Carassius auratus\nn02\tbison\nn99\tnone\n",
    }
    for wnid in IDS:
        files |= {f"train/{wnid}/images/{wnid}_{i}.JPEG": jpeg(50 * int(wnid[2])) for i in range(11)}
        files[f"train/{wnid}/{wnid}_boxes.txt"] = b"\n"
    rows = [("val_0.JPEG", "n02"), ("val_1.JPEG", "n03"), ("val_2.JPEG", "n01"), ("val_3.JPEG", "n02")]
    files |= {f"val/images/{name}": jpeg(50 * int(wnid[2])) for name, wnid in rows}
    lines = [f"{name}\t{wnid}\t0\t0\t7\t7\n" for name, wnid in rows]
    files["val/val_annotations.txt"] = "".join(lines).encode()
    return files


def pack(root, files, name=NAME):
    with zipfile.ZipFile(root / f"{name}.zip", "w") as archive:
        archive.writestr(f"{name}/", b"")
        for path, body in files.items():
            archive.writestr(f"{name}/{path}", body)
    return root / f"{name}.zip"


def spread(root, files):
    for path, body in files.items():
        target = root / NAME / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(body)


@pytest.mark.parametrize("place", [pack, spread])
def test_class_numbers_come_from_wnids_in_both_parts(root, place):
    place(root, layout())
    data = load(NAME)
    assert data.classes == ("n03", "goldfish", "bison")  # n03 has no words
    assert data.image_shape == (3, 8, 8) and data.y_test.tolist() == [2, 0, 1, 2]
    for x, y in ((data.x_train, data.y_train), (data.x_test, data.y_test)):
        level = x.astype(float).mean((1, 2, 3))
        # JPEG keeps a flat level to about one step.
        assert np.abs(level - np.array([150, 50, 100])[y]).max() < 3


def test_zip_and_folder_give_the_same_set(root):
    pack(root, layout())
    zipped = load(NAME)
    (root / f"{NAME}.zip").unlink()
    spread(root, layout())
    assert load(NAME).checksum == zipped.checksum


def test_images_are_decoded_once_and_a_replaced_zip_is_noticed(root, monkeypatch):
    path = pack(root, layout())
    first = load(NAME)
    with monkeypatch.context() as without:
        without.setattr(Image, "open", None)  # a second decoding would fail
        os.utime(path, (1, 1))
        assert load(NAME).checksum == first.checksum
    pack(root, {**layout(), "train/n01/images/n01_0.JPEG": jpeg(51)})
    assert load(NAME).checksum != first.checksum
    assert len([file for file in os.listdir(root) if file.endswith(".npz")]) == 2


def test_a_read_only_folder_keeps_its_zip_only(root, tmp_path):
    pack(root, layout())
    root.chmod(0o555)
    load(NAME)
    assert os.listdir(root) == [f"{NAME}.zip"]
    assert len(os.listdir(tmp_path / "cache" / "focil")) == 2  # the .npz and its checksum


def test_train_files_are_in_the_order_of_their_numbers(root):
    files = layout()
    for i in range(11):
        files[f"train/n01/images/n01_{i}.JPEG"] = jpeg(20 * i)
    pack(root, files)
    data = load(NAME)
    assert (np.diff(data.x_train[data.y_train == 1].astype(float).mean((1, 2, 3))) > 0).all()


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_gray_and_cmyk_files_become_rgb(root, mode):
    pack(root, {**layout(), "train/n01/images/n01_0.JPEG": jpeg(50, mode=mode)})
    assert load(NAME).x_train.shape == (33, 8, 8, 3)


def test_split_by_content_applies(root):
    files = layout()
    random = np.random.default_rng(0)
    for path in files:
        if path.endswith(".JPEG"):
            files[path] = jpeg(int(random.integers(256)))
    pack(root, files)
    stored, split = load(NAME), load(NAME, split="sha256")
    assert (np.bincount(split.y_test) == np.bincount(stored.y_test)).all() and split.classes == stored.classes


def test_a_set_that_is_never_downloaded_says_what_is_looked_for(root):
    complaint(lambda: load("tiny-imagenet-20"), "tiny-imagenet-20.zip", str(root), "FOCIL_DATA")


def without(*paths):
    return {path: body for path, body in layout().items() if path not in paths}


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (without("wnids.txt"), ("no wnids.txt", "official")),
        (without("val/val_annotations.txt"), ("no val/val_annotations.txt",)),
        (without("val/images/val_2.JPEG"), ("no val/images/val_2.JPEG",)),
        (
            without(*(f"train/n01/images/n01_{i}.JPEG" for i in range(11))),
            ("class n01", "training images of every class"),
        ),
        ({**layout(), "wnids.txt": b"n01\nn01\n"}, ("2 class ids", "1 of them distinct")),
        ({**layout(), "wnids.txt": b"\n"}, ("0 class ids",)),
        ({**layout(), "val/val_annotations.txt": b"val_0.JPEG\tn77\n"}, ("n77", "wnids.txt lists")),
        ({**layout(), "val/val_annotations.txt": b"val_0.JPEG\n"}, ("'val_0.JPEG'", "a tab")),
        (
            {**layout(), "val/val_annotations.txt": b"../../etc/passwd\tn01\n"},
            ("no val/images/../../etc/passwd",),
        ),
        ({**layout(), "val/val_annotations.txt": b"val_0.JPEG\tn01\n"}, ("no test image",)),
        ({**layout(), "val/val_annotations.txt": b""}, ("(0, 8, 8, 3)",)),
        (
            {**layout(), "train/n01/images/n01_3.JPEG": b"\xff\xd8 no picture"},
            ("n01_3.JPEG", "cannot be read"),
        ),
        ({**layout(), "train/n01/images/n01_3.JPEG": jpeg(9, (64, 64))[:-150]}, ("n01_3.JPEG", "whole file")),
        ({**layout(), "train/n01/images/n01_3.JPEG": jpeg(50, (9, 8))}, ("9 x 8", "expected 8 x 8")),
    ],
)
def test_a_layout_that_is_not_official_is_explained(root, files, words):
    pack(root, files)
    complaint(lambda: load(NAME), *words)


def test_a_zip_cut_short_or_altered_is_explained(root):
    path = pack(root, layout())
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    complaint(lambda: load(NAME), "cannot be opened as a zip")
    path.write_bytes(b"\0" * 1000)
    complaint(lambda: load(NAME), "cannot be opened as a zip")
    broken = bytearray(whole)
    broken[whole.index(b"\xff\xd8") + 300] ^= 255  # one byte of the first picture
    path.write_bytes(broken)
    complaint(lambda: load(NAME), "CRC", "cannot be read")
    assert os.listdir(root) == [path.name]


def test_a_damaged_decoded_copy_is_explained(root):
    pack(root, layout())
    load(NAME)
    copy = next(root.glob("*.npz"))
    copy.write_bytes(copy.read_bytes()[:-10])
    complaint(lambda: load(NAME), copy.name, "Delete both")


def test_the_real_twenty_classes(root, monkeypatch):
    real("tiny-imagenet-20.zip", monkeypatch)
    (root / "tiny-imagenet-20.zip").symlink_to(Path(REAL, "tiny-imagenet-20.zip").resolve())
    data = load("tiny-imagenet-20", root=root)  # the decoded copy stays out of the real folder
    assert (data.num_classes, data.image_shape) == (20, (3, 64, 64))
    assert (np.bincount(data.y_train) == 500).all() and (np.bincount(data.y_test) == 50).all()
    assert data.classes[:2] == ("goldfish", "centipede")
