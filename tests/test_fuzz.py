"""Whatever a person or a broken disk may hand in: an error in a few words, or it is used; nothing else, and
no hang.

`make fuzz` tries 2 000 examples; here are a hundred. A failing example is printed, and tried first the next
time.
"""

import io
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from conftest import separable, small_benchmark, write_npz
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

import focil
from focil.data.image_folder import read as read_folder
from focil.reports.explorer import saved
from focil.reports.export import FORMATS, export
from focil.runs.checkpoint import CHECKPOINT, verify_folder
from focil.studies.tables import in_lines

EXAMPLES = int(os.environ.get("FOCIL_FUZZ", "100")) // 5
fuzzed = settings(
    max_examples=EXAMPLES,
    deadline=10_000,  # milliseconds; a hang
    suppress_health_check=list(HealthCheck),
)
pytestmark = pytest.mark.filterwarnings("ignore")  # NumPy's about numbers that make no sense

PLAIN = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(
        ["digits", "mlp", "resnet18", "memo", "focil", "cuda", "entropy", "~", "/", "der", 0, 1, 2]
    ),
)
TREE = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


def used_or_explained(use):
    """Call; anything but a FocilError of at most ten lines fails the test."""
    try:
        return use()
    except focil.FocilError as error:
        assert 1 <= len(str(error).splitlines()) <= 10 and str(error).strip()
        return None


def paths(tree, start=()):
    """The places of all values in a tree of dicts and lists."""
    for key, value in list(tree.items() if isinstance(tree, dict) else enumerate(tree)):
        yield (*start, key)
        if isinstance(value, dict | list) and len(start) < 5:
            yield from paths(value, (*start, key))


def changed(draw, tree):
    """A tree with some values replaced or removed."""
    for _ in range(draw(st.integers(1, 3))):
        places = list(paths(tree))
        if not places:
            break
        *parents, last = draw(st.sampled_from(places))
        parent = tree
        for key in parents:
            parent = parent[key]
        if draw(st.booleans()):
            parent[last] = draw(TREE)
        else:
            del parent[last]
    return tree


def damaged(draw, content):
    """Bytes that were cut, doubled or overwritten somewhere."""
    start = draw(st.integers(0, len(content)))
    stop = min(len(content), start + draw(st.integers(0, 200)))
    return content[:start] + draw(st.binary(max_size=20)) + content[stop:]


# Params


FIELDS = [*focil.Benchmark.model_fields, "extends", "memo", "method"]


@st.composite
def params_files(draw):
    config = {"name": "x", "data": "digits", "tasks": 5}
    config |= draw(st.dictionaries(st.sampled_from(FIELDS), TREE, max_size=4))
    focils = draw(st.dictionaries(st.sampled_from([*focil.RoutedOptions.model_fields]), TREE, max_size=3))
    if draw(st.booleans()):
        config["focil"] = focils
    text = yaml.safe_dump({"config": config}, allow_unicode=True).encode("utf-8", "surrogatepass")
    return damaged(draw, text) if draw(st.booleans()) else text


@fuzzed
@given(content=params_files())
@example(content=b"config: {name: x, data: digits, tasks: 5, method: null, focil: {unknown: 1}}")
@example(content=b"config: {name: x, data: digits, tasks: 5, method: [], focil: {unknown: 1}}")
def test_params(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "x.yaml"
    path.write_bytes(content)
    used_or_explained(lambda: focil.read_params(path))


# Results and checkpoints


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    root = tmp_path_factory.mktemp("fuzzed")
    options = {"sparsities": [0.5], "learning_rates": [0.1], "router_megabytes": 0.05}
    benchmark = small_benchmark(
        name="mine", data=write_npz(root / "mine.npz", separable(per_class=20)), focil=options
    )
    focil.run(benchmark, out=root / "outputs" / "mine" / "seed-0")
    return root / "outputs" / "mine"


@fuzzed
@given(data=st.data())
def test_results(finished, data):
    path = finished / "seed-0" / "result.json"
    whole = path.read_bytes()
    if data.draw(st.booleans()):
        content = json.dumps(changed(data.draw, json.loads(whole))).encode()
    else:
        content = damaged(data.draw, whole)
    try:
        path.write_bytes(content)
        used_or_explained(lambda: in_lines(finished))
        used_or_explained(lambda: export([finished], data.draw(st.sampled_from(FORMATS))))
        used_or_explained(lambda: saved.read(path.parent))
    finally:
        path.write_bytes(whole)


@fuzzed
@given(data=st.data())
def test_checkpoints(finished, tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp() / "checkpoint"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    whole = (finished / "seed-0" / CHECKPOINT).read_bytes()
    if data.draw(st.booleans()):
        state = changed(data.draw, torch.load(io.BytesIO(whole), weights_only=True))
        torch.save(state, folder / CHECKPOINT)
    else:
        (folder / CHECKPOINT).write_bytes(damaged(data.draw, whole))
    used_or_explained(lambda: verify_folder(folder))
    torch.set_num_threads(1)


# Data


KINDS = ("u1", "i8", "f4", "U3", "?", "c8", "M8[s]")


@st.composite
def npz_files(draw):
    arrays = {key: getattr(separable(per_class=2), key) for key in ("x_train", "y_train", "x_test", "y_test")}
    for key in draw(st.lists(st.sampled_from([*arrays, "classes", "mean", "std"]), max_size=3, unique=True)):
        if draw(st.booleans()) and key in arrays:
            del arrays[key]
        else:
            shape = draw(st.lists(st.integers(0, 4), max_size=5))
            arrays[key] = np.zeros(shape).astype(draw(st.sampled_from(KINDS)))
    stored = io.BytesIO()
    np.savez(stored, **arrays)
    content = stored.getvalue()
    return damaged(draw, content) if draw(st.booleans()) else content


@fuzzed
@given(content=npz_files(), split=st.sampled_from(["official", "sha256"]))
def test_npz_files(tmp_path_factory, content, split):
    path = tmp_path_factory.getbasetemp() / "fuzzed.npz"
    path.write_bytes(content)
    data = used_or_explained(lambda: focil.load(str(path), split=split))
    if data is not None:
        used_or_explained(data.development)


PICTURES = {}


def picture(mode, kind):
    """The bytes of a small image."""
    if (mode, kind) not in PICTURES:
        stored = io.BytesIO()
        Image.new(mode, (9, 7)).save(stored, kind)
        PICTURES[mode, kind] = stored.getvalue()
    return PICTURES[mode, kind]


NAMES = st.sampled_from(
    ["train", "val", "test", "cat", "dog", "a.png", "b.JPEG", "c.jpg", ".hidden", "notes.txt"]
)
CONTENT = st.sampled_from(
    [
        b"",
        b"text",
        picture("RGB", "PNG"),
        picture("L", "JPEG"),
        picture("RGBA", "PNG"),
        picture("I;16", "PNG"),
    ]
)


@fuzzed
@given(files=st.dictionaries(st.lists(NAMES, min_size=1, max_size=4).map("/".join), CONTENT, max_size=8))
def test_image_folders(tmp_path_factory, files):
    folder = tmp_path_factory.getbasetemp() / "pictures"
    shutil.rmtree(folder, ignore_errors=True)
    base = {
        f"{part}/{name}/x.png": picture("RGB", "PNG") for part in ("train", "val") for name in ("cat", "dog")
    }
    folder.mkdir()
    for name, content in (base | files).items():
        path = Path(folder, name)
        if not any(parent.is_file() for parent in path.parents) and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    used_or_explained(lambda: read_folder(folder, 8))
