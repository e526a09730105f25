"""How a process of a run begins and ends: its start, and its reaction to signals.

SIGINT (Ctrl-C), SIGTERM (a job scheduler) and SIGHUP (the terminal or the connection is
gone) mean the same. A SIGHUP that is ignored when the process starts (nohup) stays
ignored.
"""

import contextlib
import ctypes
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from base.command import run_module
from base.errors import STOP_EARLY, Aborted, ExitCode, Stopped

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PR_SET_PDEATHSIG = 1


def start_command(module: str) -> NoReturn:
    """Import `module`, call its `main()` and end the process with the code it returns.

    The imports take a second or more: signals and a lack of memory must end the process
    well in that time too. Importing `module` in another way sets no handlers.
    """
    leave_on_interrupt()
    raise_descriptor_limit()
    try:
        code = run_module(module)
    except Exception:  # noqa: BLE001  (a defect, which is no bad result: exit code 3)
        with contextlib.suppress(OSError):
            traceback.print_exc()
        code = ExitCode.ABORTED
    _end_process(code)


def leave_on_interrupt() -> None:
    """End the process at once: right while imports run and nothing is held yet."""
    _handle(_leave)


def abort_on_interrupt() -> None:
    """Raise Aborted in the main thread."""
    _handle(_abort)


def stop_on_request() -> None:
    """Raise Stopped in the main thread when a campaign asks for it."""
    signal.signal(STOP_EARLY, _stop)


def ignore_interrupts() -> None:
    """Ignore signals: the steps that follow are short and must be completed."""
    _handle(_ignore)
    signal.signal(STOP_EARLY, _ignore)


@contextmanager
def interruptible() -> Iterator[None]:
    """Let signals raise KeyboardInterrupt, named by its argument, inside the block.

    After the block they are ignored. KeyboardInterrupt, since the block may call
    libraries that catch every other exception.
    """
    _handle(_interrupt)
    try:
        yield
    finally:
        _handle(_ignore)


def end_with(parent: int) -> None:
    """Have the kernel send SIGTERM to this process when its parent ends.

    Raises:
        Aborted: the parent, process `parent`, has ended already.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        raise Aborted("the process that started this one has ended")


def raise_descriptor_limit() -> None:
    """Raise the soft limit of open files to the hard one; children inherit it.

    The usual soft limit of 1,024 is too low for a run with about as many replicas.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _handle(handler: Callable[[int, FrameType | None], None]) -> None:
    for number in _SIGNALS:
        # Only a parent sets SIG_IGN: this module ignores by a handler of its own.
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, handler)


def _leave(number: int, _frame: FrameType | None) -> NoReturn:
    if sys.stderr is not None:
        with contextlib.suppress(OSError):
            os.write(2, f"aborted: {_cause(number)}\n".encode())
    os._exit(ExitCode.ABORTED)


def _abort(number: int, _frame: FrameType | None) -> NoReturn:
    raise Aborted(_cause(number))


def _stop(_number: int, _frame: FrameType | None) -> NoReturn:
    raise Stopped("stopped by the campaign that made this run")


def _interrupt(number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt(_cause(number))


def _ignore(_number: int, _frame: FrameType | None) -> None:
    pass


def _cause(number: int) -> str:
    return f"interrupted by {signal.Signals(number).name}"


def _end_process(code: int) -> NoReturn:
    """End the process at once: LoadGen crashes Python's own shutdown after an abort."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code)
