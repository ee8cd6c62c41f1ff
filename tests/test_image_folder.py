"""A folder of images: the usual layout decides, every image becomes one square in RGB, and what does not
fit is named."""

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from conftest import train_alone
from PIL import Image
from test_datasets import complaint
from torchvision.transforms import CenterCrop, Compose, Resize

from focil import Benchmark, BenchmarkError, read_params
from focil.base.progress import VARIABLE
from focil.data import image_folder
from focil.data.datasets import NAMES, load
from focil.runs.run import Run
from focil.runs.sources import load_data
from focil.studies.memory import Memory
from focil.studies.variants import RouterVariants

LEVELS = {
    "bird": 40,
    "cat": 90,
    "dog": 140,
    "emu": 190,
}  # a class is a grey level, so that a label can be read from the pixels
pytestmark = pytest.mark.usefixtures("root")


def picture(level, size=(20, 16), mode="RGB", kind="JPEG"):
    buffer = io.BytesIO()
    Image.new(mode, size, level if mode in "LP" else (level,) * len(mode)).save(buffer, kind)
    return buffer.getvalue()


def layout(classes="dog cat bird", train=3, second="val"):
    """{path: bytes}, JPEG for training and PNG for testing."""
    files = {}
    for name in classes.split():
        files |= {f"train/{name}/{i}.JPEG": picture(LEVELS[name] + i) for i in range(train)}
        files |= {f"{second}/{name}/{i}.png": picture(LEVELS[name] + i, kind="PNG") for i in range(2)}
    return files


def spread(folder, files):
    for path, body in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(body)
    return folder


@pytest.fixture
def read(tmp_path):
    return lambda files, size=16: image_folder.read(spread(tmp_path / "pets", files), size)


# What is read


@pytest.mark.parametrize("second", ["val", "test"])
def test_classes_are_numbered_by_the_sorted_names_of_their_folders(read, second):
    found = read(layout(second=second))
    assert found["classes"].tolist() == ["bird", "cat", "dog"]
    assert found["x_train"].shape == (9, 16, 16, 3) and found["x_test"].shape == (6, 16, 16, 3)
    assert found["y_train"].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2] and found["y_test"].tolist() == [
        0,
        0,
        1,
        1,
        2,
        2,
    ]
    for part in ("train", "test"):
        x, y = found[f"x_{part}"], found[f"y_{part}"]
        assert x.dtype == np.uint8 and y.dtype == np.int64 and not x.flags.writeable and not y.flags.writeable
        assert (
            np.abs(x.astype(float).mean((1, 2, 3)) - np.array([40, 90, 140])[y]).max() < 4
        )  # up to 2 by number, 1 or so by JPEG


def test_images_of_a_class_are_in_the_order_of_their_names(read):
    files = {
        f"{part}/cat/{name}.png": picture(level, kind="PNG")
        for part in ("train", "val")
        for name, level in (("b", 2), ("c", 3), ("a", 1))
    }
    assert read(files)["x_train"][:, 0, 0, 0].tolist() == [1, 2, 3]


def test_val_is_taken_where_there_is_a_test_too(read):
    assert len(read(layout() | {"test/cow/1.png": b""})["x_test"]) == 6


def test_hidden_files_and_other_files_are_left_out(read):
    noise = dict.fromkeys(
        (
            "readme.txt",
            "train/.DS_Store",
            "train/labels.csv",
            "train/cat/._0.JPEG",
            "train/cat/boxes.xml",
            "val/.cache/x.png",
        ),
        b"no picture",
    )
    plain, noisy = read(layout()), read(layout() | noise)
    assert (
        noisy["classes"].tolist() == plain["classes"].tolist()
        and (noisy["x_train"] == plain["x_train"]).all()
    )


def test_links_are_followed(tmp_path, root):
    spread(tmp_path / "elsewhere", layout())
    (root / "imagenet100").symlink_to(tmp_path / "elsewhere")
    assert load("imagenet100", image_size=8).num_classes == 3


def test_endings_in_capitals_and_formats_under_another_name_are_read(read):
    files = layout() | {
        "train/cat/7.JPG": picture(90),
        "train/cat/8.JPEG": picture(90, kind="PNG"),
        "train/cat/9.bmp": picture(90, kind="BMP"),
    }
    assert (read(files)["y_train"] == 1).sum() == 6


