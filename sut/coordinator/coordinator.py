"""The thread that moves samples between LoadGen and the replicas.

While it runs, it alone uses the socket, the dispatcher and the cluster. Other threads
hand in work through `issue` and read plain attributes.
"""

import math
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import assert_never

from conf.clusters import ClusterConfig
from sut.clock import OwnPause, RunClock
from sut.clusters.base import Cluster
from sut.coordinator.dispatcher import Dispatcher, Query, UnexpectedAnswer
from sut.coordinator.recorder import RunRecorder, StillOpen
from sut.coordinator.replica import Replica, State
from sut.coordinator.replicas import ReplicaManager
from sut.coordinator.responses import (
    Responder,
    ResponseHandler,
    StepIntake,
    TooManyRefusals,
)
from sut.wire.messages import (
    PROTOCOL,
    ClockReading,
    Fatal,
    Generate,
    Heartbeat,
    Hello,
    Outputs,
    Phase,
    Ready,
    ReplicaSpec,
    Request,
    Steps,
    Stop,
    ToCoordinator,
)
from sut.wire.sockets import CoordinatorSocket, ProtocolError

_TICK_S = 0.2
_MESSAGES_A_TURN = 64
"""Messages taken in before new samples are handed out."""
_MANY = 8
"""Samples issued or completed in one turn, above which turns are spaced out."""
_TURN_S = 0.001
"""Shortest turn then. From 10,000 samples/s on, waking threads here and in replicas
costs more than the samples do, so they are moved in batches."""
_LEAVE_S = 10.0
"""Seconds that replicas have to end by themselves after a good run."""
_GAPS = 40
"""Mean gaps between queries after which LoadGen has stalled. Gaps are exponential: one
of 40 times the mean comes once in 10^17."""
_SUM_UP_S = 600.0
"""Seconds that LoadGen may take for its logs once everything is answered."""


@dataclass(slots=True, kw_only=True)
class CoordinatorParts:
    """What a coordinator uses."""

    config: ClusterConfig
    cluster: Cluster
    dispatcher: Dispatcher
    recorder: RunRecorder
    clock: RunClock
    responder: Responder
    """LoadGen's side."""
    replica_spec: ReplicaSpec
    """What each replica builds."""
    prompts: Sequence[tuple[bytes, int | None]]
    """Token ids (int32 bytes), and the tokens that the answer must have, by index."""
    socket: CoordinatorSocket
    """Where replicas connect; closed with the coordinator."""
    stall_timeout_s: float


