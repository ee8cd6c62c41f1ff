"""The published numbers: outputs/reference, made from finished runs and small enough for git."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from focil.base.errors import FocilError
from focil.base.files import atomic_path, exchanged_folder, explained
from focil.evaluation import protocols
from focil.evaluation.metrics import mean_interval
from focil.evaluation.published import BY_TASKS, PUBLISHED
from focil.figures import accuracy, epochs, style
from focil.figures.comparison import comparison
from focil.figures.cost import cost
from focil.figures.order import by_tasks
from focil.memo.table import has_budget
from focil.reports.reference_tables import readme
from focil.runs.results import (
    RESULT,
    memory_points,
    read_result,
    read_results,
    shortened,
)
from focil.studies import verdict

MANY_CLASSES = 50  # from more on, who is taken for whom is kept as a picture only
MANY_TASKS = 20  # from more on, accuracy task by task is kept of whoever answers first only
CURVES = "accuracy-curves.png"
PICTURES = {  # which are kept; of another benchmark the curves, of another study all
    "digits-5": (CURVES, "occupancy.png"),
    "cifar100-20": (CURVES, "occupancy.png", "batches.png", "competition.png"),
    **dict.fromkeys(
        ("memo-digits", "memo-cifar100-b0-inc10-cpu"),
        ("account.png", "confusion.png", "over-memory.png", "stages.png"),
    ),
    "memo-cifar100-epochs": ("epochs-0.png", "passes-0.png", "winners.png", "similarity.png"),
    "memo-cifar100-epochs-resnet32": ("stages.png",),
    "memo-cifar100-epochs-frozen": (),
    "memo-cifar100-b50-epochs": ("epochs-0.png",),
    "memo-cifar100-b50-epochs-trained": (),
    **dict.fromkeys(
        ("online-digits", "online-mnist", "online-fashion-mnist", "online-cifar100-20"),
        ("over-bytes.png", "by-task.png"),
    ),
}
OF_ONE_SEED = ("layers", "cka", "memory")  # of a study of memory: kept of the first seed


class PublishError(FocilError):
    """Runs that cannot be published."""


def publish(outputs: Path, reference: Path, names: Sequence[str]) -> None:
    """Copy the results of finished benchmarks to `reference`, draw their summary, and write its README.

    outputs: folder with NAME/seed-K/. names: benchmarks to publish; what was published before stays. Raises
    PublishError for a benchmark without finished runs.
    """
    for name in names:
        if Path(name).name != name:  # a path would be its own target
            raise PublishError(f"{name!r} is a path; give the benchmark's name, and its folder with --out")
        study = (outputs / name / RESULT).exists() and "seeds" in read_result(outputs / name / RESULT)
        results = [] if study else read_results(outputs / name)
        if not study and not results:
            raise PublishError(
                f"{outputs / name} holds no finished run; start one with: python -m focil run "
                f"params/{name}.yaml"
            )
        with exchanged_folder(reference / name) as part:
            if study:
                _publish_study(outputs / name, part / name)
            else:
                _publish_runs(outputs / name, part / name, results)
    with explained(reference):
        _draw_by_tasks(reference)
        _draw_by_epochs(reference)
    with atomic_path(reference / "README.md") as part:
        part.write_text(readme(reference), encoding="utf-8")


def _draw_by_tasks(reference: Path) -> None:
    """One picture for each data set that was split into tasks in several ways, the router's bytes alike."""
    published: dict[tuple, dict[int, list[dict]]] = {}
    for folder in sorted(path for path in reference.iterdir() if path.is_dir()):
        results = [] if (folder / RESULT).exists() else read_results(folder)
        benchmark = results[0]["benchmark"] if results else {"development": True}
        if not benchmark["development"] and "sample-router" in results[0]["accuracy"]:
            alike = benchmark["data"], benchmark["focil"]["router_megabytes"]
            published.setdefault(alike, {})[benchmark["tasks"]] = results
    for (data, _), by_number in published.items():
        if len(by_number) > 1:
            picture = by_tasks(curves(by_number), BY_TASKS.get(data, {}))
            style.save(picture, reference / f"{Path(data).stem}-by-tasks.png")


