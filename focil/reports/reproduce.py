"""From a params file to an executed notebook.

Outputs/NAME/seed-K/ with notebook, HTML, figures and result.json.
"""

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
import papermill
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import ensure_event_loop
from nbclient.exceptions import DeadKernelError
from nbconvert.preprocessors import CoalesceStreamsPreprocessor
from papermill.exceptions import PapermillExecutionError
from traitlets import default

from focil.base.errors import FocilError
from focil.base.files import WriteError, atomic_path, why_unwritten
from focil.base.locks import FolderError, locked, usable
from focil.base.places import shipped
from focil.reports import pages
from focil.runs.params import Benchmark, read_params
from focil.runs.params_files import find
from focil.runs.results import RESULT, ResultsError, read_result
from focil.runs.sources import load_data

SOCKETS = "focil-kernel-"  # how folders of kernels' sockets begin; the number of the process follows
LONGEST = 60  # characters of a folder for them: systems allow about a hundred for the name of a socket


class ReproduceError(FocilError):
    """A benchmark's notebook could not be executed."""


class IpcKernelManager(AsyncKernelManager):
    """Starts kernels over IPC sockets: kernels started side by side collide on TCP ports.

    Each has a folder of its own for its sockets, in the machine's folder for temporary files. A process that
    is killed cannot clear up, so the next one does it.
    """

    @default("transport")
    def _default_transport(self) -> str:
        return "tcp" if sys.platform == "win32" else "ipc"

    @default("connection_file")
    def _default_connection_file(self) -> str:
        place = Path(tempfile.gettempdir())
        if len(str(place)) > LONGEST:
            place = Path("/tmp")
        for left in place.glob(f"{SOCKETS}*"):
            if not _alive(int(left.name.split("-")[2])):
                shutil.rmtree(left, ignore_errors=True)
        folder = tempfile.mkdtemp(prefix=f"{SOCKETS}{os.getpid()}-", dir=place)
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        return str(Path(folder) / "kernel.json")

    async def _async_start_kernel(self, **more: Any) -> None:
        # What cells print comes as messages; what is left is about being stopped.
        await super()._async_start_kernel(stderr=subprocess.DEVNULL, **more)

    start_kernel = _async_start_kernel


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True


@dataclass(frozen=True)
class Wish:
    """What a command wants of params beside what they say.

    seeds: of the runs. changes: values instead of the params', sections key by key. name: of the results
    instead of the params'. threads: cores for this run, default all. development: on the development split,
    into NAME-development. fresh: delete what is there first.
    """

    seeds: Sequence[int]
    changes: Mapping[str, Any] = field(default_factory=dict)
    name: str | None = None
    threads: int | None = None
    development: bool = False
    fresh: bool = False


def reproduce(params: str | Path, outputs: Path, wish: Wish) -> Path:
    """Run params through their notebook and return the folder of their results, outputs/NAME.

    params: a name or a path, see `params_files.find`. A benchmark is run once per seed, into seed-K/ below; a
    study, such as an audit, once for all seeds. What is complete is not run again, what was interrupted
    continues. Raises BenchmarkError, RunError and ReproduceError; the notebook of a failed run is kept beside
    as .part.ipynb.
    """
    benchmark = benchmark_of(find(params), wish)
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
        if wish.changes and not wish.fresh:
            _refuse_collision(out, benchmark)
    for out, which in jobs.items():
        with locked(out, "notebook"):
            _run(benchmark, out, which, wish.fresh)
    return folder


def _run(benchmark: Benchmark, out: Path, which: dict, fresh: bool) -> None:
    try:
        if fresh and out.exists():
            shutil.rmtree(out)
        if is_complete(out, benchmark, which):
            print(f"{out}: complete, nothing to do (--fresh runs it again)", flush=True)
        else:
            parameters = {"config": benchmark.model_dump(mode="json"), "out": str(out.resolve())} | which
            execute(shipped("notebooks") / f"{benchmark.notebook}.ipynb", out, parameters)
    except OSError as error:
        raise WriteError(why_unwritten(out, error)) from error


def benchmark_of(params: Path, wish: Wish) -> Benchmark:
    """The benchmark that a command means. Raises BenchmarkError."""
    benchmark = read_params(params, wish.changes, threads=wish.threads)
    name = wish.name or benchmark.name
    if wish.development:
        return benchmark.renamed(f"{name}-development", development=True)
    return benchmark.renamed(name)


def _refuse_collision(out: Path, benchmark: Benchmark) -> None:
    """Raise ReproduceError where results of other settings lie in the way of changed ones."""
    if (out / RESULT).exists() and not benchmark.is_same(read_result(out / RESULT)["benchmark"]):
        raise ReproduceError(
            f"{out} holds results of other settings; with --set, give the new ones a name of their own: "
            f"--name {benchmark.name}-2 (or --fresh, which deletes what is there)"
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


def execute(template: Path, out: Path, parameters: dict) -> None:
    """Execute a papermill template into `out`.

    A part file first, renamed when every cell has run, then its HTML.
    """
    known = set(papermill.inspect_notebook(template))
    if unknown := set(parameters) - known:
        raise ReproduceError(
            f"{template} has no parameter {', '.join(sorted(unknown))}; its cell tagged `parameters` has "
            f"{', '.join(sorted(known))}"
        )
    out.mkdir(parents=True, exist_ok=True)
    part = out / f"{template.stem}.part.ipynb"
    try:
        papermill.execute_notebook(
            template,
            part,
            parameters,
            kernel_name="python3",
            kernel_manager_class=IpcKernelManager,
            progress_bar=False,
            log_output=False,
            stderr_file=sys.stderr,
            cwd=str(Path.cwd()),  # a relative path of data is meant from where the command was given
        )
    except PapermillExecutionError as error:
        raise ReproduceError(
            f"{error.ename}: {error.evalue}\n(the notebook up to the error: {part})"
        ) from None
    except DeadKernelError:
        raise ReproduceError(
            "the process that executed the notebook was ended from outside; most often memory ran out. Start "
            "the same command again to go on, with fewer --threads for a study (the notebook so far: "
            f"{part})"
        ) from None
    except KeyboardInterrupt:
        # The cell that was stopped would report its error, at length, when this process ends.
        ensure_event_loop().set_exception_handler(lambda *_: None)
        raise
    _settle_progress(part)
    with atomic_path(out / f"{template.stem}.html") as page:
        page.write_text(pages.page(nbformat.read(part, as_version=4)), encoding="utf-8")
    part.replace(out / template.name)


def _settle_progress(notebook: Path) -> None:
    """Keep of each progress bar what a terminal would show in the end: nothing, if the bar was cleared."""
    content, _ = CoalesceStreamsPreprocessor().preprocess(nbformat.read(notebook, as_version=4), {})
    for cell in content.cells:
        if "outputs" in cell:
            cell.outputs = [
                output for output in cell.outputs if output.output_type != "stream" or output.text.strip()
            ]
    nbformat.write(content, notebook)
