"""Numbers in words: shares in percent with their interval, and counts of things."""


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
