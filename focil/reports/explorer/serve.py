"""The explorer as a page: Voila on this machine's loopback address, with the page's own template."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from focil.base.errors import FocilError
from focil.base.places import shipped

TEMPLATES = Path(__file__).resolve().parent  # where voila/templates is
EXPLORER = shipped("notebooks") / "explorer.ipynb"
OUTPUTS = "FOCIL_OUTPUTS"  # tells the notebook where results are
PATIENCE = 60  # seconds until a server must answer


class ServeError(FocilError):
    """The page cannot be served."""


def voila(
    notebook: Path, port: int, outputs: Path, *, open_browser: bool
) -> tuple[list[str], dict[str, str]]:
    """Command line and environment that serve a notebook on `port`, with the results in `outputs`.

    Nobody but this machine can reach it, and kernels talk over IPC.
    """
    arguments = [str(notebook), f"--port={port}", "--Voila.ip=127.0.0.1", "--template=focil"]
    arguments += [] if open_browser else ["--no-browser"]
    arguments += [] if sys.platform == "win32" else ["--KernelManager.transport=ipc"]
    paths = [str(TEMPLATES), *filter(None, [os.environ.get("JUPYTER_PATH")])]
    added = {"JUPYTER_PATH": os.pathsep.join(paths), OUTPUTS: str(outputs.resolve())}
    return [sys.executable, "-m", "voila", *arguments], os.environ | added


@contextmanager
def serving(command: list[str], environment: dict[str, str], url: str) -> Iterator[str]:
    """Run a server while the block runs; yields `url` once it answers there.

    Raises ServeError if it ends, or does not answer in time.
    """
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait(process, url)
        yield url
    finally:
        process.terminate()
        process.wait()


def free_port() -> int:
    """A port of the loopback address that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait(process: subprocess.Popen, url: str) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except urllib.error.HTTPError:  # it answers
            return
        except OSError:
            time.sleep(0.2)
    raise ServeError(
        f"the server at {url} {'does not answer' if process.poll() is None else 'ended'}: "
        f"{' '.join(process.args)}"
    )
