"""What the explorer's pages say, as HTML: plain functions of a plan, a result, or a test image; the widgets
only call them.

Whatever comes from data or from a file (class names, names of benchmarks) is escaped where it enters a page.
"""

import base64
import html
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from focil.backbones import ImageShape
from focil.base import words
from focil.figures import accuracy, occupancy, parts, planning, style
from focil.figures.single import single
from focil.masks import Allocation
from focil.memo.account import in_exemplars
from focil.online.table import ONLINE
from focil.reports.explorer.planning import plan
from focil.reports.explorer.saved import ImageAnswers, SavedRun, read
from focil.runs.params import Benchmark
from focil.runs.params_files import FOCIL
from focil.studies.tables import in_lines

NETWORKS: dict[str, tuple[str, ImageShape]] = {
    "MLP 784-300-100 (28 x 28 pixels)": ("mlp", (1, 28, 28)),
    "MLP 64-300-100 (8 x 8 pixels)": ("mlp", (1, 8, 8)),
    "ResNet18 (32 x 32 pixels, colour)": ("resnet18", (3, 32, 32)),
}
MEMORY = {
    "backbone": "backbone, float32",
    "statistics": "biases and statistics of all experts",
    "masks_regenerated": "all masks, drawn again from the seed (what focil keeps)",
    "masks_packed": "all masks as packed bits",
    "masks_float32": "all masks as float32 (the released code)",
}
MEASURES = {
    "final_average": "final average",
    "average_incremental": "average incremental",
    "forgetting": "forgetting",
}
STYLE = """<style>
.focil-table { border-collapse: collapse; margin: 0.5em 0 1em; line-height: 1.5; }
.focil-table caption { text-align: left; font-weight: bold; padding: 0.3em 0; }
.focil-table th, .focil-table td { padding: 0.15em 0.8em; text-align: right; border-bottom: 1px solid #ccc; }
.focil-table th:first-child { text-align: left; }
.focil-page details { margin: 0.5em 0; }
.focil-page summary { cursor: pointer; font-weight: bold; line-height: 2; }
.focil-page [role=alert] { border-left: 4px solid #d55e00; padding-left: 0.6em; }
.focil-page > .widget-html-content { line-height: 1.5; min-width: 0; }
</style>"""
WHO = {
    "experts": "the experts alone",
    "router": "the router alone",
    "both": "both together",
    "network": "the network",
}
Cell = str | int


def planned(network: str, sparsity: float, tasks: int, allocation: Allocation, seed: int) -> str:
    """The page of the first tab: a sentence, a picture, what it takes in memory, and the counts of every
    task.

    network: a key of `NETWORKS`. The rest as in `planning.plan`.
    """
    backbone, image_shape = NETWORKS[network]
    found = plan(backbone, image_shape, tasks, sparsity, allocation, seed)
    image = math.prod(image_shape)  # bytes: pixels are uint8
    memory = [
        (MEMORY[part], f"{size:,}", f"{in_exemplars(size, image):,.1f}")
        for part, size in found["memory_bytes"].items()
    ]
    used = occupancy.used(found["capacity"])
    counts = [
        (
            task,
            *(f"{sum(row[part].values()):,}" for part in ("owned", "reused", "free")),
            parts.percent(row["trainable_share"]),
            parts.percent(share),
        )
        for task, (row, share) in enumerate(zip(found["capacity"], used, strict=True), 1)
    ]
    return (
        _status(summary(found, allocation))
        + _picture(planning.plan(found))
        + _table(
            "Memory; heads and router come on top",
            ("what", "bytes", f"worth as many images of {image:,} bytes"),
            memory,
        )
        + _folded(
            "Every task in numbers",
            _table(
                "Connections",
                ("task", "new", "re-used", "still free", "trained share", "network used"),
                counts,
            ),
        )
    )


def summary(found: dict, allocation: Allocation) -> str:
    """What a plan comes to, in sentences for the page and its screen readers.

    found: as `planning.plan` returns it.
    """
    capacity = found["capacity"]
    layers = list(found["densities"].items())
    first, last = (f"{density:.3f} in {words.layer(name)}" for name, density in (layers[0], layers[-1]))
    how = (
        "exact, the same for every seed"
        if allocation == "planned"
        else "one random draw, another seed gives slightly other counts"
    )
    return (
        f"Counts: {how}. The last of {len(capacity)} tasks trains "
        f"{parts.percent(capacity[-1]['trainable_share'])} of its mask. ERK density from {first} to {last}. "
        f"The backbone takes {found['memory_bytes']['backbone']:,} bytes."
    )


