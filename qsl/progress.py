"""Progress of work that takes more than a moment."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.progress import track as bar

T = TypeVar("T")
_INTERVAL_S = 10.0


def track(items: Iterable[T], total: int, what: str, weight: int = 1) -> Iterator[T]:
    """Yield `items`, showing on stderr how far they are.

    A terminal gets a bar that vanishes at the end; anything else a line every ten
    seconds.

    Args:
        items: the work.
        total: how many items there will be.
        what: said of the work, e.g. "tokenising".
        weight: samples that one item stands for, in lines.
    """
    if sys.stderr.isatty():
        yield from bar(items, what, total=total, transient=True)
        return
    told = time.monotonic()
    for number, item in enumerate(items):
        if time.monotonic() - told > _INTERVAL_S:
            told = time.monotonic()
            done, whole = number * weight, total * weight
            print(f"{what}: {done} of {whole}", file=sys.stderr, flush=True)
        yield item
