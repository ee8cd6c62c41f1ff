"""The pages of a network that learns, as HTML: after a task, and over sparsity."""

from collections.abc import Sequence

from focil.base.words import count, in_percent
from focil.figures import learning, parts
from focil.reports.explorer import pieces
from focil.reports.explorer.learning import SWEPT, Moment, Point

BEGIN = (
    "Press Learn, or move a control: FOCIL learns the handwritten digits (1 442 images, each drawn once) and "
    "this page shows each task as it passes. Sweep does so at eight sparsities. Nothing is written to a file."
)
DIVERGED = "Training fails here: a learning rate of {:g} is too high, so move it down."
SHOWN = 12  # letters of a SHA-256 that are shown


def moment(seen: Moment) -> str:
    """The page after a task: a sentence, a picture, and the frozen experts."""
    done, tasks = len(seen.capacity), seen.settings.tasks
    told = f"{count(done, 'task')} of {tasks} learned. {frozen(done)}"
    return (
        pieces.status(told)
        + pieces.picture(learning.learned(seen.rows, seen.owner, seen.capacity, tasks))
        + _experts(seen)
    )


def frozen(done: int) -> str:
    """What was verified of the older experts, in a sentence."""
    if done == 1:
        return "The first expert is frozen now; it is compared after every later task."
    older = count(done - 1, "older expert")
    verb = "is" if done == 2 else "are"
    return f"{older[0].upper()}{older[1:]} {verb} unchanged, bit for bit."


def curve(points: Sequence[Point]) -> str:
    """The page of a sweep so far: a sentence, a picture, its numbers."""
    kept = {point.kept for point in points}
    same = (
        f" All that is kept stays at {points[0].kept:,} bytes: the backbone is stored whole, with its zeros."
        if len(kept) == 1
        else ""
    )
    told = f"{len(points)} of {len(SWEPT)} sparsities learned, with one seed.{same}"
    rows = [
        (
            f"{point.sparsity:g}",
            *(in_percent(point.accuracy[key]) for key in learning.LINES),
            f"{point.trained:,}",
            parts.percent(point.used),
            f"{point.kept:,}",
        )
        for point in points
    ]
    columns = ("sparsity", *learning.LINES.values(), "bytes trained", "network used", "bytes kept")
    return (
        pieces.status(told)
        + pieces.picture(learning.swept([point._asdict() for point in points]))
        + pieces.folded("The curve in numbers", pieces.table("Final average accuracy in %", columns, rows))
    )


def _experts(seen: Moment) -> str:
    done = len(seen.capacity)
    rows = [
        (
            task + 1,
            f"{sum(row['owned'].values()):,}",
            f"{sum(row['reused'].values()):,}",
            parts.percent(row["trainable_share"]),
            seen.fingerprints[task][:SHOWN],
            f"equal, {count(done - 1 - task, 'time')}" if task < done - 1 else "frozen now",
        )
        for task, row in enumerate(seen.capacity)
    ]
    columns = (
        "task",
        "connections trained",
        "re-used",
        "trained share",
        "SHA-256 of its numbers",
        "compared after later tasks",
    )
    return pieces.table("The frozen experts", columns, rows)
