"""Replicas on hosts that join by themselves, each with `python -m sut.node`."""

import contextlib
import time
from collections.abc import Callable, Sequence

from base.decode import printable
from record.folder import RunFolder
from sut.clock import OwnPause
from sut.clusters.registration import GONE_S, PATIENCE_S, Node, NodesSocket, namesake
from sut.wire.node_messages import (
    Close,
    Join,
    Kill,
    Left,
    Ping,
    Placement,
    Refused,
    ReplicaReady,
    Report,
    Start,
    ToCluster,
    ToNode,
    Welcome,
)
from sut.wire.sockets import ProtocolError

_PING_S = 1.0
_POLL_S = 0.02
_KILL_S = 15.0
"""Seconds that a node may take to kill what did not leave by itself."""


class ExternalCluster:
    """Implements `sut.clusters.base.Cluster`; belongs to one thread at a time."""

    def __init__(
        self,
        socket: NodesSocket,
        nodes: Sequence[Node],
        placements: Sequence[Placement],
        folder: RunFolder,
        environment: dict[str, str],
        silence_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Welcome the nodes; nothing is started.

        Args:
            socket: the one by which they joined; closed with this cluster.
            nodes: those that joined.
            placements: where each replica runs, by the names of the nodes.
            folder: run folder, which takes the output of each replica.
            environment: variables set for every replica, over the node's own.
            silence_s: seconds without a message after which a node is lost, and after
                which a node gives the run up.
            clock: seconds that never run backwards.
        """
        self._clock = clock
        self._pause = OwnPause(clock)
        self._socket = socket
        self._placements = {place.replica: place for place in placements}
        self._folder = folder
        self._silence_s = silence_s
        self._environment = environment
        self._nodes = {node.host.name: node for node in nodes}
        self._by_identity = {node.identity: node for node in nodes}
        self._running: dict[int, str] = {}
        """Identity of each replica that was started and not killed."""
        self._dying: dict[int, str] = {}
        self._endings: dict[str, str] = {}
        """How replicas ended, by identity."""
        self._namesakes: dict[str, float] = {}
        """When others first offered themselves under the name of a node."""
        self._closing = False
        """Whether nodes may be silent: they wait for their replicas."""
        self._pinged = clock()
        for node in self._nodes.values():
            node.heard = clock()
            self._welcome(node)

    @property
    def placements(self) -> list[Placement]:
        """Every replica that `start` will start."""
        return list(self._placements.values())

    def start(self, replica: int, address: str, identity: str) -> None:
        """Have the replica's node start it; it connects to the port of `address`.

        Raises:
            OSError: its node is lost.
        """
        node = self._node_of(replica)
        if node.lost is not None:
            raise OSError(f"node {self._placements[replica].node} {node.lost}")
        self._running[replica] = identity
        self._write(replica, b"")
        self._send(node, Start(replica, identity, int(_port(address))))

    def on_ready(self, replica: int) -> None:
        """Have the node note the shared memory that the replica's processes hold."""
        self._send(self._node_of(replica), ReplicaReady(replica))

    def exited(self) -> dict[int, str]:
        """Return how each replica ended that is no longer running, by number."""
        self._exchange()
        ended = {}
        for replica, identity in self._running.items():
            node = self._node_of(replica)
            if (ending := self._endings.get(identity)) is not None:
                ended[replica] = ending
            elif node.lost is not None:
                name = self._placements[replica].node
                ended[replica] = f"was on node {name}, which {node.lost}"
        return ended

    def kill(self, replica: int) -> None:
        """Have the replica and every process it made killed; does not wait."""
        identity = self._running.pop(replica, None)
        if identity is not None:
            self._dying[replica] = identity
            self._send(self._node_of(replica), Kill(replica))

    def gone(self, replica: int) -> bool:
        """Return whether nothing is left of a replica that was killed.

        A lost node kills its replicas itself; the coordinator cannot check that.
        """
        self._exchange()
        if self._node_of(replica).lost is not None:
            self._dying.pop(replica, None)
        return replica not in self._dying

    def close(self, grace_s: float) -> None:
        """Wait `grace_s` seconds for replicas to leave, then have the rest killed."""
        if self._socket.closed:
            return
        self._closing = True
        for node in self._nodes.values():
            self._send(node, Close(grace_s))
        deadline = time.monotonic() + grace_s + _KILL_S
        while any(node.lost is None for node in self._nodes.values()):
            if time.monotonic() > deadline:
                break
            self._exchange()
            time.sleep(_POLL_S)
        self._socket.close()

    def _node_of(self, replica: int) -> Node:
        return self._nodes[self._placements[replica].node]

    def _welcome(self, node: Node) -> None:
        own = [p for p in self._placements.values() if self._is_on(p.replica, node)]
        self._send(node, Welcome(own, self._environment, self._silence_s))

    def _send(self, node: Node, message: ToNode) -> None:
        if node.lost is None and not self._socket.send(node.identity, message):
            self._lose(node, "is not connected any more")

    def _exchange(self) -> None:
        """Read messages, ping the nodes, and give up nodes that are silent."""
        self._pause.look()
        now = self._pause.looked
        if now - self._pinged >= _PING_S:
            self._pinged = now
            for node in self._nodes.values():
                self._send(node, Ping())
        for node in self._nodes.values():
            node.heard = self._pause.excuse(node.heard)
        while (received := self._socket.receive()) is not None:
            identity, message = received
            if isinstance(message, Join) and message.name in self._nodes:
                self._take_join(identity, self._nodes[message.name])
            elif (known := self._by_identity.get(identity)) is not None:
                self._take(known, message)
            else:
                self._take_stranger(identity, message)
        for node in self._nodes.values():
            silent_s = self._clock() - node.heard
            if silent_s > self._silence_s and not self._closing:
                self._lose(node, f"sent no heartbeat for {silent_s:.1f} s")

    def _take(self, node: Node, message: ToCluster | ProtocolError) -> None:
        node.heard = self._clock()
        match message:
            case Report():
                self._take_endings(node, message.exited)
                for replica, identity in list(self._dying.items()):
                    if identity in message.gone and self._is_on(replica, node):
                        del self._dying[replica]
                for replica, text in message.output.items():
                    if self._is_on(replica, node):
                        self._write(replica, text)
            case Left():
                self._lose(node, "has left")
            case ProtocolError():
                self._lose(node, f"sent an invalid message: {message}")

    def _take_endings(self, node: Node, exited: dict[str, str]) -> None:
        """Note how replicas of `node` ended; it knows nothing of others."""
        own = {i for r, i in self._running.items() if self._is_on(r, node)}
        for identity in own & exited.keys():
            self._endings[identity] = printable(exited[identity])

    def _is_on(self, replica: int, node: Node) -> bool:
        return replica in self._placements and self._node_of(replica) is node

    def _take_join(self, identity: str, node: Node) -> None:
        """Note that a node has started again, or refuse a second one of its name.

        A node that has not read its welcome yet joins again as the same.
        """
        if identity == node.identity:
            node.heard = self._clock()
        elif node.lost is None and self._clock() - node.heard > GONE_S:
            self._lose(node, "has started again")
        elif node.lost is None:
            first = self._namesakes.setdefault(identity, self._clock())
            if self._clock() - first > PATIENCE_S:
                self._socket.send(identity, Refused(namesake(node.host.name)))

    def _take_stranger(self, identity: str, message: ToCluster | ProtocolError) -> None:
        """Ignore what comes from a node that takes no part in this run."""

    def _write(self, replica: int, text: bytes) -> None:
        log = self._folder.replica_log(replica)
        # A full disk must not end the run: its records, which must, fail by themselves.
        with contextlib.suppress(OSError):
            log.parent.mkdir(exist_ok=True)
            with log.open("ab") as file:
                file.write(text)

    def _lose(self, node: Node, cause: str) -> None:
        if node.lost is None:
            node.lost = cause


def _port(address: str) -> str:
    return address.rpartition(":")[2]
