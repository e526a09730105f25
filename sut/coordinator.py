"""The thread that moves samples between LoadGen and the replicas.

It alone touches the socket, the dispatcher and the cluster once it has started; other
threads hand work in through `issue` and read plain attributes.
"""

import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

from conf.schema import ClusterConfig
from record.structs import ReplicaRecord
from sut.answers import Answers, RefusedTooOften, Sinks
from sut.clusters.base import Cluster, Placement
from sut.dispatcher import Dispatcher, Query, UnexpectedAnswer, queue_target
from sut.ledger import Ledger
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
from sut.peers import Peer, unfit
from sut.transport import CoordinatorSocket, ProtocolError

_TICK_S = 0.2
_MESSAGES_A_TURN = 64
"""Messages taken in before new samples are handed out."""
_MANY = 16
"""Samples issued or completed in a turn, from which on turns are spaced out."""
_TURN_S = 0.002
"""Shortest turn then. Waking threads up, here and in replicas, costs more than a sample
does, so at some 10,000 samples/s they had better come in batches."""
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
    scratch: Path
    """Folder for the socket."""
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
        self.peers: dict[int, Peer] = {}
        """Replicas that take part, by number."""
        self.fences = 0
        """Times that a replica was lost."""
        self.failure: str | None = None
        """Why the run cannot go on; None while it can."""
        self.misconfigured = False
        """Whether the failure is a mistake of the user."""
        self.ready = threading.Event()
        """Set when every replica is ready, or when the run has failed."""
        self._parts = parts
        self._config = parts.config
        self._cluster = parts.cluster
        self._ledger = parts.ledger
        self._issued: deque[Query] = deque()
        self._socket = CoordinatorSocket(parts.scratch)
        self._by_identity: dict[str, Peer] = {}
        self._records: dict[int, ReplicaRecord] = {}
        self._starts: dict[int, int] = {}
        """Times that each replica was started."""
        self._returning: set[int] = set()
        """Lost replicas that are started anew as soon as the old process is gone."""
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
        for place in self._cluster.placements:
            self._start_replica(place)
        self._thread.start()

    def connect(self, sinks: Sinks) -> None:
        """Say where answers go; call it before the first `issue`."""
        self.answers.sinks = sinks

    def issue(self, ids: Sequence[int], indices: Sequence[int]) -> None:
        """Take in samples, by LoadGen's id and index; any thread may call this."""
        self._issued.append((time.time_ns(), ids, indices))
        if not self._stop.is_set():
            self._socket.wakeup.set()

    def replica_records(self) -> list[ReplicaRecord]:
        """Return the records of all replicas that were ready once, by number."""
        for replica, load in list(self.dispatcher.replicas.items()):
            record = self._records[replica]
            record.capacity_tokens_per_s = load.capacity_tokens_per_s
            record.restarts = self._starts[replica] - 1
        return [record for _, record in sorted(self._records.items())]

    def close(self) -> None:
        """Stop the replicas and the thread; what is still open is written as lost."""
        self._stop.set()
        if self._thread.is_alive():
            self._socket.wakeup.set()
            self._thread.join()
        self._cluster.close(0.0 if self.failure else _LEAVE_S)
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
        for peer in self.peers.values():
            self._socket.send(peer.identity, Stop())
        self._take_in_issued()
        for sample in self.dispatcher.unfinished():
            holder = self.peers.get(-1 if sample.replica is None else sample.replica)
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
            peer = self.peers[replica]
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
            peer = self._by_identity.get(identity)
            if peer is None:
                continue
            peer.heard = time.monotonic()
            if isinstance(message, ProtocolError):
                self._fence(peer, f"malformed message: {message}")
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
                    self._fence(peer, cause)
            case Phase():
                peer.phase = message.name
            case Ready():
                self._admit(peer, message)
            case Fatal():
                peer.fatal = message
                self._fence(peer, message.cause)
            case _:
                assert_never(message)

    def _admit(self, peer: Peer, message: Ready) -> None:
        if peer.record is not None:
            self._fence(peer, "said twice that it was ready")
            return
        if self._starts[peer.replica] > 1:
            self._ledger.event("rejoin", "started anew and ready", peer)
        peer.phase, peer.record = "ready", message.record
        self._records[peer.replica] = message.record
        self._cluster.settled(peer.replica)
        target = queue_target(
            message.max_num_batched_tokens, self._parts.setup.warmup.typical_tokens
        )
        # Where answers are streamed they are timed from issue: nothing waits here.
        streaming = self._parts.setup.spec.streaming
        self.dispatcher.add_replica(
            peer.replica, peer.node, None if streaming else target
        )
        if all(p.record is not None for p in self.peers.values()):
            self.ready.set()

    def _take_outputs(self, peer: Peer, outputs: Outputs) -> None:
        if peer.record is None:
            self._fence(peer, "sent answers before it was ready")
            return
        self._progress = time.monotonic()
        try:
            self.answers.take(peer, outputs)
        except UnexpectedAnswer as error:
            self._fence(peer, f"answered out of turn: {error}")
        except RefusedTooOften as error:
            self._fail(str(error))

    def _check_health(self) -> None:
        now = time.monotonic()
        if now - self._looked < _TICK_S:
            return
        self._looked = now
        exited = self._cluster.exited()
        for peer in list(self.peers.values()):
            if (ending := exited.get(peer.replica)) is not None:
                self._ledger.event("death", ending, peer)
                self._fence(peer, f"its process {ending}")
            elif (cause := unfit(peer, self._config, now)) is not None:
                self._fence(peer, cause)
        self._bring_back()
        idle_s = now - self._progress
        if self.dispatcher.open_samples and idle_s > self._parts.stall_timeout_s:
            self._ledger.event("stall", f"no progress for {idle_s:.1f} s")
            self._fail(f"no progress for {idle_s:.1f} s")
        if self._ledger.failure:
            self._fail(f"the run folder cannot be written: {self._ledger.failure}")

    def _fence(self, peer: Peer, cause: str) -> None:
        """Kill a replica that cannot be trusted and hand its samples to others."""
        if self.peers.pop(peer.replica, None) is None:
            return
        del self._by_identity[peer.identity]
        self.fences += 1
        self._cluster.kill(peer.replica)
        self._ledger.event("fence", cause, peer)
        if peer.record is None and self._starts[peer.replica] == 1:
            self.misconfigured = peer.fatal is not None and peer.fatal.kind == "config"
            told = (
                cause if self.misconfigured else f"{peer.name} did not start: {cause}"
            )
            self._fail(told)
            return
        if peer.record is not None:
            for sample in self.dispatcher.remove_replica(peer.replica):
                self._ledger.event("retry", cause, peer, sample.seq)
        if self._starts[peer.replica] <= self._config.restarts:
            self._returning.add(peer.replica)
        elif not self.peers and not self._returning:
            self._fail(f"no replica is left; {peer.name} was the last: {cause}")

    def _bring_back(self) -> None:
        for place in self._cluster.placements:
            # Until the old process is gone it may hold the memory of its device.
            if place.replica in self._returning and self._cluster.gone(place.replica):
                self._returning.remove(place.replica)
                try:
                    self._start_replica(place)
                except OSError as error:
                    cause = f"cannot be started anew: {error}"
                    self._fence(self.peers[place.replica], cause)

    def _start_replica(self, place: Placement) -> None:
        count = self._starts[place.replica] = self._starts.get(place.replica, 0) + 1
        # A name of its own: what the lost process sent must not count as the new one's.
        peer = Peer(place.replica, place.node, f"replica-{place.replica}-{count}")
        self.peers[place.replica] = peer
        self._by_identity[peer.identity] = peer
        self._cluster.start(place.replica, self._socket.address, peer.identity)

    def _fail(self, reason: str) -> None:
        if self.failure is None:
            self.failure = reason
            self._ledger.event("abort", reason)
        self._stop.set()
        self.ready.set()
