"""Nodes as the coordinator knows them, and the socket by which they are reached."""

from dataclasses import dataclass

import zmq
from zmq.utils.monitor import parse_monitor_message

from sut.clusters.host import Host
from sut.wire.node_messages import LARGEST_TO_CLUSTER, ToCluster
from sut.wire.sockets import Endpoint, ListeningSocket


@dataclass(slots=True, kw_only=True)
class Node:
    """A host that takes part, as the coordinator knows it."""

    identity: str
    host: Host
    heard: float
    lost: str | None = None
    """Why it no longer takes part; the end of a sentence that begins with its name."""


class NodesSocket(ListeningSocket[ToCluster]):
    """The coordinator's end, for nodes."""

    _monitor: "zmq.Socket[bytes] | None" = None

    def __init__(self, endpoint: Endpoint) -> None:
        """Listen.

        Raises:
            OSError: nothing can listen there.
        """
        super().__init__(endpoint, ToCluster, LARGEST_TO_CLUSTER)
        self._monitor = self._socket.get_monitor_socket(
            zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_AUTH
        )

    def wrong_key(self) -> bool:
        """Return whether a client with another key has tried since the last call."""
        found = False
        while self._monitor is not None and self._monitor.poll(0):
            event = parse_monitor_message(self._monitor.recv_multipart())
            found |= (
                event["event"] == zmq.EVENT_HANDSHAKE_FAILED_AUTH
                or event["value"] == zmq.PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC
            )
        return found

    def stop_watching(self) -> None:
        """Have `wrong_key` return False from now on.

        libzmq blocks while these events are not read.
        """
        if self._monitor is not None:
            self._socket.disable_monitor()
            self._monitor.close(linger=0)
            self._monitor = None

    def close(self) -> None:
        """Close the socket."""
        self.stop_watching()
        super().close()
