"""The pages of results, as HTML: of a run, of a study, and of two runs side by side."""

from collections.abc import Mapping
from pathlib import Path

from focil.base import words
from focil.base.words import in_percent
from focil.evaluation import protocols
from focil.evaluation.metrics import mean_interval
from focil.figures import accuracy, audit, curves, occupancy, parts
from focil.figures.paired import Pair, paired
from focil.online.table import ONLINE
from focil.reports.explorer import pieces
from focil.reports.explorer.saved import read
from focil.reports.export import NETWORK, differing
from focil.runs.checkpoint import RunError
from focil.runs.params import Benchmark
from focil.runs.params_files import FOCIL
from focil.runs.results import RESULT, answerer_bytes, meant_as_result
from focil.studies.audit.shortcuts import DESCRIBED, ordered
from focil.studies.tables import in_lines

MEASURES = {
    "final_average": "final average",
    "average_incremental": "average incremental",
    "forgetting": "forgetting",
}
BASES = {"ours": "added to ours", "release": "loss when removed from the release"}
DROP = "drop after learning"  # the same measure, where nothing is forgotten
FROZEN = (
    "A drop after learning, not forgetting: every expert is frozen and the router keeps sums. What drops is "
    "the chance to find the right class among more classes."
)


def folder(path: Path) -> str:
    """The page of a folder of results: of a run its accuracy under each protocol and FOCIL's experts, of a
    study its numbers and pictures.

    Raises RunError or ResultsError for a result that cannot be read.
    """
    result = read(path)
    with meant_as_result(path / RESULT):
        return _page(path, result)


def _page(path: Path, result: dict) -> str:
    benchmark = Benchmark.recorded(result["benchmark"])
    head = pieces.heading(benchmark.name)
    if benchmark.notebook == "audit":
        return head + _audited(result) + _pictures(path)
    if benchmark.is_study:
        return head + pieces.preformatted(in_lines(path)) + _pictures(path)
    ours = benchmark.method == FOCIL
    text = f"{_about(benchmark)}, seed {result['seed']}: {_headline(result)}"
    by_task = {key: report for key, report in result["accuracy"].items() if "matrix" in report}
    drawn = (
        pieces.folded("Accuracy as tasks are learned", pieces.picture(curves.curves(by_task)))
        if by_task  # outputs/reference keeps it of one seed
        else ""
    )
    return head + pieces.status(text) + _accuracies(result, ours) + drawn + (_experts(result) if ours else "")


def compared(one: Path, other: Path) -> str:
    """Two runs side by side: accuracies that answer the same question, and the bytes that each answer needs.

    Raises RunError or ResultsError where one of them cannot be read, or is a study.
    """
    results = [read(path) for path in (one, other)]
    if any(Benchmark.recorded(result["benchmark"]).is_study for result in results):
        raise RunError("Two runs can be compared here, not a study; choose two entries with a seed.")
    names = [f"{path.parent.name}, {path.name.replace('-', ' ')}" for path in (one, other)]
    with meant_as_result(one.parent):
        pairs = list(pairs_of(*results))
    if not pairs:
        raise RunError(f"{names[0]} and {names[1]} have no protocol and answerer in common.")
    unlike = ", ".join(differing(*results))
    warning = (
        pieces.error(f"Read with care: they differ in {unlike}, so they answer different questions.")
        if unlike
        else ""
    )
    rows = [
        (
            pair.name,
            *(in_percent(share) for share in pair.shares),
            in_percent(pair.shares[1] - pair.shares[0], signed=True),
            *(f"{size / 1e6:.2f}" for size in pair.sizes),
        )
        for pair in pairs
    ]
    columns = ("protocol, who", *names, "difference (points)", *(f"MB, {name}" for name in names))
    return (
        pieces.heading(f"{names[0]}, beside {names[1]}")
        + warning
        + pieces.picture(paired(pairs, names))
        + pieces.table("Final average accuracy in %, and MB (10^6 bytes) kept", columns, rows)
    )


