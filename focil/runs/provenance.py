"""Where a number comes from."""

import platform
import subprocess
import time
from importlib import metadata
from pathlib import Path

import torch

from focil.data.datasets import Dataset
from focil.runs.params import Benchmark


def provenance(benchmark: Benchmark, data: Dataset) -> dict:
    """Where a number comes from: versions, commit, machine, threads, data."""
    names = ("focil", "torch", "torchvision", "numpy")
    return {
        "versions": {"python": platform.python_version()} | {name: metadata.version(name) for name in names},
        "commit": _git_commit(),
        "machine": f"{platform.system()} {platform.machine()}",
        "device": torch.cuda.get_device_name() if benchmark.device == "cuda" else _processor(),
        "threads": benchmark.threads,
        "data": {"name": data.name, "split": benchmark.split, "sha256": data.checksum},
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _git_commit() -> str | None:
    here = Path(__file__).parent
    try:
        commit = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=True
        ).stdout.strip()
        dirty = subprocess.run(
            ["git", "status", "--porcelain", "--", "."], cwd=here, capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return None  # installed without its repository
    return commit + ("-dirty" if dirty else "")


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or "cpu"
