"""Relates a replica's monotonic clock to the coordinator's.

On one host both are the same clock. Elsewhere each heartbeat carries the replica's time
and comes back with the coordinator's, as in NTP (RFC 5905): the coordinator's reading
lies within the round trip, so the middle of it is wrong by half of it at most.
"""

import time
from collections import deque

from sut.wire.messages import ClockReading

_KEPT = 64
"""Exchanges to choose from, one a second."""
_DRIFT = 50e-6
"""Rate at which two clocks may part, in s/s: what RFC 5905 takes for an undisciplined
oscillator is 15e-6."""


class CoordinatorClock:
    """The coordinator's clock as seen from a replica."""

    def __init__(self) -> None:
        """Know nothing of the coordinator yet."""
        self.shared = False
        """Whether both read the same clock."""
        self._readings: deque[tuple[int, int, int]] = deque(maxlen=_KEPT)
        """Time of receipt, offset, and largest error, all in ns."""

    def note(self, reading: ClockReading, received_ns: int) -> None:
        """Take in the answer to a heartbeat, received at `received_ns` of this host."""
        if reading.sent_ns <= received_ns:
            middle = (reading.sent_ns + received_ns) // 2
            error = -(-(received_ns - reading.sent_ns) // 2)
            self._readings.append((received_ns, reading.monotonic_ns - middle, error))

    def offset(self) -> tuple[int, int] | None:
        """Return what to add to this host's clock, and the largest error, in ns.

        None: not known yet.
        """
        if self.shared:
            return 0, 0
        now = time.monotonic_ns()
        choice = [
            (error + round((now - received) * _DRIFT), offset)
            # A copy: the thread for messages may note a reading meanwhile.
            for received, offset, error in list(self._readings)
        ]
        if not choice:
            return None
        error, offset = min(choice)
        return offset, error
