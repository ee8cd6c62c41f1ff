"""The table of methods.

To add one, write its file beside this one and add its line here (CONTRIBUTING.md shows how).
"""

from focil.memo.der import Der
from focil.memo.finetune import Finetune
from focil.memo.icarl import Icarl
from focil.memo.joint import Joint
from focil.memo.memo import Memo
from focil.memo.method import Offline
from focil.memo.replay import Replay
from focil.memo.wa import Wa

OFFLINE: dict[str, type[Offline]] = {
    "finetune": Finetune,
    "replay": Replay,
    "icarl": Icarl,
    "wa": Wa,
    "der": Der,
    "memo": Memo,
    "joint": Joint,
}
ONLINE = "focil"  # reads each image once; see `focil.method`
NAMES = (*OFFLINE, ONLINE)
TITLES = {name: method.title for name, method in OFFLINE.items()} | {ONLINE: "FOCIL"}


def has_budget(name: str) -> bool:
    """Whether a method's accuracy depends on how many exemplars it may keep."""
    return name in OFFLINE and OFFLINE[name].keeps_exemplars
