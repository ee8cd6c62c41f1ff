"""The shortcuts of the released code that the audit measures.

Their names, and the line of ours that does it right.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from focil.runs.sections import SHORTCUTS, Shortcut

AT_TEST = frozenset(("R1", "R8", "R9"))  # what is done to test images; training does not know of them
PACKAGE = Path(__file__).resolve().parents[2]


class Described(NamedTuple):
    """name: what the release does, in few words.

    file, line: where ours does it right, and how that line begins.
    """

    name: str
    file: str
    line: str


DESCRIBED: dict[Shortcut, Described] = {
    "R1": Described("labels choose the expert", "confidence.py", "chosen = given.task.argmax(axis=1)"),
    "R2": Described(
        "20 trials, many passes",
        "search.py",
        "scores = self._cores.map(lambda group: group.step(images, labels, again), self.groups)",
    ),
    "R3": Described(
        "learning rate x 0.01", "trainer.py", "self._values.addcmul_(gradient, self._rate, value=-1)"
    ),
    "R4": Described(
        "new connections start at 0",
        "method.py",
        "return [Start(self.store, masks[c.sparsity], c.lr, head, own)",
    ),
    "R5": Described("the head is masked too", "method.py", "head, own = self._new_head(len(self.experts))"),
    "R6": Described(
        "frozen weights decay",
        "trainer.py",
        "self._values = torch.cat([slot.gather(slot.leaf.detach()) for slot in self._slots])",
    ),
    "R7": Described(
        "scored over all classes", "trainer.py", "return (logits.argmax(2) == labels).float().mean(1)"
    ),
    "R8": Described("test batches normalise themselves", "expert.py", "backbone.eval()"),
    "R9": Described(
        "test images are augmented",
        "evaluation/frozen.py",
        "scores = method.scores(self.stream.prepare(self.stream.test), [task])",
    ),
    "R12": Described("masks ignore what is free", "masks.py", "new = min(count, free // tasks_left)"),
}


def our_line(shortcut: Shortcut) -> str:
    """The line of the package that does right what the shortcut does: "focil/masks.py:213: new = ...".

    Raises LookupError if it has gone.
    """
    _, file, start = DESCRIBED[shortcut]
    for number, line in enumerate((PACKAGE / file).read_text(encoding="utf-8").splitlines(), 1):
        if line.strip().startswith(start):
            return f"focil/{file}:{number}: {line.strip()}"
    raise LookupError(f"focil/{file} has no line that starts with {start!r}")


def ordered(shortcuts: Iterable[str]) -> list[str]:
    """Shortcuts in the order of their numbers."""
    return [shortcut for shortcut in SHORTCUTS if shortcut in set(shortcuts)]
