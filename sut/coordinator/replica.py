"""One replica as the coordinator knows it: its state and its health."""

import time
from dataclasses import dataclass, field
from enum import Enum

from conf.clusters import ClusterConfig
from record.structs import ReplicaRecord
from sut.wire.messages import Fatal

_SILENCE_WHILE_LOADING_S = 120.0
"""Imports and compilers hold Python's lock for a long time."""


class State(Enum):
    """Where a replica is between its start and its end."""

    STARTING = "starting"
    """Its first process loads the model."""
    READY = "ready"
    """It takes samples."""
    FENCED = "fenced"
    """Its process was killed; until it is gone it may hold device memory."""
    RESTARTING = "restarting"
    """A new process loads the model after the last one was fenced."""
    LOST = "lost"
    """It is not restarted again."""


TRANSITIONS = {
    State.STARTING: {State.READY, State.FENCED},
    State.READY: {State.FENCED},
    State.FENCED: {State.RESTARTING, State.LOST},
    State.RESTARTING: {State.READY, State.FENCED},
    State.LOST: set[State](),
}
_ACTIVE = (State.STARTING, State.READY, State.RESTARTING)


@dataclass(slots=True)
class Replica:
    """One replica; its process changes with each restart."""

    number: int
    node: str
    identity: str = ""
    """Identity of its current process on the socket."""
    state: State = State.STARTING
    phase: str = "starting"
    """Last phase of its start that its process reported."""
    record: ReplicaRecord | None = None
    """Report of its last process that became ready; None before that."""
    starts: int = 0
    """Number of processes that were started for it."""
    started: float = field(default_factory=time.monotonic)
    """When its process was started, in s (monotonic)."""
    heard: float = field(default_factory=time.monotonic)
    """When its process last sent a message, in s (monotonic)."""
    stuck_s: float = 0.0
    running: int = 0
    """Samples that its engine was working on at the last heartbeat."""
    unreachable: bool = False
    """Whether a message to it found no connection."""
    fatal: Fatal | None = None

    @property
    def name(self) -> str:
        """How messages to the user call it."""
        return f"replica {self.number} on {self.node}"

    @property
    def active(self) -> bool:
        """Whether it has a process that takes part in the run."""
        return self.state in _ACTIVE

    @property
    def status(self) -> str:
        """What users see of it: the step of its start, then its state."""
        return self.state.value if self.state is State.READY else self.phase

    def enter(self, state: State) -> None:
        """Change the state.

        Raises:
            ValueError: `TRANSITIONS` does not lead there.
        """
        if state not in TRANSITIONS[self.state]:
            raise ValueError(f"{self.name}: {self.state.value} to {state.value}")
        self.state = state

    def begin_process(self, identity: str) -> None:
        """Forget what the last process reported of itself."""
        self.identity = identity
        self.starts += 1
        self.phase = "starting"
        self.started = self.heard = time.monotonic()
        self.stuck_s, self.running = 0.0, 0
        self.unreachable, self.fatal = False, None


def health_problem(replica: Replica, config: ClusterConfig, now: float) -> str | None:
    """Return why `replica` must be fenced at the time `now` (monotonic), or None."""
    if replica.unreachable:
        return "its connection is gone"
    limit = config.heartbeat_timeout_s
    if replica.state is not State.READY:
        if now - replica.started > config.load_timeout_s:
            return f"not ready after {config.load_timeout_s:g} s ({replica.status})"
        limit = max(limit, _SILENCE_WHILE_LOADING_S)
    if now - replica.heard > limit:
        return f"no heartbeat for {now - replica.heard:.1f} s ({replica.status})"
    if replica.stuck_s > config.step_timeout_s:
        return f"its engine has been stuck for {replica.stuck_s:.1f} s"
    return None
