"""result.json: what is in it, and how results of several seeds are read together."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from focil.metrics import mean_interval
from focil.provenance import provenance

if TYPE_CHECKING:
    from focil.runs import Run

RESULT = "result.json"
CURVE_POINTS = 40  # points kept of each candidate's curve


def assemble(run: "Run", verified: dict) -> dict:
    """Everything that is known about a finished run; every number behind a figure is in it."""
    result = {
        "benchmark": run.benchmark.model_dump(mode="json"),
        "seed": run.seed,
        "accuracy": run.evaluation.accuracy(),
        "routing": run.evaluation.routing(run.method),
        "budgets": run.evaluation.budgets(run.method),
        "batches": run.evaluation.batches(run.method),
        "test_images": run.evaluation.test_images(),
        "search": [_condense(report) for report in run.method.report],
        "layers": {name: weights.numel() for name, weights in run.method.store.items()},
        "capacity": run.method.capacity(),
        "memory_bytes": _with_total(run.method.memory()),
        "data_bytes": {"training_set": run.data.x_train.nbytes, "image": run.data.x_train[0].nbytes},
        "seconds": _with_total(run.seconds),
        "verified": verified,
        "provenance": provenance(run.benchmark, run.data),
    }
    if run.benchmark.development:
        result["rules"] = run.evaluation.compare_rules(run.method)
    return result


def read_results(folder: Path) -> list[dict]:
    """The results below a benchmark's folder, outputs/NAME/seed-*/result.json, by seed."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob(f"seed-*/{RESULT}")]
    return sorted(found, key=lambda result: result["seed"])


def summary(results: list[dict]) -> Iterator[tuple[str, float, float | None]]:
    """(name of the accuracy, mean over seeds of the final average, half-width of the 95 % interval or None for one seed)."""
    for name in results[0]["accuracy"] if results else ():
        yield name, *mean_interval([result["accuracy"][name]["final_average"] for result in results])


def memory_points(results: list[dict]) -> list[dict]:
    """`sample` accuracy over seeds against all bytes that are kept: [{"who", "bytes", "accuracy", "half"}], a router's smaller budgets among them."""
    kept, points = results[0]["memory_bytes"], []
    experts = kept["total"] - kept["router"]
    found = {("experts", experts): [result["accuracy"]["sample-experts"]["final_average"] for result in results]}
    for index, budget in enumerate(results[0].get("budgets", [])):
        size = budget["router_bytes"]
        found["router", size + kept["held_batches"]] = [result["budgets"][index]["sample-router"] for result in results]
        found["both", experts + size] = [result["budgets"][index]["sample"] for result in results]
    for (who, size), values in found.items():
        mean, half = mean_interval(values)
        points.append({"who": who, "bytes": size, "accuracy": mean, "half": half})
    return points


def shortened(tree: object) -> object:
    """A tree of plain values with its floats cut to six significant digits, which is more than any of them is worth."""
    if isinstance(tree, float):
        return float(f"{tree:.6g}")
    if isinstance(tree, dict):
        return {key: shortened(value) for key, value in tree.items()}
    return [shortened(value) for value in tree] if isinstance(tree, list | tuple) else tree


def _condense(report: dict) -> dict:
    """A search report with its curves as block means, so that result.json stays small."""
    block = max(1, round(max(len(c["accuracy"]) for c in report["candidates"]) / CURVE_POINTS))
    candidates = [
        {"sparsity": c["sparsity"], "lr": c["lr"]} | {key: _block_means(c[key], block) for key in ("accuracy", "loss")} for c in report["candidates"]
    ]
    for candidate, full in zip(candidates, report["candidates"], strict=True):
        candidate["batches"] = [min((i + 1) * block, len(full["accuracy"])) for i in range(len(candidate["accuracy"]))]
    return report | {"candidates": candidates}


def _block_means(values: list[float], block: int) -> list[float]:
    parts = (values[i : i + block] for i in range(0, len(values), block))
    return [round(sum(part) / len(part), 4) for part in parts]


def _with_total(parts: dict) -> dict:
    return parts | {"total": sum(parts.values())}
