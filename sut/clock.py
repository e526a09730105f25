"""The clock of a run, the watch over the clock that LoadGen reads, and own pauses."""

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from record.structs import ClockRecord

_STEP_NS = 1_000_000
"""Smallest change that is reported as a step; a smaller one may be a reading error."""
_EXACT_NS = 20_000
_TRIES = 8
_PAUSE_S = 1.5
"""Seconds without running, beyond which a thread counts as paused. A shorter absence
loses no replica or node: `heartbeat_timeout_s` is at least 3 s, and heartbeats come
each second."""

_Clock = Callable[[], int]
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_TIME_NAMESPACE = Path("/proc/self/ns/time")


def clock_id() -> str:
    """Return an identity that only processes with the same CLOCK_MONOTONIC share.

    That clock belongs to a boot of the kernel and to a time namespace
    (time_namespaces(7)).
    """
    try:
        return f"{_BOOT_ID.read_text().strip()} {_TIME_NAMESPACE.readlink()}"
    except OSError:
        return str(uuid.uuid4())


class RunClock:
    """Nanoseconds since the epoch that setting the host's clock does not change.

    The time is CLOCK_MONOTONIC plus one offset, which is read when the run starts.

    LoadGen reads CLOCK_REALTIME: `std::chrono::high_resolution_clock` is that clock in
    libstdc++. LoadGen's durations are wrong as soon as the difference between the two
    clocks changes. NTP's slewing does not change it: the kernel applies `adjtime` and
    frequency corrections to both clocks alike (clock_gettime(2)). What changes it is a
    step (`settimeofday`, `clock_settime`, ADJ_SETOFFSET, a leap second) and a suspended
    host, since CLOCK_MONOTONIC stands still meanwhile.
    """

    def __init__(
        self, wall_ns: _Clock = time.time_ns, monotonic_ns: _Clock = time.monotonic_ns
    ) -> None:
        """Fix the offset; the two clocks can be replaced in tests."""
        self._wall_ns = wall_ns
        self._monotonic_ns = monotonic_ns
        self._epoch_ns = self._difference()
        self._watched: ClockRecord | None = None
        self._expected_ns = self._reported_ns = self._epoch_ns

    def now_ns(self) -> int:
        """Return the time."""
        return self._monotonic_ns() + self._epoch_ns

    @property
    def epoch_ns(self) -> int:
        """The offset that is added to CLOCK_MONOTONIC."""
        return self._epoch_ns

    @property
    def watching(self) -> bool:
        """Whether the host's clock is being watched."""
        return self._watched is not None

    def watch(self) -> None:
        """Begin to watch the host's clock; LoadGen's test starts now."""
        self._expected_ns = self._reported_ns = self._difference()
        begin_ns = self.now_ns()
        self._watched = ClockRecord(
            epoch_ns=self._epoch_ns,
            begin_ns=begin_ns,
            end_ns=begin_ns,
            largest_drift_ns=0,
        )

    def look(self) -> int:
        """Return by how many ns the host's clock was set since the last call.

        0: it was not set, or the watch has not begun.
        """
        record = self._watched
        if record is None:
            return 0
        record.end_ns = self.now_ns()
        found = self._difference()
        drift = found - self._expected_ns
        if abs(drift) > abs(record.largest_drift_ns):
            record.largest_drift_ns = drift
        step = found - self._reported_ns
        if abs(step) < _STEP_NS:
            return 0
        self._reported_ns = found
        return step

    def record(self) -> ClockRecord:
        """Return the record of the host's clock up to the last call."""
        assert self._watched is not None
        return self._watched

    def _difference(self) -> int:
        """Return CLOCK_REALTIME minus CLOCK_MONOTONIC.

        Of a few readings the one counts in which this thread was interrupted least.
        """
        best = None
        for _ in range(_TRIES):
            before = self._monotonic_ns()
            wall = self._wall_ns()
            after = self._monotonic_ns()
            if best is None or after - before < best[0]:
                best = after - before, wall - (before + after) // 2
            if best[0] < _EXACT_NS:
                break
        assert best is not None
        return best[1]


@dataclass(slots=True)
class OwnPause:
    """Measures how long the thread that uses it did not run.

    A stopped process, a paused virtual machine or swapping stops a thread, but not the
    clock by which it judges the silence of others. After a pause their messages of the
    meantime still have to come in: silence counts from the moment at which the thread
    listens again.
    """

    clock: Callable[[], float] = field(default_factory=lambda: time.monotonic)
    looked: float = field(init=False)
    """When it last looked, by `clock`."""
    _worked_s: float = field(init=False)
    """Processor time of the thread by then."""
    _absent_s: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        """Look for the first time."""
        self.looked, self._worked_s = self.clock(), time.thread_time()

    def look(self) -> float:
        """Return the seconds without running since the last call, or 0.

        Time spent working is not a pause.
        """
        before, worked_before_s = self.looked, self._worked_s
        self.looked, self._worked_s = self.clock(), time.thread_time()
        # Below 0 where another thread looked last: each has its own processor time.
        worked_s = max(0.0, self._worked_s - worked_before_s)
        absent_s = self.looked - before - worked_s
        self._absent_s = absent_s if absent_s > _PAUSE_S else 0.0
        return self._absent_s

    def excuse(self, heard: float) -> float:
        """Return `heard`, a time of `clock`, moved past the pause of the last look."""
        return min(self.looked, heard + self._absent_s) if self._absent_s else heard
