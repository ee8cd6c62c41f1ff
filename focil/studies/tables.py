"""Results as lines of text: of one benchmark over its seeds, or of a study's arms.

Without torch, see `list`.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from focil.base import words
from focil.base.words import in_percent
from focil.evaluation.metrics import mean_interval
from focil.runs.online import over_seeds, title_of
from focil.runs.params_files import kind_of
from focil.runs.results import RESULT, meant_as_result, read_result, read_results, summary

ONLINE_LINE = "  {:22}  {:>14}  {:>14}  {:>7}  {:>10}  {:>7}  {:>6}  {:>2}"


def in_lines(folder: Path, seeds: Sequence[int] | None = None) -> str:
    """Final averages of one benchmark over its seeds (those named, or all), or of a study's arms."""
    if (folder / RESULT).exists():
        result = read_result(folder / RESULT)
        with meant_as_result(folder / RESULT):
            return "\n".join(LINES[kind_of(result["benchmark"])](result))
    results = [result for result in read_results(folder) if seeds is None or result["seed"] in seeds]
    with meant_as_result(folder):
        return "\n".join(_summary_lines(results))


def _summary_lines(results: list[dict]) -> list[str]:
    return [
        f"  {name:18} {in_percent(mean, half):>12} %   (n = {len(results)})"
        for name, mean, half in summary(results)
    ]


def arm_lines(result: dict) -> list[str]:
    """One line an arm of an audit: final averages in %, as it answers and by `oracle`, with intervals over
    seeds."""
    lines = []
    for name, reports in result["arms"].items():
        answered, oracle = (
            _over_seeds([report[measure]["final_average"] for report in reports])
            for measure in ("answered", "oracle")
        )
        protocol = reports[0]["protocol"]
        lines.append(f"  {name:14} {answered} % ({protocol}), oracle {oracle} %, n = {len(reports)}")
    return lines


def run_lines(result: dict) -> list[str]:
    """One line a training of the study of memory.

    Last and average accuracy by `sample`, and last by `oracle`; where several answer, also each alone.
    """
    lines = []
    for name, reports in result["runs"].items():
        found = {which: _over_seeds([report[which] for report in reports]) for which in ("last", "average")}
        found["oracle"] = _over_seeds([report["oracle"]["final_average"] for report in reports])
        text = ", ".join(f"{which} {value} %" for which, value in found.items())
        for who in reports[0].get("alone", ()):
            text += f", {who} alone {_over_seeds([report['alone'][who] for report in reports])} %"
        lines.append(f"  {name:24} {text}, stored {reports[0]['stored']:5}, n = {len(reports)}")
    return lines


def shallow_and_deep(blocks: Iterable[str]) -> tuple[str, str]:
    """Which two blocks (or layers) stand for shallow and for deep wherever they are compared.

    The first after the stem, which is alike in nearly all networks, and the last before the pooling. With two
    blocks, the first and the last.
    """
    names = [name for name in blocks if name != "pool"]
    return names[min(1, max(0, len(names) - 2))], names[-1]


def method_lines(result: dict) -> list[str]:
    """One line a method: last accuracy by `sample`, seed by seed, and CKA between tasks at a shallow and at a
    deep block (see `shallow_and_deep`), mean over seeds."""
    lines = []
    for method, reports in result["runs"].items():
        alike = ", ".join(
            f"{mean_between(reports, name):.2f} in {words.layer(name)} ({depth})"
            for name, depth in zip(shallow_and_deep(reports[0]["cka"]), ("shallow", "deep"), strict=True)
        )
        last = " ".join(f"{100 * report['last']:.1f}" for report in reports)
        lines.append(f"  {method:8} last accuracy {last} %, CKA between tasks {alike}")
    return lines


def mean_between(reports: Sequence[Mapping], block: str) -> float:
    """Mean CKA between different tasks at a block, over the seeds that noted it."""
    kept = [report["cka"] for report in reports if "cka" in report]  # published results keep one seed's
    matrices = np.array([cka[block] for cka in kept])
    return float(matrices[:, ~np.eye(matrices.shape[1], dtype=bool)].mean())


def _over_seeds(values: Sequence[float]) -> str:
    return f"{in_percent(*mean_interval(values)):>12}"


def online_lines(result: dict) -> list[str]:
    """A heading, and one line a method and memory: final averages in %, bytes, forgetting in points, and what
    training took."""
    heading = ("method", "sample, %", "oracle, %", "MB", "forgetting", "seconds", "passes", "n")
    lines = [ONLINE_LINE.format(*heading)]
    for reports in result["runs"].values():
        row = over_seeds(reports)
        cells = (
            title_of(reports[0]),
            in_percent(*row["sample"]),
            in_percent(*row["oracle"]),
            f"{row['bytes'] / 1e6:.2f}",
            f"{100 * row['forgetting']:.1f}",
            f"{row['seconds']:.1f}",
            f"{row['passes']:.1f}",
            len(reports),
        )
        lines.append(ONLINE_LINE.format(*cells))
    return lines


LINES = {
    "audit": arm_lines,
    "memory": run_lines,
    "layers": method_lines,
    "online": online_lines,
    "benchmark": lambda result: _summary_lines([result]),  # a run from Python in a folder of its own
}
