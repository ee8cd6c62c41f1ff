"""What a study of equal memory says, in numbers and words."""

from collections.abc import Iterator

from focil import memory, metrics
from focil.methods.table import has_budget

NEARLY = 1.0  # points; what is called nearly identical


def curves(result: dict) -> Iterator[tuple[str, list[float], list[list[float]], list[list[float]]]]:
    """(method, bytes of each point, average and last accuracy of each seed at each point), for methods with a budget."""
    for method in result["benchmark"]["memo"]["methods"]:
        if has_budget(method):
            points = [point for point in result["points"] if method in point["runs"]]
            runs = [result["runs"][point["runs"][method]] for point in points]
            used = [point["methods"][method]["bytes"] for point in points]
            yield method, used, [[run["average"] for run in seeds] for seeds in runs], [[run["last"] for run in seeds] for seeds in runs]


def areas(result: dict) -> Iterator[str]:
    """The area under average and last accuracy over MiB, a line a method; only where it has several budgets."""
    for method, used, average, last in curves(result):
        if len(used) > 1:
            order = sorted(range(len(used)), key=used.__getitem__)
            mib = [used[i] / memory.MIB for i in order]
            found = [memory.auc(mib, [sum(values[i]) / len(values[i]) for i in order]) for values in (average, last)]
            yield f"{method:10} AUC-A {found[0]:6.2f}  AUC-L {found[1]:6.2f}  ({len(used)} budgets, {mib[0]:.1f} to {mib[-1]:.1f} MiB)"


def table(result: dict) -> list[str]:
    """One line a run: last and average accuracy by `sample`, and last by `oracle`, in %, with 95 % intervals over seeds."""

    def words(values: list[float]) -> str:
        mean, half = metrics.mean_interval(values)
        return f"{100 * mean:5.1f}" + ("" if half is None else f" +- {100 * half:4.1f}")

    lines = []
    for name, reports in result["runs"].items():
        oracle = words([report["oracle"]["final_average"] for report in reports])
        last, average = (words([report[which] for report in reports]) for which in ("last", "average"))
        lines.append(f"  {name:24} last {last} %, average {average} %, oracle {oracle} %, stored {reports[0]['stored']:5}, n = {len(reports)}")
    return lines


def verdict(result: dict) -> Iterator[str]:
    """By point: MEMO, which saves parts of models, less each method that saves only exemplars, paired by seed, and what follows."""
    for point in result["points"]:
        runs = {method: result["runs"][name] for method, name in point["runs"].items()}
        most = max(entry["exemplars"] for entry in point["methods"].values())
        budget = f"{most} exemplars each, whatever the networks take" if point["budget"] is None else f"{point['budget'] / memory.MIB:.1f} MiB each"
        for other in ("replay", "icarl", "wa", "der"):
            if "memo" in runs and other in runs:
                gaps = [100 * (mine["last"] - theirs["last"]) for mine, theirs in zip(runs["memo"], runs[other], strict=True)]
                mean, half = metrics.mean_interval(gaps)
                yield f"{budget}: MEMO less {other}, last accuracy: {mean:+.1f}" + ("" if half is None else f" +- {half:.1f}") + f" points: {_meaning(mean, half)}"


def _meaning(mean: float, half: float | None) -> str:
    if abs(mean) + (half or 0) <= NEARLY:
        return "nearly identical"
    if half is not None and abs(mean) <= half:
        return "no difference beyond the interval"
    return ("MEMO is better" if mean > 0 else "MEMO is worse") + ("" if half is not None else " (one seed)")
