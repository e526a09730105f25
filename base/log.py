"""Messages about what a command does: a line each on stderr, through `logging`.

The output of a command goes to stdout. Its last line, where it fails, comes from
`base.command`.
"""

import contextlib
import logging
import sys

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
