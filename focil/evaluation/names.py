"""The names of accuracies: `sample-experts`, `sample-router`, and `sample` for both together;
`sample-network` of a method that has but one network."""

ANSWERERS = ("experts", "router", "network")  # alone; without a suffix experts and router answer together


def split(name: str) -> tuple[str, str]:
    """Protocol and answerer of an accuracy's name.

    >>> split("batch-10-router"), split("sample")
    (('batch-10', 'router'), ('sample', 'both'))
    """
    protocol, _, last = name.rpartition("-")
    return (protocol, last) if last in ANSWERERS else (name, "both")


def join(protocol: str, answerer: str) -> str:
    """The name of an accuracy; the inverse of `split`.

    >>> join("sample", "experts"), join("sample", "both")
    ('sample-experts', 'sample')
    """
    return protocol if answerer == "both" else f"{protocol}-{answerer}"
