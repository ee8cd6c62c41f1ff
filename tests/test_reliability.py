"""Bad input of every kind: one paragraph that says what to do, and nothing is lost.

See docs/reliability.md.
"""

import json
import os
import shutil
import subprocess
import sys
import time
import warnings
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from conftest import separable, small_benchmark, write_npz
from PIL import Image
from torch import nn

import focil
from focil.__main__ import main
from focil.backbones import BackboneError, build
from focil.base import locks
from focil.data.image_folder import read as read_folder
from focil.evaluation.evaluation import ForgettingError
from focil.method import ONE_BY_ONE
from focil.runs.checkpoint import CHECKPOINT, SCORES, RunError, verify_folder
from focil.runs.params_files import BenchmarkError, read_config
from focil.runs.run import Run
from focil.search import DivergedError

ROOT = Path(__file__).resolve().parent.parent
QUICK = {"sparsities": [0.9], "learning_rates": [0.1], "first_rung": 4, "router": "none"}


def one_paragraph(error: BaseException) -> str:
    """The words of an error, which are no traceback."""
    words = str(error)
    assert isinstance(error, focil.FocilError) and 20 < len(words) < 1500 and words.count("\n") <= 3, words
    return words


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run with a router, and the data that it was made with."""
    root = tmp_path_factory.mktemp("reliable")
    options = {"sparsities": [0.5], "learning_rates": [0.1], "router_megabytes": 0.05}
    benchmark = small_benchmark(name="mine", data=write_npz(root / "mine.npz"), focil=options)
    focil.run(benchmark, out=root / "run")
    return benchmark, root / "run"


@pytest.fixture
def copied(finished, tmp_path):
    benchmark, out = finished
    shutil.copytree(out, tmp_path / "run")
    return benchmark, tmp_path / "run"


# Candidates that diverge (rows 3 and 4)


@pytest.mark.parametrize("rates", [[0.1, 1e5], [0.1, 3.0, 1000.0]])
def test_a_candidate_that_diverges_is_dropped_and_named_in_the_result(tmp_path, rates):
    options = QUICK | {"learning_rates": rates}
    result = focil.run(
        small_benchmark(data=write_npz(tmp_path / "x.npz"), focil=options), out=tmp_path / "run"
    )
    for search in result["search"]:
        named = {candidate["lr"]: candidate["diverged"] for candidate in search["candidates"]}
        assert named[rates[-1]] and not named[0.1] and not named[search["lr"]]
    assert json.loads((tmp_path / "run" / "result.json").read_text()) == result  # no number in it is infinite


@pytest.mark.parametrize("changes", [{"focil": QUICK | {"learning_rates": [1e5]}}])
def test_where_all_diverge_the_error_says_which_rates_were_tried(tmp_path, changes):
    with pytest.raises(DivergedError, match="rates tried were 100000") as caught:
        focil.run(small_benchmark(data=write_npz(tmp_path / "x.npz"), **changes), out=tmp_path / "run")
    one_paragraph(caught.value)


def test_batches_of_one_image_learn_or_say_why_not(tmp_path):
    benchmark = small_benchmark(data=write_npz(tmp_path / "x.npz"), batch_size=1, focil=QUICK)
    try:
        focil.run(benchmark, out=tmp_path / "run")
    except focil.FocilError as error:
        assert "learning_rates" in one_paragraph(error)


# Networks of a user's own (rows 5 and 16)


class Own(nn.Module):
    """A small network whose forward a test writes."""

    def __init__(self, shape, forward=None):
        super().__init__()
        self.linear, self.drop = nn.Linear(int(np.prod(shape)), 12), nn.Dropout(0.5)
        self.head = nn.Parameter(torch.ones(12))  # a name that focil has a use for, too
        self._forward = forward or (lambda net, x: net.drop(net.linear(x.flatten(1)).relu()) * net.head)

    def forward(self, images):
        return self._forward(self, images)


def learned(factory, upto=3, method=None, first=0):
    data = separable()
    stream = focil.Stream(data, focil.class_order(data, 3, 0), 0)
    options = focil.FocilOptions(sparsities=(0.5, 0.8), learning_rates=(0.05, 0.1), first_rung=2)
    method = method or focil.Focil(factory, data.image_shape, 3, 2, 0, options)
    for task in list(stream)[first:upto]:
        method.learn(task)
    return method


def test_dropout_draws_from_the_run_s_seed_and_resumes(recwarn):
    whole, again = learned(Own), learned(Own)
    assert [whole.fingerprint(e) for e in range(3)] == [again.fingerprint(e) for e in range(3)]
    half = learned(Own, upto=1)
    torch.manual_seed(123)  # whatever happened in between
    resumed = focil.Focil(Own, separable().image_shape, 3, 2, 0, half.options)
    resumed.load(half.state())
    learned(Own, method=resumed, first=1)
    assert resumed.fingerprint(2) == whole.fingerprint(2)
    before = torch.random.get_rng_state()
    learned(Own, upto=1)
    assert torch.equal(torch.random.get_rng_state(), before)  # nobody else's numbers are touched


class Normalised(nn.Module):
    """Dropout before a normalisation: whatever is dropped moves the statistics."""

    def __init__(self, shape):
        super().__init__()
        self.linear, self.drop, self.norm = (
            nn.Linear(int(np.prod(shape)), 12),
            nn.Dropout(0.5),
            nn.BatchNorm1d(12),
        )

    def forward(self, images):
        return self.norm(self.drop(self.linear(images.flatten(1)).relu()))


def test_what_dropout_drops_is_not_in_the_statistics_of_an_expert():
    prints = []
    for mood in (1, 2):
        torch.manual_seed(mood)
        before = torch.random.get_rng_state()
        method = learned(Normalised)
        assert torch.equal(torch.random.get_rng_state(), before)
        prints.append([method.fingerprint(e) for e in range(3)])
    assert prints[0] == prints[1]


def test_a_task_of_one_image_has_no_statistics_to_gather():
    data = separable(classes=2, per_class=1)
    stream = focil.Stream(data, focil.class_order(data, 2, 0), 0)
    options = focil.FocilOptions(sparsities=(0.5,), learning_rates=(0.05,))
    method = focil.Focil(Normalised, data.image_shape, 2, 1, 0, options)
    for task in stream:
        method.learn(task)
    assert torch.isfinite(method.scores(stream.prepare(stream.test))).all()


def reads_itself(net, images):
    hidden = net.linear(images.flatten(1)).relu()
    return 2 * hidden if hidden.sum().item() > 0 else hidden


def test_a_network_that_reads_its_own_numbers_learns_one_candidate_at_a_time():
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        learned(lambda shape: Own(shape, reads_itself), upto=1)
    assert [str(warning.message) for warning in said] == [ONE_BY_ONE]


def test_lazy_layers_find_their_size_and_are_seeded():
    def lazy(shape):
        return nn.Sequential(nn.Flatten(), nn.LazyLinear(8), nn.ReLU())

    one, other = (build(lazy, (1, 6, 6), seed=3) for _ in range(2))
    assert torch.equal(one[1].weight, other[1].weight) and one[1].weight.shape == (8, 36)


def raises(_net, _images):
    raise KeyError("a table of mine")


@pytest.mark.parametrize(
    ("factory", "said"),
    [
        (lambda shape: None, "returns a NoneType"),
        (Own((1, 6, 6)), "hand over a function"),
        (lambda shape: Own(shape, raises), "fails on images .*KeyError"),
        (
            lambda shape: Own(shape, lambda net, x: net.linear(x.flatten(1)).long()),
            "torch.int64; expected floats",
        ),
        (lambda shape: Own(shape, lambda net, x: net.linear(x.add_(1).flatten(1))), "changes its input"),
        (
            lambda shape: Own(shape, lambda net, x: net.linear(x.flatten(1))[:, :1].expand(-1, len(x))),
            "a batch of 2",
        ),
    ],
    ids=["none", "instance", "error", "integers", "in place", "batch"],
)
def test_a_network_that_cannot_be_a_backbone_is_explained(factory, said):
    with pytest.raises(BackboneError, match=said) as caught:
        build(factory, (1, 6, 6), seed=0)
    one_paragraph(caught.value)


# Files of a run (rows 6, 10, 12)


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b'{"benchmark": {"name"', b"\xff\xfe", b"{}", None])
def test_one_bad_result_hides_no_other(finished, tmp_path, capsys, content):
    out = tmp_path / "outputs"
    shutil.copytree(finished[1], out / "digits-5" / "seed-0")
    shutil.copytree(finished[1], out / "mnist-5" / "seed-0")
    path = out / "digits-5" / "seed-0" / "result.json"
    path.unlink()
    path.mkdir() if content is None else path.write_bytes(content)
    assert main(["list", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert f"{path} cannot be read" in printed and "sample-router" in printed
    assert main(["export", "digits-5", "--out", str(out)]) == 1
    assert "cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["", {}, None, True])
@pytest.mark.parametrize("form", ["csv", "latex"])
def test_an_accuracy_that_is_no_number_is_explained(finished, tmp_path, capsys, value, form):
    out = tmp_path / "outputs"
    path = out / "digits-5" / "seed-0" / "result.json"
    shutil.copytree(finished[1], path.parent)
    result = json.loads(path.read_text())
    next(iter(result["accuracy"].values()))["final_average"] = value
    path.write_text(json.dumps(result))
    assert main(["export", "digits-5", "--out", str(out), "--format", form]) == 1
    assert "cannot be read" in capsys.readouterr().err


FOREIGN = {
    "a list": lambda state: [1, 2],
    "nothing": lambda state: {},
    "no method": lambda state: {key: value for key, value in state.items() if key != "method"},
    "another store": lambda state: state | {"method": state["method"] | {"store": {}}},
    "other shapes": lambda state: state | {"method": state["method"] | {"heads": [torch.zeros(1)] * 3}},
    "other masks": lambda state: state | {"method": state["method"] | {"masks": [{"density": 0.5}] * 3}},
    "no benchmark": lambda state: state | {"benchmark": None},
    "another router": lambda state: state | {"method": state["method"] | {"router": {"patches": None}}},
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_checkpoint_of_something_else_is_explained(copied, kind):
    benchmark, out = copied
    state = torch.load(out / CHECKPOINT, weights_only=True)
    torch.save(FOREIGN[kind](state), out / CHECKPOINT)
    for use in (lambda: verify_folder(out), lambda: Run(out, benchmark)):
        with pytest.raises(focil.FocilError) as caught:
            use()
        one_paragraph(caught.value)


def test_a_router_whose_counts_were_altered_is_noticed(copied):
    _, out = copied
    state = torch.load(out / CHECKPOINT, weights_only=True)
    state["method"]["router"]["discriminant"]["counts"][0] = -3
    torch.save(state, out / CHECKPOINT)
    with pytest.raises((RunError, ForgettingError)) as caught:
        verify_folder(out)
    one_paragraph(caught.value)


@pytest.mark.parametrize("kind", ["shorter", "altered", "rows"])
def test_scores_that_were_altered_are_no_results(copied, kind):
    benchmark, out = copied
    scores = torch.load(out / SCORES, weights_only=True)
    if kind == "shorter":
        scores["logits"] = scores["logits"][:-1]
    elif kind == "altered":
        scores["logits"][0, 0, 0] += 1
    else:
        scores["rows"]["sample"][0][0] = 1.0
        scores["rows"]["sample"][2] = [1.0, 1.0, 0.123]
    torch.save(scores, out / SCORES)
    with pytest.raises(RunError) as caught:
        Run(out, benchmark)
    assert SCORES in one_paragraph(caught.value)


# Folders (rows 1, 7 and 8)


@contextmanager
def used(folder):
    """A folder in which another process runs, whose number is given."""
    code = (
        "import sys, time; from pathlib import Path; from focil.base.locks import lock\n"
        "held = lock(Path(sys.argv[1]), 'run'); print('held', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "held\n"
        yield other.pid
    finally:
        other.kill()
        other.wait()
        other.stdout.close()


def test_a_folder_in_use_names_the_process(tmp_path):
    with used(tmp_path) as number:
        with pytest.raises(locks.FolderError, match=f"number {number}") as caught:
            locks.lock(tmp_path, "run", patience=0.2)
        one_paragraph(caught.value)
    locks.lock(tmp_path, "run", patience=5).release()  # a process that was killed holds nothing
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["file", "dangling", "out is a file"])
def test_what_lies_in_the_way_of_a_run_folder_is_named(tmp_path, capsys, kind):
    out = tmp_path / "outputs"
    if kind == "out is a file":
        out.write_text("mine")
    else:
        (out / "digits-5").mkdir(parents=True)
        way = out / "digits-5" / "seed-0"
        way.write_text("mine") if kind == "file" else way.symlink_to(tmp_path / "gone")
    assert main(["run", "digits-5", "--out", str(out)]) == 1
    error = capsys.readouterr().err
    assert "choose another" in error and "Traceback" not in error
    assert kind == "dangling" or "is a file" in error


def test_fresh_deletes_nothing_under_a_run(tmp_path, capsys, monkeypatch):
    out = tmp_path / "outputs" / "digits-5" / "seed-0"
    out.mkdir(parents=True)
    (out / "experts.pt").write_text("half of it")
    monkeypatch.setattr(locks.lock, "__defaults__", (0.2,))  # seconds of patience, not ten
    with used(out) as number:
        assert main(["run", "digits-5", "--out", str(tmp_path / "outputs"), "--fresh"]) == 1
    assert f"number {number}" in capsys.readouterr().err
    assert (out / "experts.pt").read_text() == "half of it"


def test_fresh_does_not_follow_a_link(tmp_path, capsys):
    kept = tmp_path / "precious"
    kept.mkdir()
    (kept / "work.txt").write_text("years")
    (tmp_path / "outputs" / "digits-5").mkdir(parents=True)
    (tmp_path / "outputs" / "digits-5" / "seed-0").symlink_to(kept)
    assert main(["run", "digits-5", "--out", str(tmp_path / "outputs"), "--fresh"]) == 1
    assert "is a link" in capsys.readouterr().err and (kept / "work.txt").read_text() == "years"


def test_a_folder_that_cannot_be_written_to_is_explained(tmp_path, capsys):
    if os.geteuid() == 0:
        place = Path("/proc/self/focil")  # nobody may write there, not even root
    else:
        place = tmp_path / "locked"
        place.mkdir(mode=0o555)
    assert main(["run", "digits-5", "--out", str(place)]) == 1
    error = capsys.readouterr().err
    assert "could not be written" in error and "Traceback" not in error


def test_other_data_under_the_same_path_is_not_called_complete(tmp_path, capsys):
    config = {"name": "small", "data": str(tmp_path / "mine.npz"), "tasks": 3, "threads": 1, "focil": QUICK}
    (tmp_path / "small.yaml").write_text(yaml.safe_dump({"config": config}))
    write_npz(tmp_path / "mine.npz")
    command = ["run", str(tmp_path / "small.yaml"), "--out", str(tmp_path / "outputs"), "--quiet"]
    assert main(command) == 0
    assert main(command) == 0 and "complete, nothing to do" in capsys.readouterr().out
    write_npz(tmp_path / "mine.npz", separable(seed=5))
    assert main(command) == 1
    assert "checkpoint of another run (data:" in capsys.readouterr().err


# Params (rows 9, 14, 15, 17)


def refused_params(tmp_path, text):
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(BenchmarkError) as caught:
        focil.read_params(tmp_path / "x.yaml")
    return one_paragraph(caught.value)


START = "config:\n  name: x\n  data: digits\n  tasks: 5\n"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("  tasks: 2\n", "'tasks' stands here twice"),
        ("  audit: {}\n  layers: {exemplars: 50}\n", "audit and layers are two studies"),
        ("  focil: &a {again: 1}\n  audit: *a\n", "alias"),
        ("  crop: 1000000000\n", "'crop'"),
        ("  focil: {weight_decay: 1.0e300}\n", "'focil.weight_decay'"),
        ("  focil: {router_megabytes: 1.0e300}\n", "'focil.router_megabytes'"),
        ("  threads: 100000\n", "'threads'"),
        ("  threads: 1000000000000\n", "'threads'"),
        ("# " + "x" * 200_000 + "\n", "bytes"),
    ],
)
def test_a_params_file_that_cannot_be_meant_is_refused(tmp_path, more, said):
    assert said in refused_params(tmp_path, START + more)


def test_a_bomb_of_aliases_is_refused_at_once(tmp_path):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"] + [
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)
    ]
    start = time.monotonic()
    assert len(refused_params(tmp_path, "\n".join(lines))) < 1000 and time.monotonic() - start < 5


@pytest.mark.skipif(torch.cuda.is_available(), reason="here is a GPU")
def test_a_gpu_that_is_not_there_is_said_before_anything_starts(tmp_path, capsys):
    start = time.monotonic()
    arguments = ["run", "digits-5", "--set", "device=cuda", "--name", "x", "--out", str(tmp_path)]
    assert main(arguments) == 1 and time.monotonic() - start < 20
    assert "no GPU" in capsys.readouterr().err and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("seed", [-1, 1.5, "0", None, 2**70])
def test_seeds_are_whole_numbers(tmp_path, seed):
    with pytest.raises(RunError, match="whole numbers") as caught:
        focil.run(small_benchmark(data=write_npz(tmp_path / "x.npz")), seed=seed, out=tmp_path / "run")
    one_paragraph(caught.value)


@pytest.mark.parametrize("value", ["nan", "0", "-1", "inf"])
def test_megabytes_of_a_router_are_a_number(value, capsys):
    with pytest.raises(SystemExit):
        main(["variants", "digits-5", "--megabytes", value])
    assert "100000 MB" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name", ["~nobody-has-this-name/x.npz", "a/" + "b" * 5000, "x" * 5000 + ".npz", "a\0b/c"]
)
def test_a_path_that_no_file_can_have_is_explained(name):
    with pytest.raises(focil.DataError) as caught:
        focil.load(name)
    one_paragraph(caught.value)


def test_a_header_that_promises_too_much_is_explained(tmp_path):
    path = tmp_path / "x.npz"
    write_npz(path)
    content = path.read_bytes().replace(b"(240, 6, 6, 1)", b"(10**30, 6, 1)")
    assert content != path.read_bytes()
    path.write_bytes(content)
    with pytest.raises(focil.DataError) as caught:
        focil.load(str(path))
    one_paragraph(caught.value)


@pytest.mark.parametrize("size", ["8", 8.0, True])
def test_a_size_is_a_whole_number(tmp_path, size):
    with pytest.raises(focil.DataError, match="whole number"):
        focil.load(f"{tmp_path}/", image_size=size)


# Images (rows 11 and 13)


def pictures(folder, made):
    """A folder of two classes, one image each in both parts; `made` writes the first training image."""
    for part in ("train", "val"):
        for name in ("cat", "dog"):
            (folder / part / name).mkdir(parents=True)
            Image.new("RGB", (16, 16), "gray").save(folder / part / name / "b.png")
    (folder / "train" / "cat" / "b.png").unlink()
    made(folder / "train" / "cat" / "b.png")
    return folder


def test_a_pipe_called_like_an_image_is_refused_and_not_waited_for(tmp_path):
    start = time.monotonic()
    with pytest.raises(focil.DataError, match="is no file") as caught:
        read_folder(pictures(tmp_path, os.mkfifo), 8)
    one_paragraph(caught.value)
    assert time.monotonic() - start < 5


def test_sixteen_bits_are_scaled_and_what_is_transparent_lies_on_white(tmp_path):
    deep = np.full((16, 16), 32768, dtype=np.uint16)
    arrays = read_folder(pictures(tmp_path / "deep", lambda path: Image.fromarray(deep).save(path)), 8)
    assert set(np.unique(arrays["x_train"][0])) == {127}
    clear = Image.new("RGBA", (16, 16), (0, 0, 0, 0))
    arrays = read_folder(pictures(tmp_path / "clear", clear.save), 8)
    assert set(np.unique(arrays["x_train"][0])) == {255}


def test_every_params_file_can_still_be_read():
    for path in (ROOT / "params").glob("*.yaml"):
        assert read_config(path)["name"] == path.stem
