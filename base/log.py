"""Messages about what a command does, through `logging`, and its progress."""

import contextlib
import logging
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

_ROOT = "mlperf_sut"


class _Formatter(logging.Formatter):
    """The message alone; from warnings on, the level before it."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        if record.levelno < logging.WARNING:
            return text
        return f"{record.levelname.lower()}: {text}"


class _StderrHandler(logging.Handler):
    """Writes to the stderr of the moment; one that is closed or full stops nothing."""

    def emit(self, record: logging.LogRecord) -> None:
        if sys.stderr is not None:
            with contextlib.suppress(OSError, ValueError):
                sys.stderr.write(f"{self.format(record)}\n")
                sys.stderr.flush()


def logger(name: str) -> logging.Logger:
    """Return the logger of the module `name`, which shows messages from INFO on."""
    return logging.getLogger(f"{_ROOT}.{name}")


def _configure() -> None:
    root = logging.getLogger(_ROOT)
    handler = _StderrHandler()
    handler.setFormatter(_Formatter())
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    root.propagate = False


_configure()


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
        from rich.progress import track as bar  # slow to import

        yield from bar(items, what, total=-(-total // weight), transient=True)
        return
    logged = time.monotonic()
    for number, item in enumerate(items):
        if time.monotonic() - logged > _INTERVAL_S:
            logged = time.monotonic()
            done = number * weight
            _LOG.info("%s: %d of %d", what, done, total)
        yield item
