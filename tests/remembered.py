"""What was made of the latest objects, so that it need not be made again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

KEPT = 100

Argument = TypeVar("Argument")
Result = TypeVar("Result")


def remembered(made: Callable[[Argument], Result]) -> Callable[[Argument], Result]:
    """A function that knows its results for the latest objects it was called with.

    They are told apart by identity, and kept, so that none takes the place of another.
    """
    latest: OrderedDict[int, tuple[Any, Result]] = OrderedDict()

    @wraps(made)
    def known(argument: Argument) -> Result:
        key = id(argument)
        if key not in latest:
            latest[key] = argument, made(argument)
            if len(latest) > KEPT:
                latest.popitem(last=False)
        latest.move_to_end(key)
        return latest[key][1]

    return known