def _draw_by_epochs(reference: Path) -> None:
    """Who is best over bytes and epochs: one picture for each data set, and order of tasks, of which studies
    with several budgets are published."""
    maps: dict[tuple, list[tuple[int | None, epochs.Map]]] = {}
    for path in sorted(reference.glob(f"*/{RESULT}")):
        result = read_result(path)
        for number, point in enumerate(result.get("points", ())):
            grown = verdict.over_epochs(result, number)
            if sum(map(has_budget, grown)) > 1:
                alike = result["benchmark"]["data"], tuple(result["sizes"])
                maps.setdefault(alike, []).append((point["budget"], grown))
    for (data, sizes), found in maps.items():
        if len(found) > 1:
            picture = epochs.winners(found)
            style.save(picture, reference / f"{Path(data).stem}-in-{len(sizes)}-tasks-by-epochs.png")


def curves(by_number: Mapping[int, list[dict]]) -> dict[str, dict[int, tuple[float, float | None]]]:
    """Who answers -> number of tasks -> final `sample` average over the seeds, and half its interval.

    by_number: results of every seed, by the number of tasks.
    """
    return {
        who: {
            tasks: mean_interval(
                [result["accuracy"][protocols.join("sample", who)]["final_average"] for result in results]
            )
            for tasks, results in sorted(by_number.items())
        }
        for who in ("router", "both", "experts")
    }


def _publish_study(study: Path, target: Path) -> None:
    """A study's numbers and pictures: one result for all seeds."""
    result = read_result(study / RESULT)
    target.mkdir()
    for reports in result.get("runs", {}).values():
        for number, report in enumerate(reports):
            pictured = len(report.get("confusion", ())) > MANY_CLASSES  # the picture of it is enough
            untold = OF_ONE_SEED if number and "points" in result else ()
            for key in (*untold, *(["confusion"] if pictured else ())):
                report.pop(key, None)
    _write(result, target)
    for picture in sorted((study / "figures").glob("*.png")):
        if picture.name in PICTURES.get(target.name, (picture.name,)):
            shutil.copy2(picture, target / picture.name)


def _publish_runs(runs: Path, target: Path, results: list[dict]) -> None:
    """The results of a benchmark, seed by seed, and the pictures that sum them up."""
    for result in results:
        name = f"seed-{result['seed']}"
        _copy_run(runs / name, target / name, first=result is results[0])
    accuracies = [result["accuracy"] for result in results]
    if len(results) > 1:  # one seed has no spread: the table says it all
        style.save(accuracy.summary(accuracies), target / "summary.png")
    if "budgets" in results[0]:
        sizes = results[0]["data_bytes"]
        others = PUBLISHED.get(target.name, ())
        picture = cost(memory_points(results), others, sizes["training_set"], sizes["image"])
        style.save(picture, target / "memory.png")
    if target.name in PUBLISHED:
        style.save(comparison(accuracies, PUBLISHED[target.name]), target / "comparison.png")


def thinned(result: Mapping, whole: bool) -> dict:
    """A run's result in few bytes.

    Of one seed the `whole` story is kept: accuracy task by task, where images were routed, the curves of the
    search's candidates, and occupancy where it is shown; with many tasks only by `sample` and `oracle` of
    whoever answers first, and no curves. Of the others every number that is averaged over seeds, and what
    each search chose.
    """
    names, many = list(result["accuracy"]), len(result["test_images"]) > MANY_TASKS
    first = {accuracy.preferred(names, protocol) for protocol in ("sample", "oracle")}
    told = set(first if many else names) if whole else set()
    kept = dict(result)
    kept["accuracy"] = {
        name: report if name in told else {key: value for key, value in report.items() if key != "matrix"}
        for name, report in result["accuracy"].items()
    }
    if not whole or "occupancy.png" not in PICTURES.get(result["benchmark"]["name"], ()):
        kept.pop("capacity", None)
    kept["routing"] = {name: table for name, table in result.get("routing", {}).items() if name in told}
    if "search" in result and (many or not whole):
        kept["search"] = [
            {key: value for key, value in task.items() if key != "candidates"} for task in result["search"]
        ]
    return shortened(kept)


def _copy_run(run: Path, target: Path, first: bool) -> None:
    target.mkdir(parents=True)
    result = thinned(read_result(run / RESULT), whole=first)
    _write(result, target)
    if first and not target.parent.name.endswith("-development"):
        (target / "figures").mkdir()
        for name in PICTURES.get(target.parent.name, (CURVES,)):
            if (run / "figures" / name).exists():
                shutil.copy2(run / "figures" / name, target / "figures" / name)


def _write(result: dict, target: Path) -> None:
    compact = json.dumps(result, separators=(",", ":"))  # a sixth smaller
    (target / RESULT).write_text(compact + "\n", encoding="utf-8")
