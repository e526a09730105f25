"""Nodes as the coordinator knows them, and the socket by which they are reached."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import zmq
from zmq.utils.monitor import parse_monitor_message

from sut.clusters.host import Host
from sut.wire.node_messages import LARGEST_TO_CLUSTER, ToCluster
from sut.wire.sockets import Endpoint, ListeningSocket

_LOOK_S = 1.0
"""Longest time between two looks of a process that runs as it should."""


@dataclass(slots=True, kw_only=True)
class Node:
    """A host that takes part, as the coordinator knows it."""

    identity: str
    host: Host
    heard: float
    lost: str | None = None
    """Why it counts no more; a sentence about it goes on with this."""


@dataclass(slots=True)
class OwnPause:
    """Measures how long this process itself did not run.

    A process that was stopped finds old times of everybody else when it goes on. The
    silence of others counts from the moment at which it listens again.
    """

    clock: Callable[[], float] = time.monotonic
    _looked: float = field(init=False)

    def __post_init__(self) -> None:
        """Look for the first time."""
        self._looked = self.clock()

    def since_last_look(self) -> float:
        """Return the seconds without a look; 0 where they are as few as usual."""
        before, self._looked = self._looked, self.clock()
        passed = self._looked - before
        return passed if passed > _LOOK_S else 0.0


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

        libzmq waits for whoever does not read these events.
        """
        if self._monitor is not None:
            self._socket.disable_monitor()
            self._monitor.close(linger=0)
            self._monitor = None

    def close(self) -> None:
        """Close the socket."""
        self.stop_watching()
        super().close()
