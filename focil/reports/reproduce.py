"""From a params file to an executed notebook.

Outputs/NAME/seed-K/ with notebook, HTML, figures and result.json.
"""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from focil.base.files import atomic_path, explained
from focil.base.locks import FolderError, locked, usable
from focil.base.places import shipped
from focil.engine import cluster, worker
from focil.engine.compute import Training, compute
from focil.engine.local import Shared
from focil.reports.execute import ReproduceError, execute, execute_in_worker
from focil.runs.params import Benchmark, available_cores, read_params
from focil.runs.params_files import find
from focil.runs.results import RESULT, ResultsError, read_result
from focil.runs.sources import load_data


@dataclass(frozen=True)
class Wish:
    """What a command wants of params beside what they say.

    seeds: of the runs. changes: values instead of the params', sections key by key. name: of the results
    instead of the params'. threads: cores of a run. workers: trainings at once on this machine; by default as
    many as its cores take. development: on the development split,
    into NAME-development. fresh: delete what is there first.
    """

    seeds: Sequence[int]
    changes: Mapping[str, Any] = field(default_factory=dict)
    name: str | None = None
    threads: int | None = None
    workers: int | None = None
    development: bool = False
    fresh: bool = False


def reproduce(params: str | Path, outputs: Path, wish: Wish, shared: Shared | None = None) -> Path:
    """Run params through their notebook and return the folder of their results, outputs/NAME.

    params: a name or a path, see `params_files.find`. shared: workers that several of these calls may use. A
    benchmark is run once per seed, into seed-K/ below; a study, such as an audit, once for all seeds. What is
    complete is not run again, what was interrupted continues. Raises BenchmarkError, RunError and
    ReproduceError; the notebook of a failed run is kept beside as .part.ipynb.
    """
    benchmark, workers = _shared_out(benchmark_of(find(params), wish), wish)
    if cluster.address() is None:
        benchmark.must_run_here()
    folder = outputs / benchmark.name
    if benchmark.is_study:
        jobs = {folder: {"seeds": list(wish.seeds)}}
    else:
        jobs = {folder / f"seed-{seed}": {"seed": seed} for seed in wish.seeds}
    for out in jobs:
        usable(out)
        if wish.fresh and out.is_symlink():
            raise FolderError(
                f"{out} is a link, which --fresh does not follow; delete it, or what it leads to"
            )
    _refuse_collision(folder, benchmark, jobs, wish)
    with ExitStack() as stack:
        for out in jobs:
            stack.enter_context(locked(out, "notebook"))
        missing = {
            out: which for out, which in jobs.items() if _is_missing(benchmark, out, which, wish.fresh)
        }
        if missing and shared and benchmark.device == "cpu" and cluster.address() is None:
            shared.have(workers)
        if benchmark.is_study and missing:
            with explained(folder):
                execute(_template(benchmark), folder, _parameters(benchmark, folder, jobs[folder]))
        elif missing:
            _run(benchmark, missing, workers)
    return folder


def _shared_out(benchmark: Benchmark, wish: Wish) -> tuple[Benchmark, int]:
    """The benchmark with its threads, and how many trainings run at once on this machine.

    As many as its cores take, unless somebody said otherwise.
    """
    cores = available_cores()
    if benchmark.is_study:
        workers = wish.workers or benchmark.threads
        return benchmark.renamed(benchmark.name, threads=workers), workers
    if "threads" in benchmark.model_fields_set:
        return benchmark, wish.workers or max(1, cores // benchmark.threads)
    workers = wish.workers or min(cores, len(wish.seeds))
    threads = 1 if cluster.address() else max(1, cores // workers)
    return benchmark.renamed(benchmark.name, threads=threads), workers


def _is_missing(benchmark: Benchmark, out: Path, which: dict, fresh: bool) -> bool:
    if fresh and out.exists():
        with locked(out, "run"), explained(out):  # a run from Python holds this lock
            shutil.rmtree(out)
    if is_complete(out, benchmark, which):
        print(f"{out}: complete, nothing to do (--fresh runs it again)", flush=True)
        return False
    return True


def _run(benchmark: Benchmark, missing: dict[Path, dict], workers: int) -> None:
    """Execute a benchmark's notebook for each folder, side by side."""
    data = load_data(benchmark)
    with ExitStack() as stack:
        trainings, folders = [], {}
        for out, which in missing.items():
            with explained(out):
                seen = stack.enter_context(worker.shared(out))
            given = benchmark.notebook, seen, _parameters(benchmark, out, which), data.checksum
            name = f"{benchmark.name}, seed {which['seed']}"
            trainings.append(Training(name, len(data.x_train), execute_in_worker, given))
            folders[name] = out
        compute(
            trainings,
            lambda training, files: _write(folders[training.name], files),
            workers=workers,
            gpu=benchmark.device == "cuda",
            unit="image",
            desc=benchmark.name,
        )


def _write(out: Path, files: dict[str, bytes]) -> None:
    """Write what came back from a worker that does not see the folder; the result comes last."""
    for name in sorted(files, key=lambda name: name == RESULT):
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as part:
            part.write_bytes(files[name])


def _template(benchmark: Benchmark) -> Path:
    return shipped("notebooks") / f"{benchmark.notebook}.ipynb"


def _parameters(benchmark: Benchmark, out: Path, which: dict) -> dict:
    return {"config": benchmark.model_dump(mode="json"), "out": str(out.resolve())} | which


def benchmark_of(params: Path, wish: Wish) -> Benchmark:
    """The benchmark that a command means. Raises BenchmarkError."""
    benchmark = read_params(params, wish.changes, threads=wish.threads)
    name = wish.name or benchmark.name
    if wish.development:
        return benchmark.renamed(f"{name}-development", development=True)
    return benchmark.renamed(name)


def _refuse_collision(folder: Path, benchmark: Benchmark, jobs: Iterable[Path], wish: Wish) -> None:
    """Raise ReproduceError where results of other settings lie in the way of changed ones, or beside them:
    the seeds of one name are averaged."""
    beside = {path.parent for path in folder.glob(f"seed-*/{RESULT}")}.difference(jobs)
    in_the_way = jobs if wish.changes and not wish.fresh else ()
    for out in sorted(beside.union(in_the_way)):
        if (out / RESULT).exists() and not benchmark.is_same(read_result(out / RESULT)["benchmark"]):
            raise ReproduceError(
                f"{out} holds results of other settings; give the new ones a name of their own: --name "
                f"{benchmark.name}-2 (or run that seed again too with --fresh, which deletes what is there)"
            )


def is_complete(out: Path, benchmark: Benchmark, which: dict) -> bool:
    """Whether a folder holds the whole result of exactly this benchmark, data, and seed or seeds.

    The number of threads may differ. A result that cannot be read is none.
    """
    names = (RESULT, f"{benchmark.notebook}.ipynb", f"{benchmark.notebook}.html")
    if not all((out / name).is_file() for name in names):
        return False
    try:
        result = read_result(out / RESULT)
    except ResultsError:
        return False
    if not benchmark.is_same(result["benchmark"]) or any(
        result.get(key) != value for key, value in which.items()
    ):
        return False
    return load_data(benchmark).checksum == result["provenance"]["data"]["sha256"]
