"""How much a run says: a bar, plain lines, or nothing.

The command line decides, and processes below it follow.
"""

import os
import re
import sys
from typing import Any

from tqdm import tqdm

VARIABLE = "FOCIL_PROGRESS"
VOICES = {
    "normal": "",
    "quiet": "say nothing but errors and the results",
    "verbose": "a plain line for every finished task, with its accuracies, instead of a bar",
}
FINISHED = re.compile(r"^.*: done, \d+ of \d+\n?", re.MULTILINE)  # the lines of `finished`
PATIENCE = 30.0  # seconds between two looks at a bar that goes into a file


def speak(voice: str) -> None:
    """Choose one of VOICES for this process and those it starts."""
    shown = "terminal" if sys.stderr.isatty() else "file"
    os.environ[VARIABLE] = shown if voice == "normal" else voice


def bar(**about: Any) -> tqdm:
    """A progress bar on standard error; arguments as of tqdm.

    Into a file it says little, when quiet nothing.
    """
    voice = os.environ.get(VARIABLE) or ("terminal" if sys.stderr.isatty() else "file")
    pace = 0.5 if voice == "terminal" else PATIENCE
    silent = voice in ("quiet", "verbose")
    return tqdm(mininterval=pace, smoothing=0, leave=False, disable=silent, **about)


def line(text: str) -> None:
    """A plain line on standard error, when verbose."""
    if os.environ.get(VARIABLE) == "verbose":
        print(text, file=sys.stderr, flush=True)


def note(text: str) -> None:
    """A paragraph that a person should read before a long run, on standard error; nothing when quiet."""
    if os.environ.get(VARIABLE) != "quiet":
        print(text, file=sys.stderr, flush=True)


def finished(name: str, done: int, total: int) -> None:
    """A line about a training that has ended, above the bar; nothing when quiet."""
    if os.environ.get(VARIABLE) != "quiet":
        tqdm.write(f"{name}: done, {done} of {total}", file=sys.stderr)


def without_finished(text: str) -> str:
    """What was written to standard error, without the lines of `finished`: a page that shows the numbers
    does not need them."""
    return FINISHED.sub("", text)
