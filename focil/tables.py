"""Results as lines of text: of one benchmark over its seeds, or of a study's arms."""

import json
from collections.abc import Sequence
from pathlib import Path

from focil import audit, depth, verdict
from focil.benchmark import Benchmark
from focil.results import RESULT, read_results, summary


def table(folder: Path, seeds: Sequence[int] | None = None) -> str:
    """Final averages of one benchmark over its seeds (those named, or all), or of a study's arms, as lines of text."""
    if (folder / RESULT).exists():
        result = json.loads((folder / RESULT).read_text(encoding="utf-8"))
        kind = Benchmark(**result["benchmark"]).notebook
        return "\n".join({"audit": audit, "memory": verdict, "layers": depth}[kind].table(result))
    results = [result for result in read_results(folder) if seeds is None or result["seed"] in seeds]
    lines = []
    for name, mean, half in summary(results):
        interval = "" if half is None else f" +- {100 * half:.1f}"
        lines.append(f"  {name:18} {100 * mean:5.1f} %{interval}   (n = {len(results)})")
    return "\n".join(lines)
