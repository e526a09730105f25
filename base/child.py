"""Runs commands as child processes that never outlive the process that started them.

LoadGen can make one run per process, so campaigns and submissions make each run in
a child. A run holds GPUs, and writes its verdict when it receives a signal. Hence:

- The parent passes SIGINT, SIGTERM and SIGHUP on to the child, and waits until the
  child has written its records.
- If the parent is killed, the kernel sends the child SIGTERM.
- The child reports which run folder it made; `runs/latest` may point to another run.

Our modules are started independently of the working directory. `python -m` puts that
directory first on the module path, so a `conf/` or `record/` of the user would be
imported instead of ours. `-P` prevents this. If the packages are not installed into the
interpreter's own folders, PYTHONPATH names their folder.
"""

import contextlib
import ctypes
import os
import signal
import site
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

from base.errors import STOP_EARLY, Aborted, ExitCode
from base.files import ROOT


def module_command(module: str, *arguments: str) -> list[str]:
    """Return the command that runs `module`; it needs `module_environment`."""
    return [sys.executable, "-P", "-m", module, *arguments]


def module_environment(
    environment: Mapping[str, str] | None = None, root: Path = ROOT
) -> dict[str, str]:
    """Return an environment in which `module_command` finds our packages.

    Args:
        environment: the other variables; None: those of this process.
        root: the folder that holds the packages.
    """
    known = dict(os.environ if environment is None else environment)
    # Python already has the environment's own folder on its path. PYTHONPATH would put
    # everything installed there before the standard library.
    if root.resolve() not in _site_folders():
        paths = [str(root), *filter(None, [known.get("PYTHONPATH")])]
        known["PYTHONPATH"] = os.pathsep.join(paths)
    return known


def _site_folders() -> list[Path]:
    folders = site.getsitepackages()
    if site.ENABLE_USER_SITE:
        folders = [*folders, site.getusersitepackages()]
    return [Path(folder).resolve() for folder in folders]


GRACE_S = 120.0
"""Longest time for a child to end after a signal, before it is killed.

A run flushes its logs within 10 s, but the report of a large run can take longer.
"""
_POLL_S = 0.5
_PR_SET_PDEATHSIG = 1
_FOLDER_FILE = "MLPERF_SUT_FOLDER_FILE"
"""Environment variable: the file into which a child writes its run folder's path."""
_Handler = Callable[[int, FrameType | None], object] | int | None
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a child ended."""

    code: int
    """Exit code; if negative, the number of the signal that killed it."""
    folder: Path | None
    """The run folder that it made, if it made one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A child to start beside others."""

    command: Sequence[str]
    env: Mapping[str, str]
    cores: Sequence[int] | None = None
    """Cores that it may use; None: those of this process."""


class Children:
    """Runs children one after another; use it as a context, in the main thread.

    Inside the context a signal does not end this process. The running children receive
    it, `interrupted` keeps it, and no further child is started.
    """

    def __init__(self, stdout: int | None = None) -> None:
        """Prepare to run children.

        Args:
            stdout: theirs, as of `subprocess`; None: that of this process.
        """
        self._stdout = stdout
        self.interrupted: signal.Signals | None = None
        """The first signal that was received, if any."""
        self._running: list[subprocess.Popen[bytes]] = []
        self._before: dict[signal.Signals, _Handler] = {}

    def __enter__(self) -> Self:
        """Install signal handlers; a signal that is ignored (nohup) stays ignored."""
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
        """Restore the signal handlers."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def check(self) -> None:
        """Raise if a signal was received.

        Raises:
            Aborted: it names the signal.
        """
        if self.interrupted is not None:
            raise Aborted(f"interrupted by {self.interrupted.name}")

    def run(
        self,
        command: Sequence[str],
        env: Mapping[str, str] | None = None,
        hopeless: Callable[[Path], bool] | None = None,
    ) -> Ended:
        """Run `command` and wait until it ends, even after a signal.

        Args:
            command: program and arguments.
            env: its environment; None: that of this process.
            hopeless: asked with the child's run folder every half second; when it
                returns True, the child is asked to stop early (SIGUSR1).

        Raises:
            Aborted: a signal was received before the start.
            OSError: the command cannot be started.
        """
        self.check()
        with tempfile.TemporaryDirectory(prefix="mlperf-sut-") as scratch:
            file = Path(scratch) / "folder"
            try:
                job = Job(command=command, env=os.environ if env is None else env)
                child = self._start(job, file)
                code = self._wait(child, file, hopeless)
            finally:
                self._end_all()
            return Ended(code=code, folder=_read_folder(file))

    def run_together(
        self, jobs: Sequence[Job], watch: Callable[[Sequence[int | None]], None]
    ) -> list[Ended]:
        """Run all `jobs` at once and wait until all have ended, even after a signal.

        Args:
            jobs: to start.
            watch: called every half second with the exit code of each, None while it
                runs.

        Raises:
            Aborted: a signal was received before the start.
            OSError: a command cannot be started.
        """
        self.check()
        with tempfile.TemporaryDirectory(prefix="mlperf-sut-") as scratch:
            files = [Path(scratch) / f"folder-{n}" for n in range(len(jobs))]
            try:
                started = zip(jobs, files, strict=True)
                children = [self._start(job, file) for job, file in started]
                left = GRACE_S
                while None in (codes := [child.poll() for child in children]):
                    watch(codes)
                    time.sleep(_POLL_S)
                    if self.interrupted is not None:
                        left -= _POLL_S
                    if left <= 0:
                        break
            finally:
                self._end_all()
            return [
                Ended(code=child.wait(), folder=_read_folder(file))
                for child, file in zip(children, files, strict=True)
            ]

    def _start(self, job: Job, file: Path) -> "subprocess.Popen[bytes]":
        libc, parent = ctypes.CDLL(None), os.getpid()
        child = subprocess.Popen(
            job.command,
            stdout=self._stdout,
            env={**job.env, _FOLDER_FILE: str(file)},
            # A terminal sends Ctrl-C to a whole process group. The child has its
            # own group, so it receives each signal once, from this process.
            process_group=0,
            preexec_fn=partial(_prepare_child, libc, parent, job.cores),
        )
        self._running.append(child)
        if self.interrupted is not None:
            self._pass_on(self.interrupted)
        return child

    def _end_all(self) -> None:
        for child in self._running:
            if child.poll() is None:
                child.kill()
                child.wait()
        self._running.clear()

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
        for child in self._running:
            if child.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    child.send_signal(number)


def announce_folder(path: Path) -> None:
    """Write the path of a new run folder for the parent, if the parent asked for it."""
    file = os.environ.pop(_FOLDER_FILE, "")
    if file:
        with contextlib.suppress(OSError):
            Path(file).write_text(str(path.resolve()))


def _read_folder(file: Path) -> Path | None:
    return Path(file.read_text()) if file.exists() else None


def _prepare_child(libc: ctypes.CDLL, parent: int, cores: Sequence[int] | None) -> None:
    """Prepare a child: it ends with its parent, and no terminal stops it."""
    if cores is not None:
        os.sched_setaffinity(0, cores)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    # A process outside the terminal's foreground group may be stopped when it writes.
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    if os.getppid() != parent:
        os._exit(ExitCode.ABORTED)
