"""How much work a computation is, without a clock."""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any


def calls_of(computation: Callable[[], object]) -> int:
    """Return how many functions `computation` calls in this thread, C's included.

    Work on whole arrays calls as many for ten times the data; a loop over the data
    calls ten times as many. A busy machine changes nothing.
    """
    count = 0

    def see(_frame: FrameType, event: str, _argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(see)
    try:
        computation()
    finally:
        sys.setprofile(None)
    return count
