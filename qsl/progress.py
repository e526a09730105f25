"""Progress of work that takes more than a moment."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.progress import track as bar

T = TypeVar("T")
_INTERVAL_S = 10.0


def announce(what: str) -> None:
    """Say on stderr what is begun, where it may take seconds and has no measure."""
    print(what, file=sys.stderr, flush=True)


def track(items: Iterable[T], total: int, what: str, weight: int = 1) -> Iterator[T]:
    """Yield `items`, showing on stderr how far they are.

    A terminal gets a bar that vanishes at the end; anything else a line every ten
    seconds.

    Args:
        items: the work.
        total: how many samples there will be.
        what: said of the work, e.g. "tokenising".
        weight: samples in one item (the last may have fewer).
    """
    if sys.stderr.isatty():
        yield from bar(items, what, total=-(-total // weight), transient=True)
        return
    told = time.monotonic()
    for number, item in enumerate(items):
        if time.monotonic() - told > _INTERVAL_S:
            told = time.monotonic()
            done = number * weight
            print(f"{what}: {done} of {total}", file=sys.stderr, flush=True)
        yield item
