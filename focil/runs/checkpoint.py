"""Checkpoints: what a run folder holds, read without trust, and the method that is rebuilt from it."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from focil import backbones
from focil.base.errors import FocilError
from focil.base.files import atomic_path
from focil.data.images import normalise
from focil.data.stream import Stream
from focil.evaluation.evaluation import Evaluation
from focil.evaluation.frozen import FrozenEvaluation
from focil.method import Focil
from focil.online.method import OneHead
from focil.online.table import ONLINE
from focil.router.routed import kind_of
from focil.runs.params import Benchmark
from focil.runs.params_files import FOCIL
from focil.runs.sources import load_data, open_stream

CHECKPOINT, SCORES = "experts.pt", "scores.pt"
CHECKPOINT_KEYS = {
    "benchmark",
    "seed",
    "data",
    "classes",
    "image_shape",
    "normalisation",
    "done",
    "method",
    "probe_images",
}
AFRESH = "Start over with --fresh, or restore it from a copy."


class RunError(FocilError):
    """A run folder that cannot be used as asked; the message says what to do."""


def build_method(
    benchmark: Benchmark,
    seed: int,
    image_shape: backbones.ImageShape,
    classes: int,
    *,
    backbone: backbones.Factory | None = None,
    stream: Stream | None = None,
) -> Focil | OneHead:
    """The benchmark's method, before its first task. stream: that it will learn; FOCIL can do without.

    Raises RunError if a backbone is missing or not asked for.
    """
    if (benchmark.backbone == "own") != (backbone is not None):
        raise RunError(
            'a backbone of your own needs both: backbone: "own" in the benchmark, and the factory handed '
            "over in Python, focil.run(benchmark, backbone=...); params files can name mlp and resnet18"
        )
    tasks = benchmark.tasks
    if benchmark.method != FOCIL:
        return ONLINE[benchmark.method](image_shape, tasks, classes, seed, stream, benchmark.online)
    kind, chosen = kind_of(benchmark.focil), backbone or benchmark.backbone
    return kind(chosen, image_shape, tasks, classes, seed, benchmark.focil, benchmark.device)


def evaluation_of(benchmark: Benchmark) -> type[Evaluation]:
    """How the benchmark's method is evaluated and verified: only FOCIL promises that nothing changes."""
    return FrozenEvaluation if benchmark.method == FOCIL else Evaluation


def write_file(path: Path, content: dict) -> None:
    """Write tensors and plain values for `read_file`, whole or not at all. Raises WriteError."""
    whole = io.BytesIO()  # torch itself says no OSError when a disk is full
    torch.save(content, whole)
    with atomic_path(path) as part:
        part.write_bytes(whole.getvalue())


def read_file(path: Path, cure: str = AFRESH) -> dict:
    """Content of a file of a run folder; only tensors and plain values are read, never code.

    cure: what to do about a damaged one. Raises RunError.
    """
    try:
        return torch.load(path, weights_only=True, map_location="cpu")
    except FileNotFoundError:
        raise RunError(
            f"{path} does not exist: the folder holds no run, or none that finished its first task, or this "
            "file is lost"
        ) from None
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}; check its permissions") from None
    except Exception as error:  # a damaged file fails in many ways inside torch
        raise RunError(
            f"{path} cannot be read ({type(error).__name__}): it is damaged or not a checkpoint of focil. "
            f"{cure}"
        ) from None


def read_checkpoint(path: Path) -> dict:
    """What `Run.save` wrote. Raises RunError for anything else."""
    state = read_file(path)
    whole = isinstance(state, dict) and state.keys() >= CHECKPOINT_KEYS
    if not (whole and isinstance(state["benchmark"], dict)):
        raise RunError(f"{path} is no checkpoint of a run of focil. {AFRESH}")
    if not state.keys() & {"router_scores", "probe_scores"}:
        raise RunError(
            f"{path.parent} was made by a version of focil without a router; run it again with --fresh, or "
            "open it with that version"
        )
    return state


@contextmanager
def meant_as_checkpoint(path: Path, cure: str = AFRESH) -> Iterator[None]:
    """Inside, what a file holds is used as it should be; whatever it is instead becomes a RunError.

    cure: what to do then.
    """
    try:
        yield
    except FocilError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError, ArithmeticError) as error:
        raise RunError(
            f"{path} holds something else than this run would have saved ({type(error).__name__}: "
            f"{' '.join(str(error).split())[:200]}). {cure}"
        ) from None


def rebuild(
    out: str | Path, *, backbone: backbones.Factory | None = None, stream: Stream | None = None
) -> tuple[Focil | OneHead, dict]:
    """The method of a run as it was when its last task was saved, and the checkpoint that it was built from.

    Masks are regenerated from their seed. stream: of the run, where its data set was handed over in Python.
    Raises RunError for what is not a run's folder, and MaskMismatch.
    """
    path = Path(out) / CHECKPOINT
    state = read_checkpoint(path)
    with meant_as_checkpoint(path):
        benchmark = Benchmark.recorded(state["benchmark"])
        benchmark.must_run_here()
        torch.set_num_threads(benchmark.threads)
        shape = tuple(state["image_shape"])
        if benchmark.method != FOCIL and stream is None:
            stream = _open_again(path, benchmark, state)
        method = build_method(
            benchmark, state["seed"], shape, state["classes"], backbone=backbone, stream=stream
        )
        method.load(state["method"])
    return method, state


def verify_folder(
    out: str | Path, *, backbone: backbones.Factory | None = None, stream: Stream | None = None
) -> dict[str, int]:
    """Rebuild the method of a run from what is stored and compare it with what it was, bit for bit.

    FOCIL: every expert with its first self, and the router; another method: its scores when it was saved.
    Returns what was compared, {"experts": 5} or {"images": 50}. Raises ForgettingError, and what `rebuild`
    raises.
    """
    method, state = rebuild(out, backbone=backbone, stream=stream)
    with meant_as_checkpoint(Path(out) / CHECKPOINT):
        probes = normalise(state["probe_images"], *state["normalisation"]).to(method.device)
        return evaluation_of(Benchmark.recorded(state["benchmark"])).verify(method, state, probes)


def _open_again(path: Path, benchmark: Benchmark, state: dict) -> Stream:
    data = load_data(benchmark)
    if data.checksum != state["data"]:
        raise RunError(
            f"{path} was saved with another {benchmark.data} than the one that is here now; put that set "
            "back, or start over with --fresh"
        )
    return open_stream(benchmark, data, state["seed"])
