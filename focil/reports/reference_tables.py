"""The tables of the published numbers: outputs/reference/README.md, and the rows that README and docs
repeat."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from focil.base import words
from focil.evaluation import protocols
from focil.evaluation.metrics import mean_interval
from focil.figures import style
from focil.memo.account import MIB
from focil.memo.table import TITLES
from focil.online.table import TITLES as ONLINE_TITLES
from focil.runs.online import differences, over_seeds, points
from focil.runs.params import Benchmark
from focil.runs.results import RESULT, answerer_bytes, read_result, read_results, summary
from focil.studies import verdict
from focil.studies.audit.audit import MEASURES
from focil.studies.audit.shortcuts import DESCRIBED
from focil.studies.tables import arm_lines, method_lines

HEAD = """# Reference results

This page answers: which command gave which published number?

Written by `python -m focil publish`, from runs of the commands below. Final average accuracy in %: mean and
95 % t interval over n seeds. Each `result.json` holds the whole configuration and every number of the table.
It says where they come from: versions, commit, machine, threads, and the checksum of the data. Of one
seed, it also holds the numbers behind its figures.

AUC-A and AUC-L are the areas under average and last accuracy over MiB. *Nearly identical* means within one
point, with the whole interval where there are several seeds. What one seed says may be chance.
"""


def readme(reference: Path) -> str:
    """The README of a folder of published results: a section for each benchmark and study."""
    pictures = [f"![{style.alt_of(path)}]({path.name})\n" for path in sorted(reference.glob("*.png"))]
    parts = [HEAD, *pictures]
    found = {path.parent for path in reference.glob(f"*/{RESULT}")}
    folders = sorted(found.union(path.parents[1] for path in reference.glob(f"*/seed-*/{RESULT}")))
    return "\n".join([*parts, *(f"## {folder.name}\n\n{section(folder)}" for folder in folders)])


def section(folder: Path) -> str:
    """What is said of one folder of published results: the commands, the table, the device."""
    if (folder / RESULT).exists():
        return _of_study(read_result(folder / RESULT))
    results = read_results(folder)
    head = "| who answers | sample | batch-10 | oracle | MB |\n|---|---|---|---|---|"
    times = f"Training took {_times(results)} ({results[0]['provenance']['device']}); n = {len(results)}."
    commands = _commands(folder.name, results)
    rows = _rows(
        [(who, sample, batch, oracle, size) for who, oracle, batch, sample, size in answerer_rows(results)]
    )
    return f"{commands}\n\n{head}\n{rows}\n\n{_rules(results)}{times}\n"


def _of_study(result: dict) -> str:
    benchmark, seeds = Benchmark.recorded(result["benchmark"]), " ".join(map(str, result["seeds"]))
    texts = {
        "audit": _audit_text,
        "memory": _memory_text,
        "layers": _layers_text,
        "online": _online_text,
    }
    text = texts[benchmark.notebook](result)
    command = f"    python -m focil run params/{benchmark.name}.yaml --seed {seeds}"
    where = f"n = {len(result['seeds'])} ({devices(result['provenance'])})."
    return f"{command}\n\n{text}\n{where}\n"


def devices(provenance: dict) -> str:
    """On what the trainings were made, and how many on each where they differ."""
    made: Counter[str] = Counter()
    for kind in provenance.get("workers", ()):
        made[kind["device"]] += len(kind["trainings"])
    if len(made) < 2:  # of results from before trainings said it, only who wrote them is known
        return next(iter(made), provenance["device"])
    return ", ".join(f"{words.count(count, 'training')} on {device}" for device, count in made.most_common())


def _audit_text(result: dict) -> str:
    head = (
        "Points of final average accuracy, paired by seed. Added to ours: the shortcut is switched on in our "
        "code.\nLost from the release: what the release loses when the shortcut is removed."
    )
    columns = (
        "| | shortcut | added to ours | lost from the release | added to ours, oracle "
        "| lost from the release, oracle |"
    )
    rows = _rows(effect_rows(result))
    return f"{head}\n\n{columns}\n|---|---|---|---|---|---|\n{rows}\n\n{_indented(arm_lines(result))}\n"


def _memory_text(result: dict) -> str:
    epochs = "| epochs " if any("by_epochs" in point for point in result["points"]) else ""
    columns = f"| budget {epochs}| method | network | exemplars | MiB | last | average | oracle |"
    found = _indented([*verdict.areas(result), *verdict.verdict(result), *verdict.turns(result)])
    line = "|---" * (columns.count("|") - 1)
    return f"{columns}\n{line}|\n{_rows(memory_rows(result))}\n" + (f"\n{found}\n" if found else "")


def _layers_text(result: dict) -> str:
    return f"{_indented(method_lines(result))}\n"


def _online_text(result: dict) -> str:
    columns = "| method | images stored | sample | oracle | ours less it | MB | passes | n |"
    rows = _rows(online_rows(result))
    chosen = [
        (ONLINE_TITLES[method], ", ".join(f"{name} {value:g}" for name, value in options.items()))
        for method, options in result["chosen"].items()
        if options
    ]
    return (
        f"{columns}\n|---|---|---|---|---|---|---|---|\n{rows}\n\n"
        f"| method | chosen on the development split |\n|---|---|\n{_rows(chosen)}\n"
    )


def _rows(rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _indented(lines: Sequence[str]) -> str:
    return "\n".join(f"    {line}" for line in lines)


def memory_rows(result: dict) -> list[tuple[str, ...]]:
    """One row for each method at each budget, and at each number of epochs where there are several: who has
    what, and last, average and oracle accuracy in %."""
    rows = []
    for point in result["points"]:
        budget = "none" if point["budget"] is None else f"{point['budget'] / MIB:.2f} MiB"
        for epochs, runs in point.get("by_epochs", {"": point["runs"]}).items():
            first = (budget, epochs) if epochs else (budget,)
            rows += [(*first, *_memory_row(result, method, name)) for method, name in runs.items()]
    return rows


def _memory_row(result: dict, method: str, name: str) -> tuple[str, ...]:
    reports = result["runs"][name]
    kept = reports[0]["memory"][-1]["published"]
    exemplars, mib = kept["exemplars"] // result["image_bytes"], sum(kept.values()) / MIB
    accuracies = [[report[which] for report in reports] for which in ("last", "average")]
    accuracies.append([report["oracle"]["final_average"] for report in reports])
    text = (words.in_percent(*mean_interval(values)) for values in accuracies)
    return (TITLES[method], reports[0]["network"], str(exemplars), f"{mib:.2f}", *text)


def online_rows(result: dict) -> list[tuple[str, ...]]:
    """One row for each method at each memory, the best by `sample` first; ours with each who answers.

    Method, images stored, `sample`, `oracle`, ours less it by `sample` and paired, MB, passes, n.
    """
    gaps = {
        gap["run"]: words.in_percent(gap["mean"], gap["half"], signed=True) for gap in differences(result)
    }
    found = []
    for point in points(result):
        if point["oracle"] is None:  # a part of the router
            continue
        reports = result["runs"][point["run"]]
        row = over_seeds(reports)
        shares = words.in_percent(point["accuracy"], point["half"]), words.in_percent(*point["oracle"])
        about = f"{point['bytes'] / 1e6:.2f}", f"{row['passes']:.1f}", str(len(reports))
        stored = str(reports[0]["exemplars"])
        found.append((point["accuracy"], (point["who"], stored, *shares, gaps.get(point["run"], ""), *about)))
    return [row for _, row in sorted(found, key=lambda pair: -pair[0])]


def effect_rows(result: dict) -> list[tuple[str, ...]]:
    """One row for each shortcut of an audit: number, name, what it adds to ours and what the release loses
    without it.

    As each code answers, and by oracle.
    """
    found = {
        (e["shortcut"], e["base"], e["measure"]): words.in_percent(e["mean"], e["half"], signed=True)
        for e in result["effects"]
    }
    columns = [(base, measure) for measure in MEASURES for base in ("ours", "release")]
    shortcuts = dict.fromkeys(shortcut for shortcut, _, _ in found)
    return [(s, DESCRIBED[s].name, *(found[s, *column] for column in columns)) for s in shortcuts]


def _by_threads(results: Sequence[dict]) -> dict[int, list[dict]]:
    groups: dict[int, list[dict]] = {}
    for result in results:
        groups.setdefault(result["benchmark"]["threads"], []).append(result)
    return groups


def _commands(name: str, results: Sequence[dict]) -> str:
    """What repeats the runs, indented as code: one line for each number of threads that was used."""
    option = " --development" if results[0]["benchmark"]["development"] else ""
    params = name.removesuffix("-development") if option else name
    lines = []
    for threads, group in _by_threads(results).items():
        seeds = " ".join(str(result["seed"]) for result in group)
        lines.append(
            f"    python -m focil run params/{params}.yaml --seed {seeds} --threads {threads}{option}"
        )
    return "\n".join(lines)


def _times(results: Sequence[dict]) -> str:
    """Mean training time by number of threads."""
    return " and ".join(
        f"{sum(result['seconds']['train'] for result in group) / len(group):.1f} s a run on "
        f"{words.count(threads, 'core')}"
        for threads, group in _by_threads(results).items()
    )


def _rules(results: Sequence[dict]) -> str:
    """The comparison of rules that a development split is for: means over seeds."""
    if "rules" not in results[0]:
        return ""
    table = results[0]["rules"]
    columns = list(next(iter(table.values())))
    lines = [
        f"| rule, mean over {len(results)} seeds | {' | '.join(columns)} |",
        "|---" * (len(columns) + 1) + "|",
    ]
    for rule in table:
        means = (
            100 * sum(result["rules"][rule][column] for result in results) / len(results)
            for column in columns
        )
        lines.append(f"| {rule} | {' | '.join(f'{mean:.1f}' for mean in means)} |")
    return "\n".join(lines) + "\n\n"


def answerer_rows(results: Sequence[dict]) -> list[tuple[str, ...]]:
    """One row for each answerer: who, final average by each protocol in %, and MB of all that is kept for
    it."""
    found = {
        protocols.split(name): words.in_percent(mean, half) for name, mean, half in summary(list(results))
    }
    kept = answerer_bytes(results[0]["memory_bytes"])
    ways = list(dict.fromkeys(protocol for protocol, _ in found))
    answerers = dict.fromkeys(who for _, who in found)
    return [(who, *(found[way, who] for way in ways), f"{kept[who] / 1e6:.2f}") for who in answerers]
