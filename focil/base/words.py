"""In words: shares in percent with their interval, counts of things, names of layers."""

import re


def in_percent(mean: float, half: float | None = None, *, signed: bool = False, sign: str = "+-") -> str:
    """A share in percent with its half-width, where there is one; the unit is the caller's.

    signed: with a plus too, for a difference. sign: "+-" in text, "±" in figures.

    >>> in_percent(0.5094, 0.0091), in_percent(-0.0001, signed=True)
    ('50.9 +- 0.9', '+0.0')
    """
    value = round(100 * mean, 1) + 0.0  # what rounds to nothing has no minus
    return f"{value:{'+' if signed else ''}.1f}" + ("" if half is None else f" {sign} {100 * half:.1f}")


def count(number: int, thing: str) -> str:
    """A number of things.

    >>> count(1, "seed"), count(3, "seed")
    ('1 seed', '3 seeds')
    """
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def layer(name: str) -> str:
    """The name of a layer or its weight as a person reads it; what is numbered begins with 1.

    >>> layer("stages.3.1.conv2.weight"), layer("layers.0.weight"), layer("stem.0.weight"), layer("block3")
    ('stage 4, block 2, conv 2', 'layer 1', 'stem', 'block 3')
    """
    name = re.sub(r"\b(stem|shortcut)\.0\b", r"\1", name.removesuffix(".weight"))  # their only layer
    name = re.sub(r"\b([a-z_]+?)s?\.(\d+)\b", lambda found: f"{found[1]} {int(found[2]) + 1}", name)
    name = re.sub(r"\.(\d+)\b", lambda found: f", block {int(found[1]) + 1}", name)
    return re.sub(r"([a-z])(\d+)\b", r"\1 \2", name).replace(".", ", ")
