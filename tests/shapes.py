"""The typechecker of the import hook in conftest: beartype, for shapes and dtypes in signatures alone.

Other hints are documentation: tests hand in stand-ins where a signature names a class.
"""

import typing
from collections.abc import Callable

import jaxtyping
from beartype import beartype


def checked(function: Callable) -> Callable:
    """The function, its hints of arrays and tensors checked by beartype whenever it is called."""
    hints = getattr(function, "__annotations__", {})
    if not any(map(_has_shape, hints.values())):
        return function
    function.__annotations__ = {
        name: hint if _has_shape(hint) else typing.Any for name, hint in hints.items()
    }
    return beartype(function)


def _has_shape(hint: object) -> bool:
    if isinstance(hint, type) and issubclass(hint, jaxtyping.AbstractArray):
        return True
    return any(map(_has_shape, typing.get_args(hint)))
