"""The root of all errors that commands report, and the exit codes of every command."""

import signal
from enum import IntEnum


class ExitCode(IntEnum):
    """How a command ended; the same for every command."""

    GOOD = 0
    """The command did its work and the result is good."""
    NOT_GOOD = 1
    """Finished, but the result is not good."""
    BAD_INPUT = 2
    """Bad input or configuration: one line says what, where and what to do."""
    ABORTED = 3
    """Ended early: interrupted, stalled, no replica left, or cannot write."""


class SutError(Exception):
    """An error that ends a command with one line and an exit code."""

    exit_code: ExitCode = ExitCode.ABORTED


class UserError(SutError):
    """Bad input or configuration.

    The message says what is wrong, where, and what to do about it.
    """

    exit_code = ExitCode.BAD_INPUT


class Aborted(SutError):
    """A run or command ended early. The message is one line."""

    exit_code = ExitCode.ABORTED


STOP_EARLY = signal.SIGUSR1
"""Asks a run to end early: its outcome is `stopped` then."""


class Stopped(SutError):
    """A run was ended early by the campaign that made it. The message is one line."""

    exit_code = ExitCode.NOT_GOOD


class NotGood(SutError):
    """A command finished, but its result is missing or not good."""

    exit_code = ExitCode.NOT_GOOD


_WRONG_PATH = (
    *(FileNotFoundError, NotADirectoryError, IsADirectoryError, BlockingIOError),
)


def write_failure(path: object, error: OSError, advice: str = "") -> SutError:
    """Return the error of a command that could not write `path`.

    A path that does not exist, or that another command writes to, is bad input. A full
    disk or a missing permission aborts.

    Args:
        path: the path that could not be written.
        error: what the operating system reported.
        advice: what to do about it.
    """
    message = f"{path}: {error.strerror or error}" + (f"; {advice}" if advice else "")
    return UserError(message) if isinstance(error, _WRONG_PATH) else Aborted(message)
