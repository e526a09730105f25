"""What a user sees during a run: a table on a terminal, else plain lines."""

import contextlib
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live

from base.log import logger
from conf.schema import LiveView
from sut.coordinator.coordinator import Coordinator
from sut.coordinator.progress import Progress
from watch.screen import status_line, status_table

_LOG = logger(__name__)

_INTERVAL_S = 1.0
"""Drawing takes milliseconds, during which answers wait for Python's lock."""
_PLAIN_INTERVAL_S = 10.0


class RunView:
    """Shows and records the progress of a run; call `update` a few times a second."""

    def __init__(
        self,
        coordinator: Coordinator,
        kind: LiveView,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare to show `coordinator`.

        Args:
            coordinator: of the run.
            kind: how it is shown.
            monotonic: can be replaced in tests.
        """
        self._progress = Progress(coordinator, monotonic)
        self._recorder = coordinator.recorder
        self._monotonic = monotonic
        self._quiet = kind is LiveView.quiet
        forced = True if kind is LiveView.rich else None
        console = Console(stderr=True, force_terminal=forced)
        terminal = kind is LiveView.rich or (
            kind is LiveView.auto and console.is_terminal
        )
        self._live = (
            Live(console=console, transient=True, auto_refresh=False)
            if terminal
            else None
        )
        self._next = 0.0
        self._next_line = 0.0

    def __enter__(self) -> Self:
        """Begin to show."""
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Record the last state, and stop showing."""
        self._recorder.status(self._progress.look())
        # The terminal may be gone: that must not hide why the run ends.
        with contextlib.suppress(OSError):
            if self._live:
                self._live.stop()

    def begin_run(self, expected: int | None) -> None:
        """Note the start of LoadGen's test, and the `expected` samples, if known."""
        self._progress.begin_run(expected)
        self._next = self._next_line = 0.0

    def update(self) -> None:
        """Show and record the current state, at most once per interval."""
        now = self._monotonic()
        if now < self._next:
            return
        self._next = now + _INTERVAL_S
        status = self._progress.look()
        self._recorder.status(status)
        if self._quiet or (not self._live and now < self._next_line):
            return
        line = f"[{self._progress.elapsed_s:5.0f} s] {status_line(status)}"
        if self._live:
            with contextlib.suppress(OSError):
                self._live.update(status_table(status, line), refresh=True)
        else:
            self._next_line = now + _PLAIN_INTERVAL_S
            _LOG.info("%s", line)
