"""Runs the body of a command and turns every way it can end into an exit code."""

import os
import sys
from collections.abc import Callable

from base.errors import ExitCode, SutError

_PREFIX = {
    ExitCode.NOT_GOOD: "not good",
    ExitCode.BAD_INPUT: "error",
    ExitCode.ABORTED: "aborted",
}


def run_command(body: Callable[[], int]) -> int:
    """Return the exit code of `body`; an error becomes one line on stderr.

    Errors that `body` documents are `SutError`. What the operating system or the user
    can cause anywhere ends as aborted: interrupts, a full disk, no memory. Any other
    exception is a defect of ours and is raised.
    """
    try:
        return body()
    except SutError as error:
        return _end(error.exit_code, str(error))
    except KeyboardInterrupt:
        return _end(ExitCode.ABORTED, "interrupted")
    except MemoryError:
        return _end(ExitCode.ABORTED, "out of memory")
    except BrokenPipeError:
        # The reader of our output is gone: Python must not write to it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.ABORTED
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _end(ExitCode.ABORTED, f"{where}{error.strerror or error}")


def _end(code: ExitCode, message: str) -> ExitCode:
    print(f"{_PREFIX[code]}: {message}", file=sys.stderr, flush=True)
    return code
