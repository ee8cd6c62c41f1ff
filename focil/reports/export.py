"""Results as tables for a paper or a spreadsheet, and two benchmarks compared. Without torch."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from tabulate import tabulate

from focil.base.words import in_percent
from focil.evaluation.metrics import mean_interval
from focil.runs.records import Record, read
from focil.runs.results import ResultsError

Format = Literal["csv", "latex", "markdown"]
FORMATS: tuple[Format, ...] = ("csv", "latex", "markdown")
STYLES = {"latex": "latex_booktabs", "markdown": "github"}
NETWORK = "network"  # who answers where a method has but one network
COLUMNS = ("benchmark", "what", "measure", "protocol", "who answers")
SAME = {  # what must be equal for two benchmarks to be compared, and where it stands in a result
    "data": ("provenance", "data", "sha256"),
    "split": ("benchmark", "split"),
    "development": ("benchmark", "development"),
    "tasks": ("benchmark", "tasks"),
    "class_order": ("benchmark", "class_order"),
}


def export(folders: Sequence[Path], form: Format) -> str:
    """Every accuracy of folders of results, outputs/NAME, as text.

    csv: one row a seed and one for their mean, shares in 0 to 1 and bytes. latex (booktabs), markdown: one
    row an accuracy, in %, with the 95 % t interval over seeds, and MB (10^6 bytes). Raises ResultsError.
    """
    records = [record for folder in folders for record in read(folder)[0]]
    return _csv(records) if form == "csv" else _table(_rows(records), form)


def compare(one: Path, other: Path) -> str:
    """The second of two folders of results less the first, accuracy by accuracy, paired by seed, as text.

    Raises ResultsError where they have other data or another stream, or no accuracy or seed in common.
    """
    (first, about), (second, about_second) = read(one), read(other)
    for what, (there, here) in differing(about, about_second).items():
        raise ResultsError(
            f"{one.name} and {other.name} cannot be compared: {what} is {there!r} there and {here!r} here, "
            "so their accuracies answer different questions. Run one of them again on the other's terms."
        )
    pairs = [(mine, theirs) for mine in first for theirs in second if _answer_alike(mine, theirs)]
    if not pairs:
        raise ResultsError(f"{one.name} and {other.name} have no protocol and answerer in common")
    rows = [_compared(*pair) for pair in pairs]
    head = ("what", "measure", "protocol", "who answers", one.name, other.name, "difference (points)", "n")
    return _drawn(head, rows, "markdown")


def differing(one: dict, other: dict) -> dict[str, tuple[object, object]]:
    """What two results would have to share to be compared, and do not: name -> the value of each."""
    values = {what: (_at(one, path), _at(other, path)) for what, path in SAME.items()}
    return {what: pair for what, pair in values.items() if pair[0] != pair[1]}


def _answer_alike(mine: Record, theirs: Record) -> bool:
    """Whether two accuracies answer the same question: by the same answerer, or one by a method's only
    network."""
    same = mine.key[:-1] == theirs.key[:-1]
    return same and (mine.who == theirs.who or NETWORK in (mine.who, theirs.who))


def _csv(records: Iterable[Record]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*COLUMNS, "seed", "accuracy", "half_width_95", "n", "bytes"))
    for record in records:
        about = _about(record)
        for seed, share in record.by_seed.items():
            writer.writerow((*about, seed, repr(share), "", 1, record.nbytes))
        mean, half = record.over_seeds()
        spread = "" if half is None else repr(half)
        writer.writerow((*about, "mean", repr(mean), spread, len(record.by_seed), record.nbytes))
    return text.getvalue()


def _rows(records: Iterable[Record]) -> list[tuple]:
    return [
        (
            *_about(record),
            len(record.by_seed),
            in_percent(*record.over_seeds(), sign="±"),
            ", ".join(in_percent(share) for share in record.by_seed.values()),
            "" if record.nbytes is None else f"{record.nbytes / 1e6:.2f}",
        )
        for record in records
    ]


def _table(rows: list[tuple], form: Format) -> str:
    return _drawn((*COLUMNS, "n", "accuracy (%)", "by seed", "MB"), rows, form)


def _drawn(head: Sequence[str], rows: Sequence[Sequence], form: Format) -> str:
    """A table without the columns that say nothing."""
    said = [i for i in range(len(head)) if any(row[i] != "" for row in rows)]
    names, cells = [head[i] for i in said], [[row[i] for i in said] for row in rows]
    text = tabulate(cells, names, tablefmt=STYLES[form], disable_numparse=True)
    return (text.replace("±", r"$\pm$") if form == "latex" else text) + "\n"


def _about(record: Record) -> tuple[str, ...]:
    return record.benchmark, record.what, record.measure, record.protocol, record.who


def _compared(mine: Record, theirs: Record) -> tuple:
    seeds = [seed for seed in mine.by_seed if seed in theirs.by_seed]
    if not seeds:
        raise ResultsError(
            f"{mine.benchmark} has seeds {_listed(mine.by_seed)}, {theirs.benchmark} has "
            f"{_listed(theirs.by_seed)}: "
            "none in common, so nothing is paired. Run one of them with the other's seeds."
        )
    gap = mean_interval([theirs.by_seed[seed] - mine.by_seed[seed] for seed in seeds])
    means = [
        in_percent(mean_interval([record.by_seed[seed] for seed in seeds])[0]) for record in (mine, theirs)
    ]
    who = mine.who if mine.who == theirs.who else f"{mine.who}, {theirs.who}"
    return (*mine.key[:-1], who, *means, in_percent(*gap, signed=True, sign="±"), len(seeds))


def _listed(seeds: Iterable[int]) -> str:
    return " ".join(map(str, seeds))


def _at(result: dict, path: Sequence[str]) -> object:
    for key in path:
        result = result.get(key) if isinstance(result, dict) else None
    return result
