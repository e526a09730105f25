"""Every command ends the same way: an exit code, and one line if it failed."""

import argparse
import contextlib
import importlib
import io
import os
import signal
import sys
import traceback
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from base.errors import ExitCode, SutError, UserError
from base.memory import check_address_space

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

_PREFIX = {
    ExitCode.NOT_GOOD: "not good",
    ExitCode.BAD_INPUT: "error",
    ExitCode.ABORTED: "aborted",
}
_NO_MEMORY = ("failed to map segment from", "cannot allocate memory")
"""What the loader says of a library for which there is no memory, in lower case."""


class _StoreOnce(argparse.Action):
    """Stores a value; argparse itself would silently keep the last of several."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        if option_string is not None and isinstance(parser, ArgumentParser):
            parser.take(self.option_strings[-1])
        setattr(namespace, self.dest, values)


class ArgumentParser(argparse.ArgumentParser):
    """argparse, with errors of one line that are handled like other bad input."""

    called_as: ClassVar[tuple[str, str] | None] = None
    """A command as `python -m` names it, and the name that the user typed."""
    _given: set[str]
    """Options of the command line that is being read."""

    def __init__(self, *, prog: str, **options: Any) -> None:
        """Name the program as the user called it."""
        if self.called_as is not None:
            prog = prog.replace(*self.called_as, 1)
        super().__init__(prog=prog, **options)
        for name in (None, "store"):
            self.register("action", name, _StoreOnce)

    def parse_known_args(self, *given: Any, **named: Any) -> Any:
        """Read the command line; a value that is given twice is refused.

        Raises:
            UserError: the command line makes no sense.
        """
        self._given = set()
        return super().parse_known_args(*given, **named)

    def take(self, option: str) -> None:
        """Note that the command line gives `option` a value.

        Raises:
            UserError: it does so for the second time.
        """
        if option in self._given:
            self.error(f"{option} is given twice; give it once")
        self._given.add(option)

    def error(self, message: str) -> NoReturn:
        """Refuse the command line.

        Raises:
            UserError: always.
        """
        raise UserError(f"{message}; see `{self.prog} --help`")

    def print_help(self, file: "SupportsWrite[str] | None" = None) -> None:
        """Print the help; a full disk is reported, which argparse would hide."""
        (file or sys.stdout).write(self.format_help())


def run_command(body: Callable[[], int], interrupted: str = "interrupted") -> int:
    """Return the exit code of `body`; an error becomes one line on stderr.

    Args:
        body: the command.
        interrupted: the message after Ctrl-C.

    Errors that `body` documents are `SutError`. Interrupts, a full disk and lack of
    memory can occur anywhere and end as aborted. Any other exception is a defect of
    this package and is raised.
    """
    try:
        return _flushed(body)
    except SutError as error:
        return _end(error.exit_code, str(error))
    except KeyboardInterrupt:
        return _end(ExitCode.ABORTED, interrupted)
    except MemoryError:
        return _end(ExitCode.ABORTED, "out of memory")
    except BrokenPipeError:
        _drop_output()
        return ExitCode.ABORTED
    except OSError as error:
        return _end(ExitCode.ABORTED, _reason(error))


def start(main: Callable[[], int]) -> NoReturn:
    """Run the program `main` and exit with its code.

    A defect of this package prints its traceback and exits with `ABORTED`. Python's own
    exit code for it is 1, which here means that the result is not good.

    SIGTERM and SIGHUP end the program as Ctrl-C does, so that it can clean up. A signal
    that the caller ignores (nohup) stays ignored.

    What the terminal's encoding does not have, such as a byte in the name of a file, is
    printed as an escape.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)
    try:
        code = main()
    except Exception:  # noqa: BLE001  (whatever it was, the code must be true)
        with contextlib.suppress(OSError):
            traceback.print_exc()
        code = ExitCode.ABORTED
    sys.exit(code)


class _Interrupted(KeyboardInterrupt):
    """An interrupt that Python forgets once it was handled.

    If KeyboardInterrupt itself passes through code that `exec` compiles (dataclasses
    and named tuples are made by it, mostly in imports), CPython ends the process by
    SIGINT at its exit, whatever its exit code: code 130.
    """


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise _Interrupted


def start_module(module: str) -> NoReturn:
    """Import `module`, run its `main()` as a whole program, and exit with its code.

    A module that is a program begins with it, before its other imports: these take a
    second or more, in which a signal and a lack of memory must end it well, too.
    """
    start(lambda: run_module(module))


def run_module(module: str) -> int:
    """Import `module` and run its `main()` as `run_command` does; return the code."""
    return run_command(lambda: _import_main(module)())


def _import_main(module: str) -> Callable[[], int]:
    check_address_space()
    try:
        main: Callable[[], int] = importlib.import_module(module).main
    except ImportError as error:
        if _is_lack_of_memory(error):
            raise MemoryError from error
        raise
    return main


def _is_lack_of_memory(error: BaseException | None) -> bool:
    """Return whether `error`, or what caused it, is a lack of memory.

    NumPy and others put an explanation of their own around it.
    """
    while error is not None:
        if isinstance(error, MemoryError):
            return True
        if any(text in str(error).lower() for text in _NO_MEMORY):
            return True
        error = error.__cause__ or error.__context__
    return False


def _flushed(body: Callable[[], int]) -> int:
    """Run `body` and flush its output.

    If the disk is full, Python would report it at exit, with its own exit code.
    """
    try:
        code = body()
    except SystemExit:  # --help
        _flush()
        raise
    _flush()
    return code


def _flush() -> None:
    if sys.stdout is not None:  # it is None where the caller has closed it
        sys.stdout.flush()


def _reason(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"


def _drop_output() -> None:
    """Drop what stdout still holds, since Python would try to write it at exit."""
    try:
        _flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, sys.stdout.fileno())
            os.close(null)


def _end(code: ExitCode, message: str) -> ExitCode:
    _drop_output()
    line = " ".join(message.split("\n"))
    if sys.stderr is not None:
        with contextlib.suppress(OSError):
            print(f"{_PREFIX[code]}: {line}", file=sys.stderr, flush=True)
    return code
