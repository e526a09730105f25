"""Replicas as the coordinator knows them, and the judgement of their health."""

import time
from dataclasses import dataclass, field

from conf.schema import ClusterConfig
from record.structs import ReplicaRecord
from sut.wire.messages import Fatal

_SILENCE_WHILE_LOADING_S = 120.0
"""Imports and compilers hold Python's lock for long stretches."""


@dataclass(slots=True)
class Peer:
    """A replica as the coordinator knows it."""

    replica: int
    node: str
    identity: str
    """Its name on the socket."""
    phase: str = "starting"
    record: ReplicaRecord | None = None
    """None until it is ready."""
    started: float = field(default_factory=time.monotonic)
    heard: float = field(default_factory=time.monotonic)
    stuck_s: float = 0.0
    running: int = 0
    """Samples that its engine was working on at the last heartbeat."""
    unreachable: bool = False
    """Whether a message to it found no connection."""
    fatal: Fatal | None = None

    @property
    def name(self) -> str:
        """How messages to the user call it."""
        return f"replica {self.replica} on {self.node}"


def unfit(peer: Peer, config: ClusterConfig, now: float) -> str | None:
    """Return why `peer` must be fenced at the time `now` (monotonic), or None."""
    if peer.unreachable:
        return "its connection is gone"
    limit = config.heartbeat_timeout_s
    if peer.record is None:
        if now - peer.started > config.load_timeout_s:
            return f"not ready after {config.load_timeout_s:g} s ({peer.phase})"
        limit = max(limit, _SILENCE_WHILE_LOADING_S)
    if now - peer.heard > limit:
        return f"no sign of life for {now - peer.heard:.1f} s ({peer.phase})"
    if peer.stuck_s > config.step_timeout_s:
        return f"its engine has been stuck for {peer.stuck_s:.1f} s"
    return None
