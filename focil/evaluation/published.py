"""Accuracies that others published, and the released code's on our data.

What ours are shown beside, each with its protocol.
"""

from dataclasses import dataclass

PAPER = "FOCIL paper, read off a figure (+-0.5)"
ONLINE = "published for task-incremental online learning; first source not checked"
MEASURED = "the method's released code, measured on this data"


@dataclass(frozen=True)
class Published:
    """A final average accuracy that is not ours.

    accuracy: in %. half: the +- that the source gives, None for one run or where none is given. protocol:
    `oracle`, `sample`, or `probe-labelled`, where ten labelled test images choose the expert. stored: images
    kept for replay; 0 for none, None where the source does not say.
    """

    method: str
    accuracy: float
    protocol: str
    source: str
    half: float | None = None
    stored: int | None = 0


def _replay(method: str, accuracy: float) -> Published:
    return Published(method, accuracy, "sample", PAPER, stored=None)


PUBLISHED: dict[str, tuple[Published, ...]] = {
    "mnist-5": (Published("FOCIL, released code", 77.8, "probe-labelled", MEASURED, half=13.4),),
    "fashion-mnist-5": (Published("FOCIL, released code", 86.6, "probe-labelled", MEASURED),),
    "cifar100-10": (
        Published("OnPro", 34.4, "sample", "OnPro paper", stored=2000),
        Published("OnPro", 42.1, "sample", "OnPro paper", stored=5000),
    ),
    "cifar100-20": (
        Published("GEM", 63.0, "oracle", ONLINE, stored=None),
        Published("A-GEM", 62.0, "oracle", ONLINE, stored=None),
        Published("FOCIL, paper", 59.0, "probe-labelled", PAPER),
        Published("FOCIL, released code", 57.5, "probe-labelled", MEASURED),
        Published(
            "ER",
            28.2,
            "sample",
            "published for 20 x 5, 2000 stored; first source not checked",
            half=1.2,
            stored=2000,
        ),
        _replay("OCM", 22.5),
        _replay("OnPro", 22.5),
        _replay("DVC", 13.5),
        _replay("SCR", 12.0),
        _replay("GDumb, ASER, CoPE", 8.0),
        _replay("ER, MIR, GSS", 7.0),
        _replay("A-GEM", 3.0),
    ),
}
