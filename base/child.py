"""Runs commands as child processes that never outlive the process that started them.

LoadGen can make one run per process, so campaigns and submissions make each run in
a child. A run holds GPUs and writes its verdict when a signal comes. Hence:

- SIGINT, SIGTERM and SIGHUP of the parent go to the child, and the parent waits until
  the child has written what it has.
- A parent that is killed takes its child along: the kernel sends the child SIGTERM.
- The child says which run folder it made; `runs/latest` may be another run's.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

from base.errors import Aborted, ExitCode

GRACE_S = 120.0
"""Longest that a child may take to end after a signal, before it is killed.

A run flushes its logs within 10 s, but may be writing the report of a large run.
"""
_POLL_S = 0.5
_PR_SET_PDEATHSIG = 1
_FOLDER_FILE = "MLPERF_SUT_FOLDER_FILE"
"""Environment variable: the file into which a child writes its run folder's path."""
_Handler = Callable[[int, FrameType | None], object] | int | None
STOP_EARLY = signal.SIGUSR1
"""Asks a run to end early: its outcome is `stopped` then."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a child ended."""

    code: int
    """Exit code; negative: the signal that killed it."""
    folder: Path | None
    """The run folder that it made; None: it made none."""


class Children:
    """Runs children one after another; use it as a context, in the main thread.

    Inside the context a signal does not end this process: it goes to the running
    child, `interrupted` keeps it, and no further child is started.
    """

    def __init__(self) -> None:
        self.interrupted: signal.Signals | None = None
        """The first signal that came; None: none came."""
        self._child: subprocess.Popen[bytes] | None = None
        self._before: dict[signal.Signals, _Handler] = {}

    def __enter__(self) -> Self:
        """Take over the signals; one that is ignored (nohup) stays ignored."""
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def check(self) -> None:
        """Return if no signal has come.

        Raises:
            Aborted: one has.
        """
        if self.interrupted is not None:
            raise Aborted(f"interrupted by {self.interrupted.name}")

    def run(
        self,
        command: Sequence[str],
        env: Mapping[str, str] | None = None,
        hopeless: Callable[[Path], bool] | None = None,
    ) -> Ended:
        """Run `command` to its end, also after a signal.

        Args:
            command: program and arguments.
            env: its environment; None: this process's own.
            hopeless: asked with the child's run folder every half second; when it
                returns True, the child is asked to stop early (SIGUSR1).

        Raises:
            Aborted: a signal had come before it was started.
            OSError: it cannot be started.
        """
        self.check()
        with tempfile.TemporaryDirectory(prefix="mlperf-sut-") as scratch:
            file = Path(scratch) / "folder"
            child = subprocess.Popen(
                command,
                env={**(os.environ if env is None else env), _FOLDER_FILE: str(file)},
                # Ctrl-C in a terminal reaches a whole process group. In a group of
                # its own the child gets each signal once: from here.
                process_group=0,
                preexec_fn=partial(_tie_to_parent, ctypes.CDLL(None), os.getpid()),
            )
            self._child = child
            try:
                if self.interrupted is not None:
                    self._pass_on(self.interrupted)
                code = self._wait(child, file, hopeless)
            finally:
                self._child = None
                if child.poll() is None:
                    child.kill()
                    child.wait()
            return Ended(code=code, folder=_read_folder(file))

    def _wait(
        self,
        child: "subprocess.Popen[bytes]",
        file: Path,
        hopeless: Callable[[Path], bool] | None,
    ) -> int:
        left = GRACE_S
        asked = hopeless is None
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return child.wait(_POLL_S)
            folder = None if asked else _read_folder(file)
            if folder is not None and hopeless is not None and hopeless(folder):
                asked = True
                with contextlib.suppress(ProcessLookupError):
                    child.send_signal(STOP_EARLY)
            if self.interrupted is not None:
                left -= _POLL_S
            if left <= 0:
                child.kill()

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        self.interrupted = self.interrupted or signal.Signals(number)
        self._pass_on(signal.Signals(number))

    def _pass_on(self, number: signal.Signals) -> None:
        if self._child is not None and self._child.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self._child.send_signal(number)


def announce_folder(path: Path) -> None:
    """Write the path of a new run folder to the parent, where one asks for it."""
    file = os.environ.pop(_FOLDER_FILE, "")
    if file:
        with contextlib.suppress(OSError):
            Path(file).write_text(str(path.resolve()))


def _read_folder(file: Path) -> Path | None:
    return Path(file.read_text()) if file.exists() else None


def _tie_to_parent(libc: ctypes.CDLL, parent: int) -> None:
    """Set a new child up: its parent's death ends it, and no terminal stops it."""
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    # A process outside the terminal's foreground group may be stopped when it writes.
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    if os.getppid() != parent:
        os._exit(ExitCode.ABORTED)