def folder(path: Path) -> str:
    """The page of a folder of results: of a run its accuracy under each protocol and FOCIL's experts, of a
    study its lines and pictures.

    Raises RunError for a result that cannot be read.
    """
    result = read(path)
    benchmark = Benchmark.recorded(result["benchmark"])
    head = f"<h2>{html.escape(benchmark.name)}</h2>"
    if benchmark.notebook != "benchmark":
        return head + f"<pre>{html.escape(in_lines(path))}</pre>" + "".join(map(_stored, _pictures(path)))
    ours = benchmark.method == FOCIL
    made_by = benchmark.backbone if ours else ONLINE[benchmark.method].title
    text = f"{benchmark.data}, {benchmark.tasks} tasks, {made_by}, seed {result['seed']}: {_headline(result)}"
    by_task = {key: report for key, report in result["accuracy"].items() if "matrix" in report}
    curves = (
        _folded("Accuracy of every task as tasks are learned", _picture(accuracy.curves(by_task)))
        if by_task  # outputs/reference keeps it of one seed
        else ""
    )
    return head + _status(text) + _accuracies(result) + curves + (_experts(result) if ours else "")


def asked(opened: SavedRun, index: int) -> str:
    """The page of one test image: the truth, the answers, and what everyone says of it."""
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
        _status(text)
        + _picture(single(one.pixels, one.task, one.evidence, best))
        + _folded("The same in numbers", _table("What is said of each task", ("task", *columns), rows))
    )


def error(words: str) -> str:
    """Why something cannot be shown, for the page and its screen readers."""
    return f'<p role="alert">{html.escape(words)}</p>'


def _headline(result: dict) -> str:
    key = accuracy.preferred(result["accuracy"], "sample")
    return (
        f"{parts.percent(result['accuracy'][key]['final_average'])} {accuracy.phrase(key)} "
        f"({accuracy.name(key)})"
    )


def _accuracies(result: dict) -> str:
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
    return _table(
        "Accuracy in %, by what is known and who answers", ("protocol, who", *MEASURES.values()), rows
    )


def _experts(result: dict) -> str:
    rows = [
        (
            task,
            f"{chosen['sparsity']:g}",
            f"{chosen['lr']:g}",
            f"{100 * chosen['prequential']:.1f}",
            f"{sum(row['owned'].values()):,}",
            f"{sum(row['reused'].values()):,}",
            parts.percent(row["trainable_share"]),
        )
        for task, (chosen, row) in enumerate(zip(result["search"], result["capacity"], strict=True), 1)
    ]
    columns = (
        "task",
        "sparsity",
        "learning rate",
        "prequential accuracy (%)",
        "connections trained",
        "re-used",
        "trained share",
    )
    return _table("Its experts", columns, rows) + _folded(
        "Which connections they own", _picture(occupancy.heatmap(result["capacity"]))
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


def _status(text: str) -> str:
    return f'<p role="status">{html.escape(text)}</p>'


def _folded(title: str, content: str) -> str:
    return f"<details><summary>{html.escape(title)}</summary>{content}</details>"


def _table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """A table whose first column names the rows; it scrolls by itself where it is wider than the page."""
    head = "".join(f'<th scope="col">{html.escape(column)}</th>' for column in columns)
    body = "".join(
        f'<tr><th scope="row">{html.escape(str(first))}</th>'
        + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in rest)
        + "</tr>"
        for first, *rest in rows
    )
    return (
        '<div style="overflow-x: auto" tabindex="0" role="region" '
        f'aria-label="{html.escape(caption)}"><table class="focil-table">'
        f"<caption>{html.escape(caption)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def _picture(picture: style.Picture) -> str:
    return _img(style.png(picture), picture.alt)


def _pictures(path: Path) -> list[Path]:
    return sorted([*path.glob("*.png"), *path.glob("figures/*.png")])


def _stored(path: Path) -> str:
    return _img(path.read_bytes(), style.alt_of(path))


def _img(png: bytes, alt: str) -> str:
    data = base64.b64encode(png).decode()
    return (
        f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{data}" style="max-width: 100%; height: '
        'auto; display: block">'
    )
