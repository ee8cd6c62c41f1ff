"""From a params file to an executed notebook: outputs/NAME/seed-K/ with notebook, HTML, figures and result.json."""

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import nbformat
import papermill
from jupyter_client.manager import AsyncKernelManager
from nbconvert.preprocessors import CoalesceStreamsPreprocessor
from papermill.exceptions import PapermillExecutionError
from traitlets import default

from focil.benchmark import Benchmark, read_params
from focil.errors import FocilError
from focil.files import atomic_path
from focil.results import RESULT
from focil.site import pages

REPOSITORY = Path(__file__).resolve().parent.parent
TEMPLATES = REPOSITORY / "notebooks"


class ReproduceError(FocilError):
    """A benchmark's notebook could not be executed."""


class IpcKernelManager(AsyncKernelManager):
    """Starts kernels over IPC sockets: kernels started side by side collide on TCP ports."""

    @default("transport")
    def _default_transport(self) -> str:
        return "tcp" if sys.platform == "win32" else "ipc"


def reproduce(params: Path, seeds: Sequence[int], outputs: Path, *, threads: int | None = None, development: bool = False, fresh: bool = False) -> Path:
    """Run a params file through its notebook and return the folder of its results, outputs/NAME.

    A benchmark is run once per seed, into seed-K/ below; a study, such as an audit, once for all seeds. What is complete is not run again,
    what was interrupted continues. threads: cores for this run, default all. development: on the development split, into
    outputs/NAME-development. fresh: delete what is there first.
    Raises BenchmarkError, RunError and ReproduceError; the notebook of a failed run is kept beside as .part.ipynb.
    """
    benchmark = read_params(params, threads=threads)
    if development:
        benchmark = benchmark.model_copy(update={"name": f"{benchmark.name}-development", "development": True})
    folder = outputs / benchmark.name
    jobs = {folder: {"seeds": list(seeds)}} if is_study(benchmark) else {folder / f"seed-{seed}": {"seed": seed} for seed in seeds}
    for out, which in jobs.items():
        if fresh and out.exists():
            shutil.rmtree(out)
        if is_complete(out, benchmark, which):
            print(f"{out}: complete, nothing to do (--fresh runs it again)", flush=True)
        else:
            config = benchmark.model_dump(mode="json")
            execute(TEMPLATES / f"{benchmark.notebook}.ipynb", out, {"config": config, "out": str(out.resolve())} | which)
    return folder


def is_study(benchmark: Benchmark) -> bool:
    """Whether one notebook reads all seeds together."""
    return benchmark.notebook != "benchmark"


def is_complete(out: Path, benchmark: Benchmark, which: dict) -> bool:
    """Whether a folder holds the whole result of exactly this benchmark and seed or seeds (the number of threads may differ)."""
    if not all((out / name).exists() for name in (RESULT, f"{benchmark.notebook}.ipynb", f"{benchmark.notebook}.html")):
        return False
    result = json.loads((out / RESULT).read_text(encoding="utf-8"))
    return benchmark.is_same(result["benchmark"]) and all(result.get(key) == value for key, value in which.items())


def execute(template: Path, out: Path, parameters: dict) -> None:
    """Execute a papermill template into `out`: a part file first, renamed when every cell has run, then its HTML."""
    known = set(papermill.inspect_notebook(template))
    if unknown := set(parameters) - known:
        raise ReproduceError(f"{template} has no parameter {', '.join(sorted(unknown))}; its cell tagged `parameters` has {', '.join(sorted(known))}")
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
        raise ReproduceError(f"{error.ename}: {error.evalue}\n(the notebook up to the error: {part})") from None
    _settle_progress(part)
    with atomic_path(out / f"{template.stem}.html") as page:
        page.write_text(pages.page(nbformat.read(part, as_version=4)), encoding="utf-8")
    part.replace(out / template.name)


def _settle_progress(notebook: Path) -> None:
    """Keep of each progress bar what a terminal would show in the end: nothing, if the bar was cleared."""
    content, _ = CoalesceStreamsPreprocessor().preprocess(nbformat.read(notebook, as_version=4), {})
    for cell in content.cells:
        if "outputs" in cell:
            cell.outputs = [output for output in cell.outputs if output.output_type != "stream" or output.text.strip()]
    nbformat.write(content, notebook)
