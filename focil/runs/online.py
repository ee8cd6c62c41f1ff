"""Results of the study of online methods, read: points, differences and means over seeds.

Without torch, so that the command line answers at once.
"""

from statistics import mean

from focil.evaluation.metrics import mean_interval
from focil.evaluation.names import join, split
from focil.runs.params_files import FOCIL
from focil.runs.results import answerer_bytes, memory_points


def points(result: dict) -> list[dict]:
    """Accuracy against all bytes that are kept, of every method at every memory, ours with its parts.

    [{"who", "run", "bytes", "accuracy", "half", "oracle"}]: shares; who: title of the method, with who
    answers where it is ours. oracle: with the task given, None where that was not measured.
    """
    found = []
    for name, reports in result["runs"].items():
        ours = reports[0]["method"] == FOCIL
        for point in memory_points(reports):
            who = f"{reports[0]['title']}, {point['who']}" if ours else reports[0]["title"]
            largest = point["bytes"] == answerer_bytes(reports[0]["memory_bytes"])[point["who"]]
            oracle = _over(reports, "oracle", point["who"]) if largest else None
            found.append(point | {"who": who, "run": name, "oracle": oracle})
    return found


def differences(result: dict) -> list[dict]:
    """Ours (both together, or the experts) less every other run by `sample`, paired by seed.

    [{"run", "mean", "half", "n"}], in shares; empty where ours was not run.
    """
    if FOCIL not in result["runs"]:
        return []
    ours = {report["seed"]: _sample(report) for report in result["runs"][FOCIL]}
    found = []
    for name, reports in result["runs"].items():
        if name != FOCIL:
            pairs = [report for report in reports if report["seed"] in ours]  # a heavy one has the first seed
            gaps = [ours[report["seed"]] - _sample(report) for report in pairs]
            mean, half = mean_interval(gaps)
            found.append({"run": name, "mean": mean, "half": half, "n": len(gaps)})
    return found


def curves(result: dict) -> dict[str, list[list[float]]]:
    """Average accuracy over the tasks so far by `sample`, task by task, of every method at its largest
    memory.

    Run in words -> one course a seed.
    """
    largest: dict[str, list[dict]] = {}
    for reports in result["runs"].values():
        known = largest.setdefault(reports[0]["method"], reports)
        if reports[0]["exemplars"] > known[0]["exemplars"]:
            largest[reports[0]["method"]] = reports
    return {
        title_of(reports[0]): [report["accuracy"][answered(report)]["so_far"] for report in reports]
        for reports in largest.values()
    }


def title_of(report: dict) -> str:
    """A run's method and what it stores, in words."""
    return f"{report['title']}, {report['exemplars']} stored" if report["exemplars"] else report["title"]


def answered(report: dict) -> str:
    """The name of the accuracy by `sample` that a run answers with."""
    names = ("sample-network", "sample", "sample-experts")
    return next(name for name in names if name in report["accuracy"])


def over_seeds(reports: list[dict]) -> dict:
    """What a run comes to over its seeds.

    sample, oracle: final average and half its interval. bytes: kept in all. forgetting (by sample), seconds
    of training and passes (images computed with for each image of the stream): means.
    """
    key = answered(reports[0])
    means = {what: mean([report[what] for report in reports]) for what in ("seconds", "passes")}
    lost = mean([report["accuracy"][key]["forgetting"] for report in reports])
    protocols = {protocol: _over(reports, protocol, split(key)[1]) for protocol in ("sample", "oracle")}
    return protocols | means | {"bytes": reports[0]["memory_bytes"]["total"], "forgetting": lost}


def _sample(report: dict) -> float:
    return report["accuracy"][answered(report)]["final_average"]


def _over(reports: list[dict], protocol: str, who: str) -> tuple[float, float | None]:
    """Mean over the seeds of a final average, and half its interval."""
    name = join(protocol, who)
    return mean_interval([report["accuracy"][name]["final_average"] for report in reports])
