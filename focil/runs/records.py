"""Every accuracy of a folder of results as one record: what was measured, by seed. What exports and
comparisons read.

Without torch, so that the command line answers at once.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from focil.evaluation.metrics import mean_interval
from focil.evaluation.names import split
from focil.runs.params_files import kind_of
from focil.runs.results import (
    RESULT,
    ResultsError,
    answerer_bytes,
    meant_as_result,
    read_result,
    read_results,
)


@dataclass(frozen=True)
class Record:
    """One accuracy. by_seed: seed -> share. nbytes: of all that is kept for it; None where nobody counted.

    what: the arm of an audit or the training of a study; "" for a plain benchmark. measure: the measure, such
    as "final average". protocol, who: see `evaluation.protocols`. Raises ValueError for what is no
    number.
    """

    benchmark: str
    what: str
    measure: str
    protocol: str
    who: str
    by_seed: dict[int, float]
    nbytes: int | None

    def __post_init__(self) -> None:
        numbers = [*self.by_seed.values(), 0 if self.nbytes is None else self.nbytes]
        if any(type(number) not in (int, float) or not math.isfinite(number) for number in numbers):
            raise ValueError(f"expected numbers: {numbers}")

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What two benchmarks are compared by."""
        return self.what, self.measure, self.protocol, self.who

    def over_seeds(self) -> tuple[float, float | None]:
        """Mean, and half-width of the 95 % t interval; None for one seed."""
        return mean_interval(list(self.by_seed.values()))


def read(folder: Path) -> tuple[list[Record], dict[str, Any]]:
    """The records of a benchmark or study, and one result for what all of them share.

    folder: outputs/NAME. Raises ResultsError where nothing is finished.
    """
    if (folder / RESULT).is_file():
        result = read_result(folder / RESULT)
        with meant_as_result(folder / RESULT):
            return list(MAKERS[kind_of(result["benchmark"])](folder.name, result)), result
    results = read_results(folder)
    if not results:
        there = sorted({path.parent.name for path in folder.parent.glob(f"*/{RESULT}")})
        there += sorted({path.parents[1].name for path in folder.parent.glob(f"*/seed-*/{RESULT}")})
        raise ResultsError(
            f"{folder} holds no finished run; there are {', '.join(there) or 'none'} in {folder.parent}. "
            f"Start one with: focil run {folder.name}"
        )
    with meant_as_result(folder):
        return list(_accuracies(folder.name, results)), results[0]


def _accuracies(name: str, results: list[dict]) -> Iterator[Record]:
    kept = answerer_bytes(results[0]["memory_bytes"])
    for key in results[0]["accuracy"]:
        by_seed = {result["seed"]: result["accuracy"][key]["final_average"] for result in results}
        protocol, who = split(key)
        yield Record(name, "", "final average", protocol, who, by_seed, kept[who])


def _alone(name: str, result: dict) -> Iterator[Record]:
    """Of a run from Python in a folder of its own."""
    return _accuracies(name, [result])


def _arms(name: str, result: dict) -> Iterator[Record]:
    for arm, reports in result["arms"].items():
        for measure, protocol in (("answered", reports[0]["protocol"]), ("oracle", "oracle-experts")):
            shares = [report[measure]["final_average"] for report in reports]
            by_seed = dict(zip(result["seeds"], shares, strict=True))
            yield Record(name, arm, "final average", *split(protocol), by_seed, None)


def _trainings(name: str, result: dict) -> Iterator[Record]:
    for training, reports in result["runs"].items():
        nbytes = sum(reports[0]["memory"][-1]["counted"].values())
        measures = {
            ("last", "sample"): [report["last"] for report in reports],
            ("average", "sample"): [report["average"] for report in reports],
            ("final average", "oracle"): [report["oracle"]["final_average"] for report in reports],
        }
        for (measure, protocol), shares in measures.items():
            by_seed = dict(zip(result["seeds"], shares, strict=False))  # long trainings have the first seed
            yield Record(name, training, measure, protocol, "all", by_seed, nbytes)


def _last(name: str, result: dict) -> Iterator[Record]:
    for method, reports in result["runs"].items():
        by_seed = dict(zip(result["seeds"], [report["last"] for report in reports], strict=True))
        yield Record(name, method, "last", "sample", "all", by_seed, None)


def _online(name: str, result: dict) -> Iterator[Record]:
    for run, reports in result["runs"].items():
        kept = answerer_bytes(reports[0]["memory_bytes"])
        for key in reports[0]["accuracy"]:
            by_seed = {report["seed"]: report["accuracy"][key]["final_average"] for report in reports}
            protocol, who = split(key)
            yield Record(name, run, "final average", protocol, who, by_seed, kept[who])


MAKERS = {"audit": _arms, "memory": _trainings, "layers": _last, "online": _online, "benchmark": _alone}
