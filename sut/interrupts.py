"""What Ctrl-C and SIGTERM do before a run, during it and after it."""

import os
import signal
import sys
from types import FrameType
from typing import NoReturn

from base.errors import Aborted

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_ABORTED = 3


def leave_on_interrupt() -> None:
    """End the process at once: right while imports run and nothing is held yet."""
    for number in _SIGNALS:
        signal.signal(number, _leave)


def abort_on_interrupt() -> None:
    """Raise Aborted in the main thread."""
    for number in _SIGNALS:
        signal.signal(number, _abort)


def ignore_interrupts() -> None:
    """Let nothing disturb the last steps: they take seconds and leave no mess."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _leave(number: int, _frame: FrameType | None) -> NoReturn:
    if sys.stderr is not None:
        os.write(2, f"aborted: {_told(number)}\n".encode())
    os._exit(_ABORTED)


def _abort(number: int, _frame: FrameType | None) -> NoReturn:
    raise Aborted(_told(number))


def _told(number: int) -> str:
    return f"interrupted by {signal.Signals(number).name}"
