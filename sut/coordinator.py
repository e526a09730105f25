"""The thread that moves samples between LoadGen and the replicas.

It alone touches the socket, the dispatcher and the cluster once it has started; other
threads hand work in through `issue` and read plain attributes.
"""

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import assert_never

from conf.schema import ClusterConfig
from record.structs import ReplicaRecord
from sut.clusters.base import Cluster
from sut.dispatcher import Dispatcher, Sample, UnexpectedAnswer
from sut.latencies import RecentLatencies
from sut.ledger import Ledger
from sut.messages import (
    PROTOCOL,
    Done,
    Failed,
    Fatal,
    First,
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
_QUEUED_STEPS = 4
"""Engine steps whose prompts a replica has waiting, so that it never runs dry."""
_FEWEST_QUEUED = 8
_WHOLE = ("stop", "length")
"""Reasons for which an answer may end."""
_LEAVE_S = 10.0
"""Seconds that replicas have to leave by themselves after a good run."""


@dataclass(slots=True, kw_only=True)
class Sinks:
    """Where answers go: LoadGen's side of the run."""

    first_token: Callable[[int, bytes], None]
    """(LoadGen id, int32 token)"""
    complete: Callable[[int, bytes], None]
    """(LoadGen id, int32 tokens)"""


@dataclass(slots=True, kw_only=True)
class CoordinatorParts:
    """What a coordinator works with."""

    config: ClusterConfig
    cluster: Cluster
    dispatcher: Dispatcher
    ledger: Ledger
    setup: Setup
    """What each replica is told to build."""
    prompt: Callable[[int], bytes]
    """Token ids (int32 bytes) by index of the data set."""
    stall_timeout_s: float


class Coordinator:
    """Runs a cluster of replicas until it is closed."""

    def __init__(self, parts: CoordinatorParts) -> None:
        """Prepare; `start` starts the replicas."""
        self.dispatcher = parts.dispatcher
        self.latencies = RecentLatencies()
        self.peers: dict[int, Peer] = {}
        """Replicas that take part, by number."""
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
        self._sinks: Sinks | None = None
        self._issued: deque[tuple[int, list[tuple[int, int]]]] = deque()
        self._socket = CoordinatorSocket()
        self._by_identity: dict[str, Peer] = {}
        self._records: dict[int, ReplicaRecord] = {}
        self._stop = threading.Event()
        self._progress = time.monotonic()
        self._thread = threading.Thread(
            target=self._run, name="coordinator", daemon=True
        )

    def start(self) -> None:
        """Start every replica, and the thread that listens to them.

        Raises:
            OSError: a process cannot be started.
        """
        for place in self._cluster.placements:
            peer = Peer(place.replica, place.node, f"replica-{place.replica}")
            self.peers[place.replica] = peer
            self._by_identity[peer.identity] = peer
            self._cluster.start(place.replica, self._socket.address, peer.identity)
        self._thread.start()

    def connect(self, sinks: Sinks) -> None:
        """Say where answers go; call it before the first `issue`."""
        self._sinks = sinks

    def issue(self, queries: list[tuple[int, int]]) -> None:
        """Take in (LoadGen id, index) pairs; any thread may call this."""
        self._issued.append((time.time_ns(), queries))
        if not self._stop.is_set():
            self._socket.wakeup.set()

    def replica_records(self) -> list[ReplicaRecord]:
        """Return the records of all replicas that were ready once, by number."""
        for replica, load in list(self.dispatcher.replicas.items()):
            self._records[replica].capacity_tokens_per_s = load.tokens_per_s
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
                self._take_in_issued()
                self._take_in_messages()
                self._check_health()
                self._hand_out()
        except Exception as error:  # noqa: BLE001  (the run must end, not hang)
            self._fail(f"coordinator: {type(error).__name__}: {error}")
        for peer in self.peers.values():
            self._socket.send(peer.identity, Stop())
        self._take_in_issued()
        for sample in self.dispatcher.unfinished():
            holder = self.peers.get(-1 if sample.replica is None else sample.replica)
            self._ledger.lost(sample, holder.node if holder else None)

    def _take_in_issued(self) -> None:
        while self._issued:
            issued_ns, queries = self._issued.popleft()
            if not self.dispatcher.open_samples:
                self._progress = time.monotonic()
            self.dispatcher.issue(queries, issued_ns)

    def _hand_out(self) -> None:
        prompt = self._parts.prompt
        for replica, samples in self.dispatcher.assign(time.time_ns()).items():
            peer = self.peers[replica]
            requests = [Request(s.seq, s.attempt, prompt(s.qsl_index)) for s in samples]
            if not self._socket.send(peer.identity, Generate(requests)):
                self._fence(peer, "its connection is gone")

    def _take_in_messages(self) -> None:
        while (received := self._socket.receive()) is not None:
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
        peer.phase, peer.record = "ready", message.record
        self._records[peer.replica] = message.record
        target = max(
            _FEWEST_QUEUED,
            math.ceil(
                _QUEUED_STEPS
                * message.max_num_batched_tokens
                / self._parts.setup.warmup.typical_tokens
            ),
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
        self.dispatcher.note_queue(peer.replica, outputs.waiting, outputs.received)
        try:
            for first in outputs.first:
                self._first_token(peer, first)
            for done in outputs.done:
                self._complete(peer, done)
            for failed in outputs.failed:
                self._retry(peer, failed)
        except UnexpectedAnswer as error:
            self._fence(peer, f"answered out of turn: {error}")

    def _first_token(self, peer: Peer, first: First) -> None:
        sample = self.dispatcher.held(peer.replica, first.seq, first.attempt)
        if len(first.token) != 4:
            raise UnexpectedAnswer(f"sample {first.seq}: no int32 first token")
        self.dispatcher.begin(sample)
        if sample.first_token is not None:
            # An earlier attempt told LoadGen already; a second time would be an error.
            return
        sample.first_token = first.token
        sample.first_token_ns = time.time_ns()
        assert self._sinks is not None
        self._sinks.first_token(sample.query_id, first.token)

    def _complete(self, peer: Peer, done: Done) -> None:
        sample = self.dispatcher.held(peer.replica, done.seq, done.attempt)
        if done.finish_reason not in _WHOLE:
            cause = f"the engine ended its answer: {done.finish_reason}"
            self._retry(peer, Failed(done.seq, done.attempt, cause))
            return
        if not done.tokens or len(done.tokens) % 4:
            raise UnexpectedAnswer(f"sample {done.seq}: no int32 tokens")
        if self._parts.setup.spec.streaming:
            self._check_first_token(sample, peer, done)
        completed_ns = time.time_ns()
        assert self._sinks is not None
        self._sinks.complete(sample.query_id, done.tokens)
        self._ledger.completed(sample, peer, done, completed_ns)
        self.latencies.add(sample, completed_ns, len(done.tokens) // 4)
        self.dispatcher.complete(sample, len(done.tokens) // 4, completed_ns)

    def _check_first_token(self, sample: Sample, peer: Peer, done: Done) -> None:
        if sample.first_token is None:
            raise UnexpectedAnswer(f"sample {sample.seq} ended before it began")
        if not done.tokens.startswith(sample.first_token):
            cause = "the recomputed answer begins with another token"
            self._ledger.event("protocol", cause, peer, sample.seq)

    def _retry(self, peer: Peer, failed: Failed) -> None:
        sample = self.dispatcher.held(peer.replica, failed.seq, failed.attempt)
        self.dispatcher.requeue(sample)
        self._ledger.event("retry", failed.cause, peer, sample.seq)
        sample.refusals += 1
        if sample.refusals >= self._config.max_attempts:
            self._fail(
                f"sample {sample.seq} (index {sample.qsl_index}) failed"
                f" {sample.refusals} times, last: {failed.cause}"
            )

    def _check_health(self) -> None:
        now = time.monotonic()
        exited = self._cluster.exited()
        for peer in list(self.peers.values()):
            if (ending := exited.get(peer.replica)) is not None:
                self._ledger.event("death", ending, peer)
                self._fence(peer, f"its process {ending}")
            elif (cause := unfit(peer, self._config, now)) is not None:
                self._fence(peer, cause)
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
        self._cluster.kill(peer.replica)
        self._ledger.event("fence", cause, peer)
        if peer.record is None:
            self.misconfigured = peer.fatal is not None and peer.fatal.kind == "config"
            told = (
                cause if self.misconfigured else f"{peer.name} did not start: {cause}"
            )
            self._fail(told)
            return
        for sample in self.dispatcher.remove_replica(peer.replica):
            self._ledger.event("retry", cause, peer, sample.seq)
        if not self.peers:
            self._fail(f"no replica is left; {peer.name} was the last: {cause}")

    def _fail(self, reason: str) -> None:
        if self.failure is None:
            self.failure = reason
            self._ledger.event("abort", reason)
        self._stop.set()
        self.ready.set()
