"""The link thread of a replica: receives requests, sends answers and heartbeats."""

import contextlib
import os
import queue
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from record.steps import STEP
from sut.clock import clock_id
from sut.engines.base import Engine
from sut.telemetry import DeviceMonitor, HostMonitor
from sut.wire.keys import ClusterKey
from sut.wire.messages import (
    ClockReading,
    Fatal,
    Generate,
    Heartbeat,
    HostReading,
    ReplicaSpec,
    Steps,
    Stop,
    ToCoordinator,
    ToReplica,
)
from sut.wire.sockets import ProtocolError, ReplicaSocket

_KEPT = 64
"""Clock readings to choose from, one per second."""
_DRIFT = 50e-6
"""Largest drift between two clocks, in s/s. RFC 5905 assumes 15e-6 for an undisciplined
oscillator."""


class CoordinatorClock:
    """The coordinator's clock as seen from a replica."""

    def __init__(self) -> None:
        self.shared = False
        """Whether coordinator and replica read the same clock."""
        self._readings: deque[tuple[int, int, int]] = deque(maxlen=_KEPT)
        """Time of receipt, offset, and largest error, all in ns."""

    def note(self, reading: ClockReading, received_ns: int) -> None:
        """Take in the answer to a heartbeat, received at `received_ns` of this host."""
        if reading.sent_ns <= received_ns:
            middle = (reading.sent_ns + received_ns) // 2
            error = -(-(received_ns - reading.sent_ns) // 2)
            self._readings.append((received_ns, reading.monotonic_ns - middle, error))

    def offset(self) -> tuple[int, int] | None:
        """Return the offset to add to this host's clock, and its largest error, in ns.

        None if it is not known yet.
        """
        if self.shared:
            return 0, 0
        now = time.monotonic_ns()
        choice = [
            (error + round((now - received) * _DRIFT), offset)
            # A copy, since the link thread may add a reading meanwhile.
            for received, offset, error in list(self._readings)
        ]
        if not choice:
            return None
        error, offset = min(choice)
        return offset, error


_HEARTBEAT_S = 1.0
_PAUSE_S = 1.0
"""If a wait for messages takes this many seconds longer than asked for, the process was
paused."""
_Reading = TypeVar("_Reading")


class ReplicaLink:
    """Exchanges messages with the coordinator while the main thread runs the engine."""

    def __init__(self, address: str, identity: str, key: ClusterKey | None) -> None:
        """Connect and start the thread."""
        self.inbox: queue.SimpleQueue[ToReplica] = queue.SimpleQueue()
        """ReplicaSpec, Generate and Stop messages, for the main thread."""
        self.engine: Engine | None = None
        self.monitor: DeviceMonitor | None = None
        self.clock = CoordinatorClock()
        self._recorded: Engine | None = None
        """The engine whose steps go to the coordinator."""
        self._step_lock = threading.Lock()
        self._host: HostMonitor | None = None
        self._busy_since: float | None = None
        self._resumed = 0.0
        """When the process last resumed after a pause that the engine did not cause."""
        self._blind = False
        """Whether telemetry has failed and this was reported."""
        self._outbox: deque[ToCoordinator] = deque()
        self._socket = ReplicaSocket(address, identity, key)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="link", daemon=True)
        self._thread.start()

    def send(self, message: ToCoordinator) -> None:
        """Queue a message; any thread may call this."""
        self._outbox.append(message)
        self._socket.wakeup.set()

    def receive_spec(self) -> ReplicaSpec | None:
        """Wait for the specification; None if the coordinator sends Stop instead."""
        message = self.inbox.get()
        if not isinstance(message, ReplicaSpec):
            return None
        self.clock.shared = message.clock_id == clock_id()
        return message

    def record_steps(self, engine: Engine) -> None:
        """Send the steps of `engine` from now on, once a second."""
        engine.steps()
        self._recorded = engine

    def send_last_steps(self) -> None:
        """Send what was not sent yet, if steps are sent at all."""
        with self._step_lock:
            engine, self._recorded = self._recorded, None
            if engine is not None:
                self.send(self._steps(engine, last=True))

    def stepped(self, busy: bool) -> None:
        """Note that the engine finished a step, or got its first work."""
        self._busy_since = time.monotonic() if busy else None

    def close(self) -> None:
        """Send what is queued, then disconnect."""
        self._stop.set()
        self._socket.wakeup.set()
        self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        try:
            self._exchange()
        except BaseException:  # noqa: BLE001  (mute, the process would seem alive)
            with contextlib.suppress(OSError):
                traceback.print_exc()
                sys.stderr.flush()
            os._exit(3)

    def _exchange(self) -> None:
        next_beat = time.monotonic()
        while not (self._stop.is_set() and not self._outbox):
            asked = time.monotonic()
            self._socket.poll(max(0.0, next_beat - asked))
            if (now := time.monotonic()) - asked > _HEARTBEAT_S + _PAUSE_S:
                self._resumed = now
            if self._socket.lost:
                # Messages may be lost with it, which only a replica's end makes known.
                raise ConnectionResetError("the connection to the coordinator is lost")
            try:
                while (message := self._socket.receive()) is not None:
                    if isinstance(message, ClockReading):
                        self.clock.note(message, time.monotonic_ns())
                        continue
                    if isinstance(message, Generate):
                        message.arrived_ns = time.monotonic_ns()
                    self.inbox.put(message)
            except ProtocolError:
                # Nothing sensible can follow; the coordinator sees the process leave.
                self.inbox.put(Stop())
            while self._outbox:
                self._socket.send(self._outbox.popleft())
            if time.monotonic() >= next_beat:
                self._leave_if_crippled()
                self._socket.send(self._heartbeat())
                self._send_steps()
                next_beat = time.monotonic() + _HEARTBEAT_S

    def _send_steps(self) -> None:
        with self._step_lock:
            # Before the clocks are compared for the first time, steps wait in the ring.
            if self._recorded is not None and self.clock.offset() is not None:
                # Behind what the main thread has queued: Ready comes first.
                self.send(self._steps(self._recorded, last=False))

    def _steps(self, engine: Engine, last: bool) -> Steps:
        data, missing = engine.steps()
        offset, error = self.clock.offset() or (None, 0)
        records = np.frombuffer(data, STEP).copy()
        if offset is None:
            missing += len(records)
            records = records[:0]
        else:
            records["start_ns"] += offset
        return Steps(records.tobytes(), missing, error, last)

    def _leave_if_crippled(self) -> None:
        # The main thread may wait for ever for an answer of the process that is lost.
        if self.engine and not self._stop.is_set():
            lost = self.engine.lost_process()
            if lost is not None:
                self._socket.send(Fatal("crash", f"its process {lost} ended"))
                self._socket.close()
                os._exit(3)

    def _heartbeat(self) -> Heartbeat:
        since, resumed = self._busy_since, self._resumed
        stats = self.engine.stats() if self.engine else None
        return Heartbeat(
            stuck_s=0.0 if since is None else time.monotonic() - max(since, resumed),
            running=stats.running if stats else 0,
            waiting=stats.waiting if stats else 0,
            kv_used=stats.kv_used if stats else None,
            devices=(self.monitor and self._read(self.monitor.read)) or [],
            host=self._read(self._read_host),
            server_running=stats.server_running if stats else None,
            server_waiting=stats.server_waiting if stats else None,
            prefix_cache_hit_tokens=stats.prefix_cache_hit_tokens if stats else None,
            sent_ns=0 if self.clock.shared else time.monotonic_ns(),
        )

    def _read_host(self) -> HostReading:
        if self._host is None:
            self._host = HostMonitor()
        return self._host.read()

    def _read(self, what: Callable[[], _Reading]) -> _Reading | None:
        """Return what a monitor reads; without it a run is poorer, not lost."""
        try:
            return what()
        except Exception:  # noqa: BLE001  (drivers fail in ways of their own)
            if not self._blind:
                self._blind = True
                # The log may be on the very disk that is full.
                with contextlib.suppress(OSError):
                    print("telemetry failed; the run goes on:", file=sys.stderr)
                    traceback.print_exc()
            return None
