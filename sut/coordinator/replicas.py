"""The replicas of a run: starts, admits, fences and restarts them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from secrets import token_hex

from conf.clusters import ClusterConfig
from record.structs import ReplicaRecord
from sut.clock import OwnPause
from sut.clusters.base import Cluster
from sut.coordinator.dispatcher import Dispatcher, Sample, queue_target
from sut.coordinator.recorder import RunRecorder
from sut.coordinator.replica import Replica, State, health_problem
from sut.wire.messages import Ready, ReplicaSpec


@dataclass(slots=True, kw_only=True)
class ReplicaManager:
    """The replicas of a run; used only by the coordinator's thread while it runs.

    Other threads read `active()` and the counters.
    """

    config: ClusterConfig
    cluster: Cluster
    dispatcher: Dispatcher
    recorder: RunRecorder
    replica_spec: ReplicaSpec
    """What each replica builds."""
    address: str
    """Where replicas connect."""
    fail: Callable[[str], None]
    """Called with the reason when the run cannot continue."""

    by_number: dict[int, Replica] = field(default_factory=dict, init=False)
    """All replicas that take part, in any state."""
    fences: int = field(default=0, init=False)
    """How often a replica was fenced."""
    misconfigured: bool = field(default=False, init=False)
    """Whether a replica could not start because of the user's configuration."""
    _run: str = field(default_factory=lambda: token_hex(4), init=False)
    _by_identity: dict[str, Replica] = field(default_factory=dict, init=False)
    """Replicas with a process that takes part in the run."""

    def start(self) -> None:
        """Start every replica that is to take part.

        Raises:
            OSError: a process cannot be started.
        """
        only = self.config.only
        for placement in self.cluster.placements:
            if only and placement.replica not in only:
                continue
            replica = Replica(placement.replica, placement.node)
            self.by_number[replica.number] = replica
            self._start_process(replica)

    def active(self) -> list[Replica]:
        """Return the replicas whose process takes part; any thread may call this."""
        return [replica for replica in list(self.by_number.values()) if replica.active]

    def with_identity(self, identity: str) -> Replica | None:
        """Return the replica of a process; None if it does not take part."""
        return self._by_identity.get(identity)

    def holder_of(self, sample: Sample) -> Replica | None:
        """Return the replica that has `sample`, if any."""
        if sample.replica is None:
            return None
        holder = self.by_number[sample.replica]
        return holder if holder.active else None

    @property
    def all_ready(self) -> bool:
        """Whether every replica that takes part is ready."""
        return all(replica.state is State.READY for replica in self.active())

    def records(self) -> list[ReplicaRecord]:
        """Return the records of all replicas that became ready, in order of number."""
        loads = dict(self.dispatcher.replicas)
        records = []
        for _, replica in sorted(self.by_number.items()):
            if replica.record is None:
                continue
            if (load := loads.get(replica.number)) is not None:
                replica.record.capacity_tokens_per_s = load.capacity_tokens_per_s
                replica.record.restarts = replica.starts - 1
            records.append(replica.record)
        return records

    def admit(self, replica: Replica, message: Ready) -> None:
        """Let a replica that has reported Ready receive samples."""
        if replica.state is State.READY:
            self.fence(replica, "reported twice that it was ready")
            return
        # A restart may have moved it: cluster=ray replaces nodes.
        replica.node = message.record.node
        if replica.state is State.RESTARTING:
            self.recorder.event("rejoin", "restarted and ready", replica)
        replica.enter(State.READY)
        replica.record = message.record
        self.cluster.on_ready(replica.number)
        target = queue_target(
            message.max_num_batched_tokens, self.replica_spec.warmup.typical_tokens
        )
        # Where answers are streamed they are timed from issue: nothing waits here.
        streaming = self.replica_spec.engine.streaming
        self.dispatcher.add_replica(
            replica.number, replica.node, None if streaming else target
        )

    def check(self, now: float) -> None:
        """Fence unhealthy replicas at `now` (monotonic), and restart fenced ones."""
        exited = self.cluster.exited()
        for replica in self.active():
            if (ending := exited.get(replica.number)) is not None:
                self.recorder.event("death", ending, replica)
                self.fence(replica, f"its process {ending}")
            elif (cause := health_problem(replica, self.config, now)) is not None:
                self.fence(replica, cause)
        for replica in self.by_number.values():
            fenced = replica.state is State.FENCED
            if fenced and self.cluster.gone(replica.number):
                self._restart(replica)

    def excuse(self, pause: OwnPause) -> None:
        """Do not count the coordinator's own `pause` as silence of replicas."""
        for replica in self.active():
            replica.started = pause.excuse(replica.started)
            replica.heard = pause.excuse(replica.heard)

    def fence(self, replica: Replica, cause: str) -> None:
        """Kill a faulty replica and give its samples to others."""
        if not replica.active:
            return
        was = replica.state
        replica.enter(State.FENCED)
        del self._by_identity[replica.identity]
        self.fences += 1
        self.cluster.kill(replica.number)
        self.recorder.event("fence", cause, replica)
        if was is State.STARTING:
            fatal = replica.fatal
            self.misconfigured = fatal is not None and fatal.kind == "config"
            replica.enter(State.LOST)
            self.fail(
                cause
                if self.misconfigured
                else f"{replica.name} did not start: {cause}"
            )
            return
        if was is State.READY:
            for sample in self.dispatcher.remove_replica(replica.number):
                self.recorder.event("retry", cause, replica, sample.seq)
        if replica.starts > self.config.restarts:
            replica.enter(State.LOST)
        if all(other.state is State.LOST for other in self.by_number.values()):
            self.fail(f"no replica is left; {replica.name} was the last: {cause}")

    def _restart(self, replica: Replica) -> None:
        replica.enter(State.RESTARTING)
        try:
            self._start_process(replica)
        except OSError as error:
            self.fence(replica, f"cannot be restarted: {error}")

    def _start_process(self, replica: Replica) -> None:
        # A name of its own: what the lost process, or one of an earlier run at the same
        # port, sends must not count as the new one's.
        count = replica.starts + 1
        replica.begin_process(f"replica-{replica.number}-{count}-{self._run}")
        self._by_identity[replica.identity] = replica
        self.cluster.start(replica.number, self.address, replica.identity)
