"""What follows from a study of memory: accuracy over bytes, over epochs, and who is better than whom."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from focil.base import words
from focil.evaluation.metrics import mean_interval
from focil.memo import account
from focil.memo.table import ONLINE, TITLES, has_budget
from focil.runs.params import Benchmark
from focil.studies.tables import mean_between

NEARLY = 1.0  # points; what is called nearly identical


def curves(result: dict) -> Iterator[tuple[str, list[float], list[list[float]], list[list[float]]]]:
    """(method, bytes of each point, average and last accuracy of each seed at each point), for methods
    with a budget."""
    for method in Benchmark.recorded(result["benchmark"]).memory.methods:
        points = [point for point in result["points"] if method in point["runs"]]
        if has_budget(method) and points:
            runs = [result["runs"][point["runs"][method]] for point in points]
            used = [point["methods"][method]["bytes"] for point in points]
            average, last = (
                [[run[which] for run in seeds] for seeds in runs] for which in ("average", "last")
            )
            yield method, used, average, last


def without_budget(result: dict) -> dict[str, list[float]]:
    """Method -> last accuracy of each seed, for those whose accuracy depends on no budget."""
    return {
        method: [report["last"] for report in result["runs"][name]]
        for method, name in result["points"][0]["runs"].items()
        if not has_budget(method)
    }


def areas(result: dict) -> Iterator[str]:
    """The area under average and last accuracy over MiB, a line a method.

    Only where it has several budgets.
    """
    for method, used, average, last in curves(result):
        if len(used) > 1:
            order = sorted(range(len(used)), key=used.__getitem__)
            mib = [used[i] / account.MIB for i in order]
            found = [
                account.auc(mib, [sum(values[i]) / len(values[i]) for i in order])
                for values in (average, last)
            ]
            yield (
                f"{method:10} AUC-A {found[0]:6.2f}  AUC-L {found[1]:6.2f}  ({len(used)} budgets, "
                f"{mib[0]:.1f} to {mib[-1]:.1f} MiB)"
            )


def verdict(result: dict) -> Iterator[str]:
    """By point: MEMO, which saves parts of models, less each method that saves only exemplars, paired by
    seed, and what follows."""
    for point in result["points"]:
        runs = {method: result["runs"][name] for method, name in point["runs"].items()}
        most = max(entry["exemplars"] for entry in point["methods"].values())
        if point["budget"] is None:
            budget = f"{most} exemplars each, whatever the networks take"
        else:
            budget = f"{point['budget'] / account.MIB:.1f} MiB each"
        for other in ("replay", "icarl", "wa", "der"):
            if "memo" in runs and other in runs:
                pairs = zip(runs["memo"], runs[other], strict=True)
                mean, half = mean_interval([mine["last"] - theirs["last"] for mine, theirs in pairs])
                gap = words.in_percent(mean, half, signed=True)
                yield f"{budget}: MEMO less {other}, last accuracy: {gap} points: {_meaning(mean, half)}"


def _meaning(mean: float, half: float | None) -> str:
    if 100 * (abs(mean) + (half or 0)) <= NEARLY:
        return "nearly identical"
    if half is not None and abs(mean) <= half:
        return "no difference beyond the interval"
    return ("MEMO is better" if mean > 0 else "MEMO is worse") + ("" if half is not None else " (one seed)")


class Grown(NamedTuple):
    """A method after a number of epochs a task.

    last, average: accuracies by seed. images: passed through training, in millions, mean over seeds.
    """

    epochs: int
    last: list[float]
    average: list[float]
    images: float


def over_epochs(result: dict, point: int) -> dict[str, list[Grown]]:
    """Method -> what it reaches after each number of epochs, at one budget; empty where only one is given."""
    found: dict[str, list[Grown]] = {}
    for epochs, runs in result["points"][point].get("by_epochs", {}).items():
        for method, name in runs.items():
            if method != ONLINE:
                found.setdefault(method, []).append(_grown(int(epochs), result["runs"][name]))
    return found


def turns(result: dict) -> Iterator[str]:
    """By point and method that grows: from how many epochs on it is above replay, paired by seed."""
    for number, point in enumerate(result["points"]):
        grown = over_epochs(result, number)
        for method in ("memo", "der"):
            if gaps := list(gaps_to(grown.get(method, ()), grown.get("replay", ()))):
                told = ", ".join(
                    f"{words.in_percent(mean, half, signed=True)} after {epochs}"
                    for epochs, mean, half in gaps
                )
                where = "equal exemplars" if point["budget"] is None else _mib(point["budget"])
                yield f"{where}: {TITLES[method]} less replay by epochs a task: {told}: {turn(gaps)}"


def likeness(result: dict) -> Iterator[str]:
    """How alike networks of different tasks see, by block and training, beside networks that learned
    nothing."""
    for point in result["points"]:
        told = list(point.get("by_epochs", {"": point["runs"]}).items())
        for method in ("der", "memo"):
            for epochs, name in ((epochs, runs[method]) for epochs, runs in told if method in runs):
                reports = result["runs"][name]
                found = {block: mean_between(reports, block) for block in reports[0]["cka"]}
                after = f" after {epochs} epochs" if epochs else ""
                yield f"{name}{after}: {_by_block(found)}"
    for network, found in result["untrained"].items():
        yield f"{network}, untrained, other seeds: {_by_block(found)}"


def _by_block(found: dict[str, float]) -> str:
    return ", ".join(f"{block} {value:.2f}" for block, value in found.items())


def gaps_to(mine: Sequence[Grown], other: Sequence[Grown]) -> Iterator[tuple[int, float, float | None]]:
    """(epochs, mean, half-width) of the difference in last accuracy, where both were trained, paired by
    seed."""
    theirs = {grown.epochs: grown for grown in other}
    for grown in mine:
        if grown.epochs in theirs:
            pairs = zip(grown.last, theirs[grown.epochs].last, strict=True)
            yield grown.epochs, *mean_interval([a - b for a, b in pairs])


def turn(gaps: list[tuple[int, float, float | None]]) -> str:
    """Where the order of two methods, given by `gaps_to`, turns."""
    above = [mean > 0 for _, mean, _ in gaps]
    turned = [i for i in range(1, len(above)) if above[i] != above[i - 1]]
    if not turned:
        still = f", and still after {gaps[-1][0]}" if len(gaps) > 1 else ""
        return f"{'above' if above[0] else 'below'} after {gaps[0][0]} epochs{still}"
    if len(turned) > 1:
        return "the order turns more than once"
    return f"the order turns between {gaps[turned[0] - 1][0]} and {gaps[turned[0]][0]} epochs"


def _grown(epochs: int, reports: list[dict]) -> Grown:
    last, average = ([report[which] for report in reports] for which in ("last", "average"))
    return Grown(epochs, last, average, sum(r["images"] for r in reports) / len(reports) / 1e6)


def _mib(budget: int) -> str:
    return f"{budget / account.MIB:.1f} MiB"