@pytest.mark.parametrize(
    "mode, kind",
    [("L", "JPEG"), ("L", "PNG"), ("CMYK", "JPEG"), ("RGBA", "PNG"), ("P", "PNG"), ("RGB", "WEBP")],
)
def test_every_mode_becomes_rgb(read, mode, kind):
    files = {**layout(), "train/bird/0.JPEG": picture(90, mode=mode, kind=kind)}
    pixels = read(files)["x_train"][0].astype(int)
    assert pixels.shape == (16, 16, 3) and np.ptp(pixels) <= 2
    if mode not in ("CMYK", "P"):  # of these the level is no brightness
        on_white = 90 * 90 / 255 + 255 - 90  # in RGBA the level is the opacity too
        assert abs(pixels.mean() - (on_white if mode == "RGBA" else 90)) < 2


@pytest.mark.parametrize("width, height", [(90, 60), (60, 90), (61, 87), (75, 75), (20, 31), (300, 40)])
def test_the_shorter_side_is_resized_and_the_middle_cut_out(tmp_path, width, height):
    rows, columns = np.mgrid[:height, :width]
    waves = 127 + 60 * np.sin(rows / height * 4)[..., None] * np.cos(
        columns / width * np.array([3, 5, 7])[:, None, None]
    ).transpose(1, 2, 0)
    image = Image.fromarray(waves.round().astype(np.uint8))
    image.save(tmp_path / "a.png")
    usual = Compose([Resize(64), CenterCrop(56)])(image)
    # Theirs is cut at whole pixels after resizing: up to half a pixel from ours. A shorter side of 67 instead
    # of 64 would differ by more than 1.
    assert np.abs(image_folder._decoded(tmp_path / "a.png", 56).astype(int) - np.asarray(usual)).mean() < 0.8


def test_the_middle_is_the_middle(tmp_path):
    # Of a side of 70 that is resized to 256, 224 are 61.25: from 4.375 to 65.625, and by 70 more along a side
    # of 210.
    for border, expected in ((4, True), (6, False)):
        pixels = np.zeros((70, 210), np.uint8)
        pixels[border:-border, 70 + border : -70 - border] = 255
        Image.fromarray(pixels).save(tmp_path / "a.png")
        found = image_folder._decoded(tmp_path / "a.png", 224)
        assert bool(found.min() == 255) is expected
        assert (found == found[::-1]).all() and (found == found[:, ::-1]).all()


def test_decoding_does_not_depend_on_the_threads(read, monkeypatch):
    first = read(layout(train=30))
    monkeypatch.setattr(image_folder, "ThreadPoolExecutor", lambda: ThreadPoolExecutor(1))
    assert all((read({})[key] == first[key]).all() for key in first)


# By name and by path


