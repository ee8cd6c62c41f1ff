"""Accuracies that others published, and the released code's on our data.

What ours are shown beside, each with its protocol.
"""

from dataclasses import dataclass

PAPER = "FOCIL paper, read off a figure (+-0.5)"
BASELINES = "continual-learning-baselines, the task given; other splits and networks"
MEASURED = "the method's released code, measured on this data"
QUOTED = "one pass, batches of 10, ResNet18; the paper's number as others quote it, splits differ"
MOSE = "run again by the authors of MOSE, as others quote it"
KIN = "random features and a streaming discriminant; the paper's number as others quote it"
UNREAD = "†"  # after the name of a row whose source was not read
EXPLAINED = f"; {UNREAD}: quoted, source not read"  # below a figure that has such rows


@dataclass(frozen=True)
class Published:
    """A final average accuracy that is not ours.

    accuracy: in %. half: half of the 95 % interval, None for one run or where none is given. protocol:
    `oracle`, `sample`, or `probe-labelled`, where ten labelled test images choose the expert. stored: images
    kept for replay; 0 for none, None where the source does not say. read: whether its source was read, rather
    than quoted by others.
    """

    method: str
    accuracy: float
    protocol: str
    source: str
    half: float | None = None
    stored: int | None = 0
    read: bool = True

    @property
    def name(self) -> str:
        """The method, marked where its source was not read."""
        return self.method if self.read else f"{self.method} {UNREAD}"

    @property
    def name_and_memory(self) -> str:
        """The name, with the number of images that it stores."""
        return f"{self.name}, {self.stored} images stored" if self.stored else self.name


def _drawn(method: str, accuracy: float) -> Published:
    return Published(method, accuracy, "sample", PAPER, stored=None)


def _quoted(method: str, accuracy: float, stored: int | None, source: str = QUOTED) -> Published:
    return Published(method, accuracy, "sample", source, stored=stored, read=False)


# What replay and random features reach on CIFAR-100 elsewhere, most of them in ten tasks.
CIFAR100 = (
    _quoted("OCM", 35.0, 2000),
    _quoted("OCM", 42.4, 5000),
    _quoted("OnPro", 35.9, 2000),
    _quoted("GSA+CCL-DC", 44.7, 2000),
    _quoted("GSA+CCL-DC", 55.4, 5000),
    _quoted("GSA+MKD", 48.2, 2000),
    _quoted("GSA+MKD", 56.2, 5000),
    _quoted("RanDumb", 28.6, 0, KIN),
    _quoted("CIRCLE", 45.3, 0, KIN),
)
PUBLISHED: dict[str, tuple[Published, ...]] = {
    "mnist-5": (Published("FOCIL, released code", 77.8, "probe-labelled", MEASURED, half=13.4),),
    "fashion-mnist-5": (Published("FOCIL, released code", 86.6, "probe-labelled", MEASURED),),
    "cifar100-10": (
        *CIFAR100,
        _quoted("OnPro, run again", 34.4, 2000, MOSE),
        _quoted("OnPro, run again", 42.1, 5000, MOSE),
    ),
    "cifar100-20": (
        Published("GEM", 63.0, "oracle", BASELINES, stored=None),
        Published("A-GEM", 62.0, "oracle", BASELINES, stored=None, read=False),
        Published("FOCIL, paper", 59.0, "probe-labelled", PAPER),
        Published("FOCIL, released code", 57.5, "probe-labelled", MEASURED),
        Published(
            "ER",
            28.2,
            "sample",
            "logs of ocl_survey: 28.15, standard deviation 1.22 over 5 seeds",
            stored=2000,
        ),
        _drawn("OCM", 22.5),
        _drawn("OnPro", 22.5),
        _drawn("DVC", 13.5),
        _drawn("SCR", 12.0),
        _drawn("GDumb, ASER, CoPE", 8.0),
        _drawn("ER, MIR, GSS", 7.0),
        _drawn("A-GEM", 3.0),
        *CIFAR100,
    ),
    "tiny-imagenet-100": (
        _quoted("OCM", 27.0, 10_000),
        _quoted("GSA+CCL-DC", 37.1, 10_000),
        _quoted("GSA+MKD", 38.8, None),
        _quoted("RanDumb", 11.6, 0, KIN),
    ),
}
# Data -> who -> number of tasks -> accuracy for one image alone in %, over the same classes in other splits.
BY_TASKS: dict[str, dict[str, dict[int, float]]] = {
    "cifar100": {f"EFC++ {UNREAD} (offline, no stored image)": {10: 47.5, 20: 33.7}}
}
