"""The thread that moves samples between LoadGen and the replicas.

It alone touches the socket, the dispatcher and the cluster once it has started; other
threads hand work in through `issue` and read plain attributes.
"""

import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

from conf.schema import ClusterConfig
from sut.answers import Answers, RefusedTooOften, Sinks
from sut.clusters.base import Cluster
from sut.dispatcher import Dispatcher, Query, UnexpectedAnswer
from sut.ledger import Ledger
from sut.members import Members
from sut.messages import (
    PROTOCOL,
    Fatal,
    Generate,
    Heartbeat,
    Hello,
    Outputs,
    Phase,
    Ready,
    Request,
    Setup,
    Stop,
    ToCoordinator,
)
from sut.peers import Peer
from sut.transport import CoordinatorSocket, ProtocolError

_TICK_S = 0.2
_MESSAGES_A_TURN = 64
"""Messages taken in before new samples are handed out."""
_MANY = 8
"""Samples issued or completed in one turn, above which turns are spaced out."""
_TURN_S = 0.001
"""Shortest turn then. At 10,000 samples/s and more, waking threads up, here and in
replicas, costs more than the samples do: they had better come in batches."""
_LEAVE_S = 10.0
"""Seconds that replicas have to leave by themselves after a good run."""


@dataclass(slots=True, kw_only=True)
class CoordinatorParts:
    """What a coordinator works with."""

    config: ClusterConfig
    cluster: Cluster
    dispatcher: Dispatcher
    ledger: Ledger
    setup: Setup
    """What each replica is told to build."""
    prompts: Sequence[bytes]
    """Token ids (int32 bytes) by index of the data set."""
    socket: CoordinatorSocket
    """Where replicas connect; closed with the coordinator."""
    stall_timeout_s: float


class Coordinator:
    """Runs a cluster of replicas until it is closed."""

    def __init__(self, parts: CoordinatorParts) -> None:
        """Prepare; `start` starts the replicas."""
        self.dispatcher = parts.dispatcher
        self.answers = Answers(
            parts.dispatcher,
            parts.ledger,
            parts.setup.spec.streaming,
            parts.config.max_attempts,
        )
        self.failure: str | None = None
        """Why the run cannot go on; None while it can."""
        self.ready = threading.Event()
        """Set when every replica is ready, or when the run has failed."""
        self._parts = parts
        self._ledger = parts.ledger
        self._issued: deque[Query] = deque()
        self._socket = parts.socket
        self.members = Members(
            config=parts.config,
            cluster=parts.cluster,
            dispatcher=parts.dispatcher,
            ledger=parts.ledger,
            setup=parts.setup,
            address=self._socket.address,
            fail=self._fail,
        )
        self._stop = threading.Event()
        self._progress = self._looked = time.monotonic()
        self._thread = threading.Thread(
            target=self._run, name="coordinator", daemon=True
        )

    def start(self) -> None:
        """Start every replica, and the thread that listens to them.

        Raises:
            OSError: a process cannot be started.
        """
        self.members.start()
        self._thread.start()

    def connect(self, sinks: Sinks) -> None:
        """Say where answers go; call it before the first `issue`."""
        self.answers.sinks = sinks

    def issue(self, ids: Sequence[int], indices: Sequence[int]) -> None:
        """Take in samples, by LoadGen's id and index; any thread may call this."""
        self._issued.append((time.time_ns(), ids, indices))
        if not self._stop.is_set():
            self._socket.wakeup.set()

    def close(self) -> None:
        """Stop the replicas and the thread; what is still open is written as lost."""
        self._stop.set()
        if self._thread.is_alive():
            self._socket.wakeup.set()
            self._thread.join()
        self._parts.cluster.close(0.0 if self.failure else _LEAVE_S)
        self._socket.close()

    def abort(self, reason: str) -> None:
        """Give the run up and close."""
        self._fail(reason)
        self.close()

    # From here on everything runs in the coordinator's own thread.

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._socket.poll(_TICK_S)
                began, moved = time.monotonic(), self._moved
                self._take_in_issued()
                self._take_in_messages()
                self._check_health()
                self._hand_out()
                if self._moved - moved > _MANY:
                    # What comes in meanwhile costs less than if it came one by one.
                    time.sleep(max(0.0, began + _TURN_S - time.monotonic()))
        except Exception as error:  # noqa: BLE001  (the run must end, not hang)
            self._fail(f"coordinator: {type(error).__name__}: {error}")
        for peer in self.members.peers.values():
            self._socket.send(peer.identity, Stop())
        self._take_in_issued()
        for sample in self.dispatcher.unfinished():
            holder = self.members.peers.get(
                -1 if sample.replica is None else sample.replica
            )
            self._ledger.lost(sample, holder.node if holder else None)

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
        for replica, samples in self.dispatcher.assign(time.time_ns()).items():
            peer = self.members.peers[replica]
            requests = [
                Request(s.seq, s.attempt, prompts[s.qsl_index]) for s in samples
            ]
            if not self._socket.send(peer.identity, Generate(requests)):
                # The next look at its health may tell why.
                peer.unreachable = True

    def _take_in_messages(self) -> None:
        for _ in range(_MESSAGES_A_TURN):
            received = self._socket.receive()
            if received is None:
                return
            identity, message = received
            peer = self.members.known_as(identity)
            if peer is None:
                continue
            peer.heard = time.monotonic()
            if isinstance(message, ProtocolError):
                self.members.fence(peer, f"malformed message: {message}")
            else:
                self._handle(peer, message)

    def _handle(self, peer: Peer, message: ToCoordinator) -> None:
        match message:
            case Outputs():
                self._take_outputs(peer, message)
            case Heartbeat():
                peer.stuck_s = message.stuck_s
                self._ledger.heartbeat(peer, message)
            case Hello():
                if message.protocol == PROTOCOL:
                    self._socket.send(peer.identity, self._parts.setup)
                else:
                    cause = f"speaks protocol {message.protocol}, not {PROTOCOL}"
                    self.members.fence(peer, cause)
            case Phase():
                peer.phase = message.name
            case Ready():
                self.members.admit(peer, message)
                if self.members.all_ready:
                    self.ready.set()
            case Fatal():
                peer.fatal = message
                self.members.fence(peer, message.cause)
            case _:
                assert_never(message)

    def _take_outputs(self, peer: Peer, outputs: Outputs) -> None:
        if peer.record is None:
            self.members.fence(peer, "sent answers before it was ready")
            return
        self._progress = time.monotonic()
        try:
            self.answers.take(peer, outputs)
        except UnexpectedAnswer as error:
            self.members.fence(peer, f"answered out of turn: {error}")
        except RefusedTooOften as error:
            self._fail(str(error))

    def _check_health(self) -> None:
        now = time.monotonic()
        if now - self._looked < _TICK_S:
            return
        self._looked = now
        self.members.check(now)
        idle_s = now - self._progress
        if self.dispatcher.open_samples and idle_s > self._parts.stall_timeout_s:
            self._ledger.event("stall", f"no progress for {idle_s:.1f} s")
            self._fail(f"no progress for {idle_s:.1f} s")
        if self._ledger.failure:
            self._fail(f"the run folder cannot be written: {self._ledger.failure}")

    def _fail(self, reason: str) -> None:
        if self.failure is None:
            self.failure = reason
            self._ledger.event("abort", reason)
        self._stop.set()
        self.ready.set()
