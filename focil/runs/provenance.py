"""Where a number comes from."""

import platform
import subprocess
import time
from importlib import metadata
from pathlib import Path

import torch

from focil.base.places import repository
from focil.data.datasets import Dataset
from focil.runs.params import Benchmark


def provenance(benchmark: Benchmark, data: Dataset) -> dict:
    """Where a number comes from: versions, commit, machine, threads, data."""
    return {
        **made_on(benchmark),
        "commit": _git_commit(),
        "threads": benchmark.threads,
        "data": {"name": data.name, "split": benchmark.split, "sha256": data.checksum},
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def made_on(benchmark: Benchmark) -> dict:
    """What machine this is, and the versions that it computes with."""
    names = ("focil", "torch", "torchvision", "numpy")
    return {
        "versions": {"python": platform.python_version()} | {name: metadata.version(name) for name in names},
        "machine": f"{platform.system()} {platform.machine()}",
        "device": torch.cuda.get_device_name() if benchmark.device == "cuda" else _processor(),
    }


def _git_commit() -> str | None:
    """The commit of the clone that focil is used from; None where it is installed without its repository."""
    root = repository()
    if root is None:  # git would answer for a repository that the environment happens to be in
        return None

    def git(*command: str) -> str:
        done = subprocess.run(["git", *command], cwd=root, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        commit, dirty = git("rev-parse", "HEAD"), git("status", "--porcelain", "--", "focil")
    except (OSError, subprocess.CalledProcessError):
        return None  # a copy without its history, or no git
    return commit + ("-dirty" if dirty else "")


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or "cpu"
