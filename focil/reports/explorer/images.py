"""The page of one test image, as HTML: the truth, the answers, and what everyone says of it."""

from collections.abc import Iterable

import numpy as np

from focil.figures import parts
from focil.figures.single import single
from focil.reports.explorer import pieces
from focil.reports.explorer.saved import ImageAnswers, SavedRun

WHO = {
    "experts": "the experts alone",
    "router": "the router alone",
    "both": "both together",
    "network": "the network",
}


def asked(opened: SavedRun, index: int) -> str:
    """The page of test image `index` of a run."""
    one = opened.ask(index)
    best = {
        who: [opened.name(t, int(k)) for t, k in enumerate(given.within[0].argmax(axis=1))]
        for who, given in one.evidence.items()
    }
    answers = "; ".join(f"{WHO[who]}: {_answer(opened, one, who)}" for who in one.answers)
    text = (
        f"Test image {index} shows {opened.name(one.task, one.label)}, of task {one.task + 1}. Answers: "
        f"{answers}."
    )
    rows = [(task + 1, *_said(one, best, task)) for task in range(len(opened.stream))]
    columns = [
        column
        for who in best
        for column in (
            (f"{WHO[who]}: " + ("sureness" if who == "experts" else "P(task)")),
            "best class",
            "P(class | task)",
        )
    ]
    return (
        pieces.status(text)
        + pieces.picture(single(one.pixels, one.task, one.evidence, best))
        + pieces.folded(
            "The same in numbers", pieces.table("What is said of each task", ("task", *columns), rows)
        )
    )


def _answer(opened: SavedRun, one: ImageAnswers, who: str) -> str:
    task, label = one.answers[who]
    right = "right" if (task, label) == (one.task, one.label) else "wrong"
    return f"{opened.name(task, label)}, task {task + 1} ({right})"


def _said(one: ImageAnswers, best: dict[str, list[str]], task: int) -> Iterable[str]:
    for who, given in one.evidence.items():
        weight = float(given.task[0, task])
        yield f"{weight:.2f}" if who == "experts" else parts.percent(float(np.exp(weight)))
        yield best[who][task]
        yield parts.percent(float(np.exp(given.within[0, task].max())))
