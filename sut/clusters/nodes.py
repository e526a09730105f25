"""Nodes as the coordinator knows them, and the socket by which they are reached."""

from dataclasses import dataclass

from sut.clusters.host import Host
from sut.clusters.node_messages import ToCluster
from sut.transport import Endpoint, ListeningSocket


@dataclass(slots=True, kw_only=True)
class Node:
    """A host that takes part, as the coordinator knows it."""

    identity: str
    host: Host
    heard: float
    lost: str | None = None
    """Why it counts no more; a sentence about it goes on with this."""


class NodesSocket(ListeningSocket[ToCluster]):
    """The coordinator's end, for nodes."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Listen.

        Raises:
            OSError: nothing can listen there.
        """
        super().__init__(endpoint, ToCluster)
