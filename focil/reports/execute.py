"""Execute a papermill template: here, or as the task of a worker (see `focil.engine`)."""

import atexit
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
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
from focil.base.files import atomic_path, explained
from focil.base.places import shipped
from focil.base.progress import without_finished
from focil.engine import worker
from focil.engine.worker import Progress
from focil.reports import pages
from focil.runs.params_files import FOCIL, method_of

SOCKETS = "focil-kernel-"  # how folders of kernels' sockets begin; the number of the process follows
LONGEST = 60  # characters of a folder for them: systems allow about a hundred for the name of a socket
BAR = re.compile(r"(\d+)/\d+ \[")  # how far a bar of tqdm is
logging.getLogger("papermill").setLevel(logging.CRITICAL)  # every error that it logs is one of ours too
SO_FAR = "the notebook up to the error: {}"


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
            owner = left.name.split("-")[2]
            if owner.isdecimal() and not _alive(int(owner)):
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


def execute_in_worker(
    notebook: str, seen: tuple[Path, str], parameters: dict, checksum: str, progress: Progress
) -> dict[str, bytes]:
    """In a worker: execute a benchmark's template and return the files that it made, by their names.

    Nothing is returned where the client sees the folder too. seen: of `worker.shared`. checksum: of the data
    that the client means.
    """
    with worker.folder_in_worker(*seen) as (folder, is_shared):
        if not is_shared:
            _must_have_same_data(parameters["config"], checksum)
        try:
            given = parameters | {"out": str(folder.resolve())}
            with explained(folder):
                execute(shipped("notebooks") / f"{notebook}.ipynb", folder, given, _Heard(progress))
        except ReproduceError as error:
            if is_shared:
                raise
            part = SO_FAR.format(folder.resolve() / f"{notebook}.part.ipynb")
            gone = "its notebook is gone with the worker's folder"
            raise ReproduceError(str(error).replace(part, gone)) from None
        if is_shared:
            return {}
        files = [path for path in folder.rglob("*") if path.is_file()]
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def _must_have_same_data(config: dict, checksum: str) -> None:
    from focil.runs.params import Benchmark  # torch takes seconds to import, and the notebook does so itself
    from focil.runs.sources import load_data

    worker.must_be_same_data(config["data"], load_data(Benchmark(**config)).checksum, checksum)


class _Heard:
    """What an executed notebook writes to standard error, as the progress of a training."""

    def __init__(self, progress: Progress):
        self._progress = progress

    def write(self, text: str) -> None:
        for piece in re.split(r"[\r\n]+", text):
            if found := BAR.search(piece):
                self._progress.reach(int(found[1]))
            elif piece.strip():
                self._progress.say(piece)

    def flush(self) -> None:
        """Nothing is kept back."""


def execute(template: Path, out: Path, parameters: dict, heard: Any = None) -> None:
    """Execute a papermill template into `out`.

    A part file first, renamed when every cell has run, then its HTML. heard: where standard error of the
    notebook goes, instead of this process's.
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
            _cells_for(template, parameters.get("config", {})),
            part,
            parameters,
            kernel_name="python3",
            kernel_manager_class=IpcKernelManager,
            progress_bar=False,
            log_output=False,
            stderr_file=heard or sys.stderr,
            cwd=str(Path.cwd()),  # a relative path of data is meant from where the command was given
        )
    except PapermillExecutionError as error:
        raise ReproduceError(f"{error.ename}: {error.evalue}\n({SO_FAR.format(part)})") from None
    except DeadKernelError:
        raise ReproduceError(
            "the process that executed the notebook was ended from outside; most often memory ran out. Start "
            f"the same command again to go on, with fewer --threads for a study ({SO_FAR.format(part)})"
        ) from None
    except KeyboardInterrupt:
        # The cell that was stopped would report its error, at length, when this process ends.
        ensure_event_loop().set_exception_handler(lambda *_: None)
        raise
    _settle_progress(part)
    with atomic_path(out / f"{template.stem}.html") as page:
        page.write_text(pages.page(nbformat.read(part, as_version=4)), encoding="utf-8")
    part.replace(out / template.name)


def _cells_for(template: Path, config: dict) -> nbformat.NotebookNode:
    """A template without the cells that speak of what only FOCIL has, where another method is named."""
    notebook = nbformat.read(template, as_version=4)
    if method_of(config) != FOCIL:
        notebook.cells = [cell for cell in notebook.cells if FOCIL not in cell.metadata.get("tags", ())]
    return notebook


def _settle_progress(notebook: Path) -> None:
    """Keep of each progress bar what a terminal would show in the end: nothing, if the bar was cleared; and
    no line about a training that has ended."""
    content, _ = CoalesceStreamsPreprocessor().preprocess(nbformat.read(notebook, as_version=4), {})
    for cell in content.cells:
        if "outputs" in cell:
            for output in cell.outputs:
                if output.output_type == "stream" and output.name == "stderr":
                    output.text = without_finished(output.text)
            cell.outputs = [
                output for output in cell.outputs if output.output_type != "stream" or output.text.strip()
            ]
    nbformat.write(content, notebook)
