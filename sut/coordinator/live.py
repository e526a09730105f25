"""What a user sees during a run: a table on a terminal, else plain lines."""

import contextlib
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from base.log import logger
from conf.schema import LiveView
from sut.coordinator.coordinator import Coordinator
from sut.coordinator.replica import State

_LOG = logger(__name__)

_LIVE_INTERVAL_S = 1.0
"""Drawing takes milliseconds, during which answers wait for Python's lock."""
_PLAIN_INTERVAL_S = 10.0
_RATE_WINDOW_S = 30.0
"""Answers of equal length complete in waves, so a short window would be misleading."""


class RunView:
    """Shows the progress of a coordinator; call `update` a few times a second."""

    def __init__(
        self,
        coordinator: Coordinator,
        kind: LiveView,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare to show `coordinator`; `monotonic` can be replaced in tests."""
        self._coordinator = coordinator
        self._monotonic = monotonic
        forced = True if kind is LiveView.rich else None
        self._console = Console(stderr=True, force_terminal=forced)
        terminal = kind is LiveView.rich or (
            kind is LiveView.auto and self._console.is_terminal
        )
        self._live = (
            Live(console=self._console, transient=True, auto_refresh=False)
            if terminal
            else None
        )
        self._began = self._monotonic()
        self._next = 0.0
        self._history: list[tuple[float, int, dict[int, int]]] = []
        self._expected: int | None = None

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
        """Stop showing."""
        # The terminal may be gone: that must not hide why the run ends.
        with contextlib.suppress(OSError):
            if self._live:
                self._live.stop()

    def begin_run(self, expected: int | None) -> None:
        """Note the start of LoadGen's test, and the `expected` samples, if known."""
        self._began = self._monotonic()
        self._expected = expected
        self._next = 0.0

    def update(self) -> None:
        """Show the current state, at most once per interval."""
        now = self._monotonic()
        if now < self._next:
            return
        self._remember(now)
        if self._live:
            self._next = now + _LIVE_INTERVAL_S
            with contextlib.suppress(OSError):
                self._live.update(self._table(now), refresh=True)
        else:
            self._next = now + _PLAIN_INTERVAL_S
            _LOG.info("%s", self._line(now))

    def _remember(self, now: float) -> None:
        dispatcher = self._coordinator.dispatcher
        tokens = {r: s.output_tokens for r, s in list(dispatcher.replicas.items())}
        self._history.append((now, dispatcher.completed, tokens))
        while len(self._history) > 2 and self._history[1][0] < now - _RATE_WINDOW_S:
            self._history.pop(0)

    def _rates(self) -> tuple[float, dict[int, float]]:
        (begin, done, tokens), (end, done_now, tokens_now) = (
            self._history[0],
            self._history[-1],
        )
        seconds = max(end - begin, 1e-9)
        per_replica = {
            r: (count - tokens.get(r, 0)) / seconds for r, count in tokens_now.items()
        }
        return (done_now - done) / seconds, per_replica

    def _line(self, now: float) -> str:
        dispatcher = self._coordinator.dispatcher
        elapsed = f"[{now - self._began:5.0f} s]"
        if not self._coordinator.ready.is_set():
            statuses = [r.status for r in self._coordinator.replicas.active()]
            counts = ", ".join(
                f"{statuses.count(s)} {s}" for s in dict.fromkeys(statuses)
            )
            return f"{elapsed} replicas: {counts}"
        samples, tokens = self._rates()
        running = self._running
        total = self._expected or dispatcher.issued
        parts = [
            f"{elapsed} {dispatcher.completed}/{total} done",
            f"{dispatcher.open_samples} in flight, {running} running",
        ]
        # Tokens count once their answer is whole: until then the rate is not known.
        if samples or not running:
            parts.append(f"{samples:.2f} samples/s")
            parts.append(f"{sum(tokens.values()):.0f} tokens/s")
        if fences := self._coordinator.replicas.fences:
            parts.append(f"{fences} replica{'s' * (fences > 1)} lost")
        return ", ".join([*parts, *self._latencies(), *self._eta(now, running)])

    def _latencies(self) -> list[str]:
        recent = self._coordinator.answers.latencies
        ttft, tpot = recent.ttft_ms(99), recent.tpot_ms(99)
        shown = []
        if ttft is not None:
            shown.append(f"TTFT p50/p99 {recent.ttft_ms(50):.0f}/{ttft:.0f} ms")
        if tpot is not None:
            shown.append(f"TPOT p50/p99 {recent.tpot_ms(50):.1f}/{tpot:.1f} ms")
        return shown

    @property
    def _running(self) -> int:
        active = self._coordinator.replicas.active()
        return sum(r.running for r in active if r.state is State.READY)

    def _eta(self, now: float, running: int) -> list[str]:
        """Return the time left at the mean speed since the start.

        Samples that run count as half done, which they are on average. Before as many
        are done as run, that would be too rough.
        """
        completed = self._coordinator.dispatcher.completed
        if not self._expected or completed < max(1, running):
            return []
        work = completed + running / 2
        left = (self._expected - work) * (now - self._began) / work
        return [f"ETA {max(0.0, left):.0f} s"]

    def _table(self, now: float) -> Group:
        table = Table(box=None, pad_edge=False)
        for title in (
            "replica",
            "state",
            "sent",
            "finished",
            "in flight",
            "running",
            "tokens/s",
        ):
            left = title in ("replica", "state")
            table.add_column(title, justify="left" if left else "right")
        _, rates = self._rates()
        loads = dict(self._coordinator.dispatcher.replicas)
        for replica in self._coordinator.replicas.active():
            load = loads.get(replica.number)
            counts = (
                (load.sent, load.finished, load.outstanding_samples)
                if load
                else (0, 0, 0)
            )
            name = f"{replica.node}/{replica.number}"
            cells = [name, replica.status]
            cells += [f"{count:,}" for count in (*counts, replica.running)]
            rate = rates.get(replica.number, 0.0)
            table.add_row(*cells, f"{rate:,.0f}" if rate or not replica.running else "")
        return Group(Text(self._line(now), style="bold"), table)
