"""Which replicas take part in a run: started, admitted, fenced, started anew."""

from collections.abc import Callable
from dataclasses import dataclass, field
from secrets import token_hex

from conf.schema import ClusterConfig
from record.structs import ReplicaRecord
from sut.clock import OwnPause
from sut.clusters.base import Cluster
from sut.coordinator.dispatcher import Dispatcher, queue_target
from sut.coordinator.peers import Peer, unfit
from sut.coordinator.recorder import Ledger
from sut.wire.messages import Ready, Setup
from sut.wire.node_messages import Placement


@dataclass(slots=True, kw_only=True)
class Members:
    """The replicas of a run; belongs to the coordinator's thread once that runs."""

    config: ClusterConfig
    cluster: Cluster
    dispatcher: Dispatcher
    ledger: Ledger
    setup: Setup
    """What each replica is told to build."""
    address: str
    """Where replicas connect."""
    fail: Callable[[str], None]
    """Called with the reason once the run cannot go on."""

    peers: dict[int, Peer] = field(default_factory=dict, init=False)
    """Replicas that take part, by number."""
    fences: int = field(default=0, init=False)
    """Times that a replica was lost."""
    misconfigured: bool = field(default=False, init=False)
    """Whether a replica did not start for a mistake of the user."""
    _run: str = field(default_factory=lambda: token_hex(4), init=False)
    _by_identity: dict[str, Peer] = field(default_factory=dict, init=False)
    _records: dict[int, ReplicaRecord] = field(default_factory=dict, init=False)
    _starts: dict[int, int] = field(default_factory=dict, init=False)
    """Times that each replica was started."""
    _returning: set[int] = field(default_factory=set, init=False)
    """Lost replicas that are started anew as soon as the old process is gone."""

    def start(self) -> None:
        """Start every replica.

        Raises:
            OSError: a process cannot be started.
        """
        for place in self.cluster.placements:
            self._start(place)

    def known_as(self, identity: str) -> Peer | None:
        """Return the replica of that name; None: it takes part no more."""
        return self._by_identity.get(identity)

    @property
    def all_ready(self) -> bool:
        """Whether every replica that takes part is ready."""
        return all(peer.record is not None for peer in self.peers.values())

    def records(self) -> list[ReplicaRecord]:
        """Return the records of all replicas that were ready once, by number."""
        for replica, load in list(self.dispatcher.replicas.items()):
            record = self._records[replica]
            record.capacity_tokens_per_s = load.capacity_tokens_per_s
            record.restarts = self._starts[replica] - 1
        return [record for _, record in sorted(self._records.items())]

    def admit(self, peer: Peer, message: Ready) -> None:
        """Let a replica that says it is ready have samples."""
        if peer.record is not None:
            self.fence(peer, "said twice that it was ready")
            return
        if self._starts[peer.replica] > 1:
            self.ledger.event("rejoin", "started anew and ready", peer)
        peer.phase, peer.record = "ready", message.record
        self._records[peer.replica] = message.record
        self.cluster.settled(peer.replica)
        target = queue_target(
            message.max_num_batched_tokens, self.setup.warmup.typical_tokens
        )
        # Where answers are streamed they are timed from issue: nothing waits here.
        streaming = self.setup.spec.streaming
        self.dispatcher.add_replica(
            peer.replica, peer.node, None if streaming else target
        )

    def check(self, now: float) -> None:
        """Fence whoever is unfit at the time `now` (monotonic); bring back the lost."""
        exited = self.cluster.exited()
        for peer in list(self.peers.values()):
            if (ending := exited.get(peer.replica)) is not None:
                self.ledger.event("death", ending, peer)
                self.fence(peer, f"its process {ending}")
            elif (cause := unfit(peer, self.config, now)) is not None:
                self.fence(peer, cause)
        for place in self.cluster.placements:
            # Until the old process is gone it may hold the memory of its device.
            if place.replica in self._returning and self.cluster.gone(place.replica):
                self._bring_back(place)

    def excuse(self, pause: OwnPause) -> None:
        """Do not count the coordinator's own `pause` as silence of replicas."""
        for peer in self.peers.values():
            peer.started = pause.excuse(peer.started)
            peer.heard = pause.excuse(peer.heard)

    def fence(self, peer: Peer, cause: str) -> None:
        """Kill a replica that cannot be trusted and hand its samples to others."""
        if self.peers.pop(peer.replica, None) is None:
            return
        del self._by_identity[peer.identity]
        self.fences += 1
        self.cluster.kill(peer.replica)
        self.ledger.event("fence", cause, peer)
        if peer.record is None and self._starts[peer.replica] == 1:
            self.misconfigured = peer.fatal is not None and peer.fatal.kind == "config"
            self.fail(
                cause if self.misconfigured else f"{peer.name} did not start: {cause}"
            )
            return
        if peer.record is not None:
            for sample in self.dispatcher.remove_replica(peer.replica):
                self.ledger.event("retry", cause, peer, sample.seq)
        if self._starts[peer.replica] <= self.config.restarts:
            self._returning.add(peer.replica)
        elif not self.peers and not self._returning:
            self.fail(f"no replica is left; {peer.name} was the last: {cause}")

    def _bring_back(self, place: Placement) -> None:
        self._returning.remove(place.replica)
        try:
            self._start(place)
        except OSError as error:
            cause = f"cannot be started anew: {error}"
            self.fence(self.peers[place.replica], cause)

    def _start(self, place: Placement) -> None:
        count = self._starts[place.replica] = self._starts.get(place.replica, 0) + 1
        # A name of its own: what the lost process, or one of an earlier run at the same
        # port, sends must not count as the new one's.
        name = f"replica-{place.replica}-{count}-{self._run}"
        peer = Peer(place.replica, place.node, name)
        self.peers[place.replica] = peer
        self._by_identity[peer.identity] = peer
        self.cluster.start(place.replica, self.address, peer.identity)
