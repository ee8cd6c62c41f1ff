"""result.json, read: how results of several seeds are taken together."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from focil.base.errors import FocilError
from focil.evaluation.metrics import mean_interval

RESULT = "result.json"
OF_THE_MACHINE = {"threads", "device"}  # settings that may differ between seeds


class ResultsError(FocilError):
    """Results that are not there, or cannot be read as asked; the message says what to do."""


@contextmanager
def meant_as_result(path: Path) -> Iterator[None]:
    """Inside, what a file holds is used as it should be; whatever it is instead becomes a ResultsError."""
    try:
        yield
    except FocilError:
        raise
    except (
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        ArithmeticError,
        OSError,
        RecursionError,
    ) as error:
        raise ResultsError(
            f"{path} cannot be read ({type(error).__name__}): it was cut short, altered, or is no result of "
            "focil. Restore it, or run its benchmark again: what was trained is kept, so that takes seconds."
        ) from None


def read_result(path: Path) -> dict:
    """The content of a result.json. Raises ResultsError for a file that no run of focil has finished."""
    with meant_as_result(path):
        result = json.loads(path.read_text(encoding="utf-8"))
        (
            result["benchmark"]["name"],
            result["seeds" if "seeds" in result else "seed"],
        )  # or it is something else
    return result


def read_results(folder: Path) -> list[dict]:
    """The results below a benchmark's folder, outputs/NAME/seed-*/result.json, by seed.

    Raises ResultsError.
    """
    found = [read_result(path) for path in folder.glob(f"seed-*/{RESULT}")]
    with meant_as_result(folder):
        found.sort(key=lambda result: result["seed"])
        _must_be_alike(folder, found)
    return found


def _must_be_alike(folder: Path, results: list[dict]) -> None:
    """Raise ResultsError where seeds had different settings or data: their mean would be of nothing."""
    settings = [
        flattened(result["benchmark"]) | {"data": result.get("provenance", {}).get("data", {}).get("sha256")}
        for result in results
    ]
    for result, mine in zip(results[1:], settings[1:], strict=True):
        first = settings[0]
        for key in sorted((first.keys() & mine.keys()) - OF_THE_MACHINE):
            if first[key] != mine[key]:
                raise ResultsError(
                    f"{folder} holds runs that are not alike: {key} is {first[key]!r} with seed "
                    f"{results[0]['seed']}, {mine[key]!r} with seed {result['seed']}. Move one of them to a "
                    "folder of its own, or run its seed again with --fresh."
                )


def flattened(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A tree of settings in one level.

    >>> flattened({"data": "digits", "focil": {"averaging": 0.98}})
    {'data': 'digits', 'focil.averaging': 0.98}
    """
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= flattened(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return flat


def summary(results: list[dict]) -> Iterator[tuple[str, float, float | None]]:
    """(name of the accuracy, mean over seeds of the final average, half-width of the 95 % interval or None
    for one seed)."""
    for name in results[0]["accuracy"] if results else ():
        yield name, *mean_interval([result["accuracy"][name]["final_average"] for result in results])


def answerer_bytes(kept: dict[str, int]) -> dict[str, int]:
    """Bytes that must be kept for each answerer, from a result's "memory_bytes".

    The router alone needs its sums and, while a task passes, the held batches; "network" is all there is of
    a method with one network.
    """
    router = kept.get("router", 0)
    return {
        "experts": kept["total"] - router,
        "router": router + kept.get("held_batches", 0),
        "both": kept["total"],
        "network": kept["total"],
    }


def memory_points(results: list[dict]) -> list[dict]:
    """`sample` accuracy over seeds against all bytes that are kept, a router's smaller budgets among them.

    [{"who", "bytes", "accuracy", "half"}]: a share and the half-width of its 95 % interval, None for one
    seed.
    """
    kept, points = results[0]["memory_bytes"], []
    if "sample-network" in results[0]["accuracy"]:
        shares = [result["accuracy"]["sample-network"]["final_average"] for result in results]
        mean, half = mean_interval(shares)
        return [{"who": "network", "bytes": kept["total"], "accuracy": mean, "half": half}]
    experts = answerer_bytes(kept)["experts"]
    found = {
        ("experts", experts): [result["accuracy"]["sample-experts"]["final_average"] for result in results]
    }
    for index, budget in enumerate(results[0].get("budgets", [])):
        size = budget["router_bytes"]
        found["router", size + kept["held_batches"]] = [
            result["budgets"][index]["sample-router"] for result in results
        ]
        found["both", experts + size] = [result["budgets"][index]["sample"] for result in results]
    for (who, size), values in found.items():
        mean, half = mean_interval(values)
        points.append({"who": who, "bytes": size, "accuracy": mean, "half": half})
    return points


def shortened(tree: object) -> object:
    """A tree of plain values with its floats cut to six significant digits, which is more than any of them
    is worth."""
    if isinstance(tree, float):
        return float(f"{tree:.6g}")
    if isinstance(tree, dict):
        return {key: shortened(value) for key, value in tree.items()}
    return [shortened(value) for value in tree] if isinstance(tree, list | tuple) else tree
