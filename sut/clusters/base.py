"""The seam between the coordinator and what starts its replicas."""

from typing import Protocol

from sut.wire.node_messages import Placement


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

    def on_ready(self, replica: int) -> None:
        """Note that the replica is ready: it holds what it will hold."""

    def exited(self) -> dict[int, str]:
        """Return how each replica ended that is no longer running, by number."""

    def kill(self, replica: int) -> None:
        """Have the replica and every process it made killed; does not wait."""

    def gone(self, replica: int) -> bool:
        """Return whether nothing is left of a replica that was killed."""

    def close(self, grace_s: float) -> None:
        """Wait `grace_s` seconds for replicas to leave, then kill what still runs."""
