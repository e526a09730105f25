"""The seam between the coordinator and what starts its replicas."""

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(slots=True, kw_only=True)
class Placement:
    """Where one replica runs and what it may use."""

    replica: int
    node: str
    gpus: list[str] = field(default_factory=list)
    """Indices or UUIDs of its GPUs; empty: it runs on the CPU."""
    cpus: list[int] = field(default_factory=list)
    """Cores it is pinned to; empty: any."""


class Cluster(Protocol):
    """Starts, watches and kills replica processes."""

    @property
    def placements(self) -> list[Placement]:
        """Every replica that `start` will start."""

    def start(self, replica: int, address: str, identity: str) -> None:
        """Start the process of `replica`, which connects to `address`.

        Raises:
            OSError: it cannot be started.
        """

    def settled(self, replica: int) -> None:
        """Note that the replica is ready: it holds what it will hold."""

    def exited(self) -> dict[int, str]:
        """Return how each replica ended that is no longer running, by number."""

    def kill(self, replica: int) -> None:
        """Have the replica and every process it made killed; does not wait."""

    def gone(self, replica: int) -> bool:
        """Return whether nothing is left of a replica that was killed."""

    def close(self, grace_s: float) -> None:
        """Wait `grace_s` seconds for replicas to leave, then kill what still runs."""