def test_imagenet100_is_found_by_its_name(root):
    spread(root / "imagenet100", layout())
    data = load("imagenet100", image_size=32)
    assert (data.name, data.classes, data.image_shape) == ("imagenet100", ("bird", "cat", "dog"), (3, 32, 32))
    assert (data.mean, data.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert load("imagenet100").image_shape == (3, 224, 224)
    assert sorted(path.name for path in root.iterdir()) == ["imagenet100"]  # nothing decoded is kept
    assert "imagenet100" in NAMES


def test_imagenet100_may_lie_in_the_cache_or_in_a_folder_that_is_given(root, tmp_path):
    spread(tmp_path / "cache" / "focil" / "imagenet100", layout("cat dog"))
    assert load("imagenet100", image_size=8).num_classes == 2
    spread(tmp_path / "other" / "imagenet100", layout("bird cat dog"))
    assert load("imagenet100", image_size=8, root=tmp_path / "other").num_classes == 3


def test_a_folder_is_found_by_its_path(tmp_path, monkeypatch):
    spread(tmp_path / "pets", layout())
    data = load(str(tmp_path / "pets"), image_size=16)
    assert (data.name, data.mean) == ("pets", (0.485, 0.456, 0.406))
    monkeypatch.chdir(tmp_path)
    for path in ("./pets", "pets/"):
        again = load(path, image_size=16)
        assert (again.name, again.checksum) == ("pets", data.checksum)
    assert load("./pets").image_shape == (3, 224, 224)


def test_the_checksum_knows_the_size_and_the_pixels(tmp_path):
    folder = spread(tmp_path / "pets", layout())
    first = load(str(folder), image_size=16).checksum
    assert load(str(folder), image_size=17).checksum != first
    spread(folder, {"train/cat/0.JPEG": picture(200)})
    assert load(str(folder), image_size=16).checksum != first


def test_large_arrays_are_not_copied(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(
        image_folder,
        "read",
        lambda folder, size, read=image_folder.read: made.append(read(folder, size)) or made[0],
    )
    data = load(str(spread(tmp_path / "pets", layout())), image_size=16)
    assert np.shares_memory(data.x_train, made[0]["x_train"])


def test_the_split_by_content_and_development_apply(tmp_path):
    folder = spread(tmp_path / "pets", layout(train=20))
    split = load(str(folder), image_size=16, split="sha256")
    assert np.bincount(split.y_test).tolist() == [2, 2, 2] and split.classes == ("bird", "cat", "dog")
    held_out = load_data(Benchmark(name="pets", data=str(folder), tasks=3, image_size=16, development=True))
    assert np.bincount(held_out.y_test).tolist() == [2, 2, 2] and held_out.image_shape == (3, 16, 16)


def test_a_run_and_the_variants_know_the_size(tmp_path):
    benchmark = Benchmark(
        name="pets",
        data=str(spread(tmp_path / "pets", layout())),
        tasks=3,
        image_size=16,
        device="cpu",
        threads=1,
    )
    assert Run(tmp_path / "out", benchmark).data.image_shape == (3, 16, 16)
    assert RouterVariants(benchmark, 0, 10**6).shape == (3, 16, 16)


# What is not


def without(*starts):
    return {path: body for path, body in layout().items() if not path.startswith(starts)}


@pytest.mark.parametrize(
    "files, words",
    [
        (without("train/"), ("has no folder train", "val/CLASS")),
        (without("val/"), ("has no folder val or test", "it holds train")),
        ({"train/1.png": b"", "val/1.png": b""}, ("train has no folder of a class", "it holds 1.png")),
        (
            without("val/") | {f"val/{i}.JPEG": picture(1) for i in range(5)},
            ("val has no folder of a class", "0.JPEG, 1.JPEG, 2.JPEG, ..."),
        ),
        (without("train/cat"), ("val has 1 classes that are not in", "train (cat)")),
        (without("val/cat", "val/dog"), ("train has 2 classes that are not in", "val (cat, dog)")),
        (
            without("train/cat") | {"train/cat/notes.txt": b""},
            ("cat holds no image", "it holds notes.txt", ".jpeg"),
        ),
        (without("val/dog") | {"val/dog/.hidden.png": b""}, ("dog holds no image", "it holds nothing")),
        (without("train/cat") | {"train/cat/images/1.png": b""}, ("cat holds no image", "it holds images")),
        (
            layout() | {"train/cat/1.JPEG": b"\xff\xd8 no picture"},
            ("train/cat/1.JPEG cannot be read", "JPEG, PNG", "delete it"),
        ),
        (layout() | {"val/dog/1.png": b""}, ("val/dog/1.png cannot be read",)),
        (
            layout() | {"train/cat/1.JPEG": picture(90, (64, 64))[:-150]},
            ("train/cat/1.JPEG cannot be read", "whole image"),
        ),
        (layout() | {"train/cat/1.png/deep.txt": b""}, ("train/cat/1.png is called like an image",)),
        (
            layout() | {"train/cat/1.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"},
            ("1.png cannot be read", "UnidentifiedImageError"),
        ),
    ],
)
def test_a_folder_in_another_layout_is_explained(read, files, words):
    complaint(lambda: read(files), *words)


def test_a_folder_that_is_not_there_is_explained(tmp_path):
    complaint(
        lambda: load("imagenet100"),
        "imagenet100 was not found",
        "FOCIL_DATA",
        "not downloaded",
        str(tmp_path / "data"),
    )
    complaint(lambda: load("some/where"), "where is no folder", "relative", str(Path.cwd()))
    (tmp_path / "file").touch()
    complaint(lambda: load(str(tmp_path / "file")), "file is no folder")
    complaint(lambda: load("somewhere"), "no data set 'somewhere'", "with a slash")
    complaint(lambda: load("imagenet-100"), "Did you mean", "imagenet100")


def test_a_folder_that_cannot_be_listed_is_explained(read, monkeypatch):
    def fail(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", fail)
    complaint(lambda: read(layout()), "train cannot be listed", "Permission denied")


@pytest.mark.parametrize("voice", ["file", "quiet"])
def test_decoding_shows_a_bar_unless_it_must_be_quiet(voice, read, monkeypatch, capsys):
    monkeypatch.setenv(VARIABLE, voice)
    read(layout())
    assert ("decoding pets" in capsys.readouterr().err) == (voice == "file")


def test_images_that_do_not_fit_into_memory_are_refused_before_decoding(read, monkeypatch):
    files = layout() | {"train/cat/0.JPEG": b"never opened"}
    monkeypatch.setattr(image_folder, "_free_memory", lambda: 1e3)
    complaint(
        lambda: read(files),
        "15 images",
        "the stream's copy",
        "memory at 16 x 16",
        "0.0 GB are free",
        "image_size",
    )
    monkeypatch.undo()

    def fail(*shape, **dtype):
        raise MemoryError("Unable to allocate 19 GiB")

    monkeypatch.setattr(np, "empty", fail)
    complaint(lambda: read(files), "Unable to allocate 19 GiB", "image_size")


def test_free_memory_is_a_number_of_bytes_or_unknown(monkeypatch):
    assert image_folder._free_memory() > 2**26
    monkeypatch.setattr(
        Path, "read_text", lambda path: "MemTotal: 9 kB\nMemAvailable:   2 kB\nSwapFree:  3 kB\n"
    )
    assert image_folder._free_memory() == 5 * 1024
    monkeypatch.setattr(Path, "read_text", lambda path: "another system")
    assert image_folder._free_memory() == np.inf


@pytest.mark.parametrize("size", [0, 7, 513, -1])
def test_a_size_out_of_range_is_refused(tmp_path, size):
    complaint(
        lambda: load(str(spread(tmp_path / "pets", layout())), image_size=size),
        f"image_size is {size}",
        "8 to 512",
    )
    with pytest.raises(BenchmarkError, match="'image_size'"):
        Benchmark(name="pets", data="a/b", tasks=3, image_size=size)


@pytest.mark.parametrize("name", ["digits", "mnist", "tiny-imagenet-20", "my.npz", "a/folder/of/my.npz"])
def test_a_size_of_other_sets_is_refused(name):
    complaint(
        lambda: load(name, image_size=64),
        "image_size is 64",
        f"{name} is no folder of images",
        "Remove image_size",
    )


# A study of one


def test_a_study_runs_on_a_folder(tmp_path):
    spread(tmp_path / "pets", layout("bird cat dog emu", train=6))
    given = read_params(Path(__file__).parents[1] / "params" / "memo-imagenet100.yaml").model_dump()
    memo = given["memory"] | {
        "methods": ["memo"],
        "points": [{"network": "resnet18-imagenet", "exemplars": 4, "anchor": "each"}],
    }
    memo["training"] = {"schedule": "cpu", "epochs": 1, "batch_size": 4, "aligning": "shrink"}
    small = {
        "data": str(tmp_path / "pets"),
        "tasks": 2,
        "image_size": 16,
        "crop": 2,
        "memory": memo,
        "device": "cpu",
        "threads": 1,
    }
    study = Memory(tmp_path / "out", Benchmark(**given | small), [0])
    (job,) = study.jobs()
    assert job.what[:3] == ("memo", "resnet18-imagenet", 4) and job.size == 12 + 12 + 4
    found = train_alone(study, job, tmp_path / "memo.json")
    assert (
        found["stored"] == 4
        and len(found["stages"]) == 2
        and all(0 <= share <= 1 for share in found["stages"])
    )
    assert found["memory"][-1]["published"] == {
        "networks": 4 * (2_782_784 + 2 * 8_393_728),
        "exemplars": 4 * 16 * 16 * 3,
    }
