"""Progress of work that takes more than a moment."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.progress import track as bar

from base.log import logger

_LOG = logger(__name__)

T = TypeVar("T")
_INTERVAL_S = 10.0


def announce(what: str) -> None:
    """Log the start of work that may take seconds and has no measure."""
    _LOG.info("%s", what)


def track(items: Iterable[T], total: int, what: str, weight: int = 1) -> Iterator[T]:
    """Yield `items`, showing on stderr how far they are.

    A terminal gets a bar that vanishes at the end; anything else a line every ten
    seconds.

    Args:
        items: the work.
        total: how many samples there will be.
        what: name of the work, e.g. "tokenizing".
        weight: samples in one item (the last may have fewer).
    """
    if sys.stderr.isatty():
        yield from bar(items, what, total=-(-total // weight), transient=True)
        return
    logged = time.monotonic()
    for number, item in enumerate(items):
        if time.monotonic() - logged > _INTERVAL_S:
            logged = time.monotonic()
            done = number * weight
            _LOG.info("%s: %d of %d", what, done, total)
        yield item
