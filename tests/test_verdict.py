"""What a study of equal memory says.

Differences paired by seed, areas of trapezoids, and no more than the numbers allow.
"""

from focil.evaluation import metrics
from focil.memo.account import MIB
from focil.studies.tables import run_lines
from focil.studies.verdict import areas, curves, verdict

POINT = {"network": "convnet2", "exemplars": 1}


def report(last, average=0.5, oracle=0.9, stored=7):
    return {"last": last, "average": average, "oracle": {"final_average": oracle}, "stored": stored}


def result_of(lasts, budgets=(4 * MIB,), used=None):
    """A result by hand: last accuracies by method and budget, one a seed. The average is 0.1 above."""
    methods = list(lasts)
    runs = {
        f"{m}-{n}": [report(last, last + 0.1) for last in seeds]
        for m in methods
        for n, seeds in enumerate(lasts[m])
    }
    points = [
        {
            "budget": budget,
            "runs": {m: f"{m}-{n}" for m in methods if n < len(lasts[m])},
            "methods": {
                m: {"exemplars": 10 * (n + 1), "bytes": (used or budgets)[n], "network": "convnet2"}
                for m in methods
                if n < len(lasts[m])
            },
        }
        for n, budget in enumerate(budgets)
    ]
    return {
        "benchmark": {
            "name": "x",
            "data": "digits",
            "tasks": 2,
            "memory": {"methods": methods, "points": [POINT]},
        },
        "points": points,
        "runs": runs,
    }


def test_the_verdict_is_paired_by_seed_and_says_what_follows():
    better = list(verdict(result_of({"replay": [[0.40, 0.50]], "memo": [[0.45, 0.56]]})))
    assert better == [
        "4.0 MiB each: MEMO less replay, last accuracy: +5.5 +- 6.4 points: no difference beyond the interval"
    ]
    mean, half = metrics.mean_interval([5, 6])
    assert (round(mean, 1), round(half, 1)) == (5.5, 6.4)
    assert next(verdict(result_of({"replay": [[0.40, 0.50]], "memo": [[0.30, 0.40]]}))).endswith(
        "-10.0 +- 0.0 points: MEMO is worse"
    )
    assert next(verdict(result_of({"wa": [[0.4, 0.5, 0.6]], "memo": [[0.5, 0.6, 0.701]]}))).endswith(
        "+10.0 +- 0.1 points: MEMO is better"
    )
    assert next(verdict(result_of({"der": [[0.4]], "memo": [[0.5]]}))).endswith(
        "accuracy: +10.0 points: MEMO is better (one seed)"
    )
    assert next(verdict(result_of({"icarl": [[0.4]], "memo": [[0.395]]}))).endswith(
        "-0.5 points: nearly identical"
    )


def test_the_verdict_has_a_line_for_each_rival_at_each_budget_and_none_without_memo():
    found = list(
        verdict(
            result_of(
                {"finetune": [[0.1]] * 2, "wa": [[0.4]] * 2, "replay": [[0.3]], "memo": [[0.5]] * 2},
                (MIB, 2 * MIB),
            )
        )
    )
    assert [line.split(",")[0] for line in found] == [
        "1.0 MiB each: MEMO less replay",
        "1.0 MiB each: MEMO less wa",
        "2.0 MiB each: MEMO less wa",
    ]
    assert list(verdict(result_of({"wa": [[0.4]], "replay": [[0.3]]}))) == []
    free = next(verdict(result_of({"wa": [[0.4]], "memo": [[0.5]]}, (None,), used=(MIB,))))
    assert free.startswith("10 exemplars each, whatever the networks take: MEMO less wa")


def test_what_is_no_more_than_the_interval_is_not_called_identical():
    assert "identical" not in next(
        verdict(result_of({"wa": [[0.1, 0.9]], "memo": [[0.9, 0.1]]}))
    )  # 0 +- 1016 points


def test_areas_are_of_two_budgets_or_more_whatever_their_order():
    lasts = {"replay": [[0.6, 0.8], [0.4]], "memo": [[0.9], [0.5]]}
    found = list(areas(result_of(lasts, (3 * MIB, MIB))))
    assert [line.split()[0] for line in found] == ["replay", "memo"]
    assert "AUC-A   1.30  AUC-L   1.10  (2 budgets, 1.0 to 3.0 MiB)" in found[0]  # (0.4 + 0.7) / 2 x 2
    assert "AUC-L   1.40" in found[1]
    assert list(areas(result_of({"replay": [[0.4]], "memo": [[0.5]]}))) == []


def test_curves_are_of_methods_with_a_budget():
    found = list(
        curves(
            result_of(
                {"finetune": [[0.1]], "replay": [[0.6, 0.8], [0.4, 0.5]], "focil": [[0.3]]}, (3 * MIB, MIB)
            )
        )
    )
    assert found == [("replay", [3 * MIB, MIB], [[0.7, 0.9], [0.5, 0.6]], [[0.6, 0.8], [0.4, 0.5]])]


def test_the_table_has_a_line_a_run_with_intervals_where_there_are_seeds():
    runs = {"replay-x": [report(0.25, 0.5), report(0.75, 0.5)], "wa-y": [report(0.25, 0.5, 0.75, stored=30)]}
    lines = run_lines({"runs": runs})
    half = 100 * metrics.mean_interval([0.25, 0.75])[1]
    said = f" 50.0 +- {half:.1f} %, average 50.0 +- 0.0 %, oracle 90.0 +- 0.0 %, stored 7, n = 2"
    assert " ".join(lines[0].split("last")[1].split()) == said.strip()
    assert " ".join(lines[1].split()) == "wa-y last 25.0 %, average 50.0 %, oracle 75.0 %, stored 30, n = 1"
