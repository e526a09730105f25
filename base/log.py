"""Messages about what a command does, through `logging`, and its progress.

They go to stderr; output goes to stdout. The last line of a command that fails comes
from `base.command`.
"""

import contextlib
import logging
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

_ROOT = "mlperf_sut"


class _Formatter(logging.Formatter):
    """Shows the message; from warnings on, with the level before it."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        if record.levelno < logging.WARNING:
            return text
        return f"{record.levelname.lower()}: {text}"


class _StderrHandler(logging.Handler):
    """Writes to the current `sys.stderr`; errors there are ignored."""

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


def be_quiet() -> None:
    """Show warnings and errors only."""
    logging.getLogger(_ROOT).setLevel(logging.WARNING)


def is_quiet() -> bool:
    """Return whether only warnings and errors are shown."""
    return logging.getLogger(_ROOT).level >= logging.WARNING


T = TypeVar("T")
_INTERVAL_S = 10.0


def announce(what: str) -> None:
    """Log the start of work that may take seconds and whose progress is not known."""
    _LOG.info("%s", what)


def track(items: Iterable[T], total: int, what: str, weight: int = 1) -> Iterator[T]:
    """Yield `items` and show the progress on stderr.

    A terminal shows a bar, which is removed at the end. Otherwise a line is logged
    every ten seconds.

    Args:
        items: the work.
        total: number of samples in all items.
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