class Coordinator:
    """Runs a cluster of replicas until it is closed."""

    def __init__(self, parts: CoordinatorParts) -> None:
        self.dispatcher = parts.dispatcher
        self.answers = ResponseHandler(
            parts.dispatcher,
            parts.recorder,
            parts.responder,
            parts.clock,
            parts.replica_spec.engine.streaming,
            parts.config.max_attempts,
        )
        self.failure: str | None = None
        """Why the run cannot go on; None while it can."""
        self.ready = threading.Event()
        """Set when every replica is ready, or when the run has failed."""
        self.clock = parts.clock
        self._parts = parts
        self.recorder = parts.recorder
        self._issued: deque[Query] = deque()
        self._socket = parts.socket
        self.replicas = ReplicaManager(
            config=parts.config,
            cluster=parts.cluster,
            dispatcher=parts.dispatcher,
            recorder=parts.recorder,
            replica_spec=parts.replica_spec,
            address=self._socket.address,
            fail=self._fail,
        )
        self._steps = StepIntake(self.replicas, parts.recorder)
        self._stop = threading.Event()
        self._progress = time.monotonic()
        self._pause = OwnPause()
        self._drained = False
        """Whether the last look for messages emptied the queue."""
        self._flushed = False
        self._mean_gap_s = 0.0
        self._thread = threading.Thread(
            target=self._run, name="coordinator", daemon=True
        )

    def start(self) -> None:
        """Start every replica, and the thread that listens to them.

        Raises:
            OSError: a process cannot be started.
        """
        self.replicas.start()
        self._thread.start()

    def begin_test(self, mean_gap_s: float = 0.0) -> None:
        """Begin LoadGen's test; call it before LoadGen starts.

        Args:
            mean_gap_s: mean seconds between queries, where LoadGen's clock paces them.
        """
        self._mean_gap_s = mean_gap_s
        self._progress = time.monotonic()
        self.clock.watch()

    def issue(self, ids: Sequence[int], indices: Sequence[int]) -> None:
        """Take in samples, by LoadGen's id and index; any thread may call this."""
        self._issued.append((self.clock.now_ns(), ids, indices))
        if not self._stop.is_set():
            self._socket.wakeup.set()

    def flush(self) -> None:
        """Note that LoadGen has issued its last query."""
        self._flushed = True

    def close(self, *, still_open: StillOpen = "lost") -> None:
        """Stop the replicas and the thread; record what is open as `still_open`."""
        self._stop.set()
        if self._thread.is_alive():
            self._socket.wakeup.set()
            self._thread.join()
        with closing(self._socket):
            try:
                self._wind_up(still_open)
            finally:
                self._parts.cluster.close(0.0 if self.failure else _LEAVE_S)

    def abort(self, reason: str) -> None:
        """Fail the run and close."""
        self._fail(reason)
        self.close()

    def _wind_up(self, still_open: StillOpen) -> None:
        self._watch_clock()
        for replica in self.replicas.active():
            self._socket.send(replica.identity, Stop())
        if not self.failure and self._parts.replica_spec.engine.steps:
            self._steps.take_last(self._socket, self._parts.cluster)
        self._take_in_issued()
        for sample in self.dispatcher.unfinished():
            holder = self.replicas.holder_of(sample)
            self.recorder.left_open(sample, getattr(holder, "node", None), still_open)

    # From here on: the coordinator's own thread, and `close` after it.

    def _run(self) -> None:
        try:
            self._take_turns()
        except Exception as error:  # noqa: BLE001  (the run must end, not hang)
            self._fail(f"coordinator: {type(error).__name__}: {error}")

    def _take_turns(self) -> None:
        self._pause = OwnPause()
        while not self._stop.is_set():
            self._socket.poll(_TICK_S)
            began, moved = time.monotonic(), self._moved
            self._take_in_issued()
            self._take_in_messages(_MESSAGES_A_TURN)
            self._check_health()
            self._hand_out()
            if self._moved - moved > _MANY:
                # Samples that arrive during the pause are handled as one batch.
                time.sleep(max(0.0, began + _TURN_S - time.monotonic()))

    @property
    def _moved(self) -> int:
        return self.dispatcher.issued + self.dispatcher.completed

    def _take_in_issued(self) -> None:
        count = len(self._issued)
        if count:
            if not self.dispatcher.open_samples:
                self._progress = time.monotonic()
            self.dispatcher.issue(self._issued.popleft() for _ in range(count))

    def _hand_out(self) -> None:
        prompts = self._parts.prompts
        for number, samples in self.dispatcher.assign(self.clock.now_ns()).items():
            replica = self.replicas.by_number[number]
            requests = [
                Request(s.seq, s.attempt, *prompts[s.qsl_index]) for s in samples
            ]
            if not self._socket.send(replica.identity, Generate(requests)):
                # The next health check may find out why.
                replica.unreachable = True

    def _take_in_messages(self, most: int) -> None:
        self._drained = False
        for _ in range(most):
            received = self._socket.receive()
            if received is None:
                self._drained = True
                return
            identity, message = received
            replica = self.replicas.with_identity(identity)
            if replica is None:
                continue
            replica.heard = time.monotonic()
            if isinstance(message, ProtocolError):
                self.replicas.fence(replica, f"malformed message: {message}")
            else:
                self._handle(replica, message)

    def _handle(self, replica: Replica, message: ToCoordinator) -> None:
        match message:
            case Outputs():
                self._take_outputs(replica, message)
            case Heartbeat():
                replica.stuck_s = message.stuck_s
                replica.running = message.running
                self.recorder.heartbeat(replica, message)
                if message.sent_ns:
                    answer = ClockReading(message.sent_ns, time.monotonic_ns())
                    self._socket.send(replica.identity, answer)
            case Steps():
                self._steps.take(replica, message)
            case Hello():
                if message.protocol == PROTOCOL:
                    self._socket.send(replica.identity, self._parts.replica_spec)
                else:
                    cause = f"speaks protocol {message.protocol}, not {PROTOCOL}"
                    self.replicas.fence(replica, cause)
            case Phase():
                replica.phase = message.name
            case Ready():
                self.replicas.admit(replica, message)
                if self.replicas.all_ready:
                    self.ready.set()
            case Fatal():
                replica.fatal = message
                self.replicas.fence(replica, message.cause)
            case _:
                assert_never(message)

    def _take_outputs(self, replica: Replica, outputs: Outputs) -> None:
        if replica.state is not State.READY:
            self.replicas.fence(replica, "sent answers before it was ready")
            return
        self._progress = time.monotonic()
        try:
            self.answers.take(replica, outputs)
        except UnexpectedAnswer as error:
            self.replicas.fence(replica, f"answered out of turn: {error}")
        except TooManyRefusals as error:
            self._fail(str(error))

    def _check_health(self) -> None:
        now = time.monotonic()
        if now - self._pause.looked < _TICK_S:
            return
        self._excuse_pause()
        self._watch_clock()
        if not self._drained:
            # A missing heartbeat may still be queued: look at each replica's messages.
            self._take_in_messages(_MESSAGES_A_TURN + len(self.replicas.by_number))
        self.replicas.check(now)
        self._check_progress(now)
        if self.recorder.failure:
            self._fail(f"the run folder cannot be written: {self.recorder.failure}")

    def _excuse_pause(self) -> None:
        """Do not count time in which this thread did not run against replicas."""
        absent_s = self._pause.look()
        if not absent_s:
            return
        self.replicas.excuse(self._pause)
        self._progress = self._pause.excuse(self._progress)
        if self.clock.watching:
            cause = f"the coordinator did not run for {absent_s:.1f} s"
            self.recorder.event("pause", cause)

    def _watch_clock(self) -> None:
        if step_ns := self.clock.look():
            cause = f"the host's clock was set by {step_ns / 1e9:+.3f} s"
            self.recorder.event("clock", cause)

    def _check_progress(self, now: float) -> None:
        idle_s = now - self._progress
        if idle_s <= self.patience_s:
            return
        cause = f"no progress for {idle_s:.1f} s"
        if not self.dispatcher.open_samples:
            cause = f"LoadGen has issued nothing for {idle_s:.1f} s and has not ended"
            if step_s := round(self.clock.record().largest_drift_ns / 1e9, 3):
                cause += f"; the host's clock, by which it waits, was set by {step_s} s"
        self.recorder.event("stall", cause)
        self._fail(cause)

    @property
    def patience_s(self) -> float:
        """Longest time without progress, in s.

        With open samples it is the configured limit. With none, LoadGen may be waiting
        for its next query, for up to `_GAPS` mean gaps, or may be writing its logs.
        """
        limit = self._parts.stall_timeout_s
        if self.dispatcher.open_samples:
            return limit
        if not self.clock.watching:
            return math.inf
        if self._flushed:
            return max(limit, _SUM_UP_S)
        return max(limit, _GAPS * self._mean_gap_s)

    def _fail(self, reason: str) -> None:
        if self.failure is None:
            self.failure = reason
            self.recorder.event("abort", reason)
        self._stop.set()
        self.ready.set()