def pairs_of(one: Mapping, other: Mapping) -> list[Pair]:
    """Accuracies of two results that answer the same question: of one protocol and answerer, or one of them
    by a method's only network."""
    sizes = [answerer_bytes(result["memory_bytes"]) for result in (one, other)]
    found = []
    for key, report in one["accuracy"].items():
        for key_too, report_too in other["accuracy"].items():
            (protocol, who), (protocol_too, who_too) = protocols.split(key), protocols.split(key_too)
            if protocol == protocol_too and (who == who_too or NETWORK in (who, who_too)):
                name = f"{protocol}, {who}" + ("" if who == who_too else f" | {who_too}")
                shares = report["final_average"], report_too["final_average"]
                found.append(Pair(name, shares, (sizes[0][who], sizes[1][who_too])))
    return found


def _about(benchmark: Benchmark) -> str:
    by = benchmark.backbone if benchmark.method == FOCIL else ONLINE[benchmark.method].title
    return f"{benchmark.data}, {words.count(benchmark.tasks, 'task')}, {by}"


def _headline(result: dict) -> str:
    key = accuracy.preferred(result["accuracy"], "sample")
    return (
        f"{parts.percent(result['accuracy'][key]['final_average'])} {accuracy.phrase(key)} "
        f"({accuracy.name(key)})"
    )


def _accuracies(result: dict, frozen: bool) -> str:
    rows = [
        (
            accuracy.name(key),
            *(
                "not defined" if report[measure] is None else f"{100 * report[measure]:.1f}"
                for measure in MEASURES
            ),
        )
        for key, report in result["accuracy"].items()
    ]
    names = MEASURES | ({"forgetting": DROP} if frozen else {})
    columns = "protocol, who", *names.values()
    table = pieces.table("Accuracy in %, by what is known and who answers", columns, rows)
    return table + (pieces.note(FROZEN) if frozen else "")


def _experts(result: dict) -> str:
    capacity = result.get("capacity")  # outputs/reference keeps it of one seed
    rows = [
        (task, f"{chosen['sparsity']:g}", f"{chosen['lr']:g}", f"{100 * chosen['prequential']:.1f}")
        for task, chosen in enumerate(result["search"], 1)
    ]
    columns = ("task", "sparsity", "learning rate", "prequential accuracy (%)")
    if capacity is None:
        return pieces.table("Its experts", columns, rows)
    owned = [
        (
            f"{sum(row['owned'].values()):,}",
            f"{sum(row['reused'].values()):,}",
            parts.percent(row["trainable_share"]),
        )
        for row in capacity
    ]
    rows = [row + more for row, more in zip(rows, owned, strict=True)]
    columns += ("connections trained", "re-used", "trained share")
    return pieces.table("Its experts", columns, rows) + pieces.folded(
        "Which connections they own", pieces.picture(occupancy.heatmap(capacity))
    )


def _audited(result: dict) -> str:
    """What each shortcut is worth, and the final average of every arm."""
    effects = {(e["shortcut"], e["base"], e["measure"]): audit.points(e) for e in result["effects"]}
    sides = [(base, measure) for measure in audit.MEASURES for base in BASES]
    worth = [
        (f"{s}: {DESCRIBED[s].name}", *(effects.get((s, *side), "not run") for side in sides))
        for s in ordered({shortcut for shortcut, *_ in effects})
    ]
    columns = (
        "shortcut",
        *(BASES[base] + (", oracle" if measure == "oracle" else "") for base, measure in sides),
    )
    seeds = words.count(len(result["seeds"]), "seed")
    caption = f"Points that a shortcut adds to the final average accuracy, 95 % interval over {seeds}"
    return pieces.table(caption, columns, worth) + pieces.folded(
        "Every arm in numbers", _arms(result["arms"])
    )


def _arms(arms: Mapping[str, list[dict]]) -> str:
    def told(reports: list[dict], measure: str) -> str:
        found = mean_interval([report[measure]["final_average"] for report in reports])
        return in_percent(*found, sign="±")

    rows = [
        (name, reports[0]["protocol"], told(reports, "answered"), told(reports, "oracle"), len(reports))
        for name, reports in arms.items()
    ]
    return pieces.table(
        "Final average accuracy in %", ("arm", "answers by", "as it answers", "oracle", "seeds"), rows
    )


def _pictures(path: Path) -> str:
    return "".join(map(pieces.stored, sorted([*path.glob("*.png"), *path.glob("figures/*.png")])))
