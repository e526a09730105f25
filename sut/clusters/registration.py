"""The nodes of a run: the socket that they use, and the wait until all have joined."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import zmq
from zmq.utils.monitor import parse_monitor_message

from base.decode import printable
from base.errors import UserError
from conf.clusters import ExternalConfig
from sut.clock import OwnPause
from sut.clusters.placement import Host
from sut.wire.node_messages import (
    LARGEST_TO_CLUSTER,
    NODE_PROTOCOL,
    Join,
    Refused,
    ToCluster,
    join_problem,
)
from sut.wire.sockets import Endpoint, ListeningSocket, ProtocolError


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


_POLL_S = 0.5
_FLUSH_S = 0.3
_REPORT_S = 10.0
"""Between two lines about nodes that are still missing."""
GONE_S = 5.0
"""Silence after which a node counts as gone: it reports each second."""
PATIENCE_S = 8.0
"""Seconds that a namesake is left waiting: the first may have been killed just now."""


@dataclass(slots=True, kw_only=True)
class NodeRegistration:
    """The nodes that have joined so far."""

    socket: NodesSocket
    config: ExternalConfig
    source: str
    """Digest of the code that nodes must run."""
    notify: Callable[[str], None]
    """Takes a line for the user."""
    _nodes: dict[str, Node] = field(default_factory=dict, init=False)
    """By name."""
    _namesakes: dict[str, float] = field(default_factory=dict, init=False)
    """When others first offered themselves under a name that is taken."""
    _full_since: float | None = field(default=None, init=False)
    _strange: set[str] = field(default_factory=set, init=False)
    """Identities whose messages were invalid; each is reported once."""
    _wrong_key: bool = field(default=False, init=False)
    """Whether a client with another key has tried."""
    _pause: OwnPause = field(default_factory=OwnPause, init=False)

    def wait(self) -> list[Node]:
        """Return as many nodes as asked for, by name, once they have joined.

        Raises:
            UserError: not all joined, or one cannot take part.
        """
        try:
            return self._wait()
        finally:
            self.socket.stop_watching()

    def _wait(self) -> list[Node]:
        config, began = self.config, time.monotonic()
        reported = began
        self.notify(f"waiting for {config.nodes} node(s) at {config.listen}")
        while not self._complete():
            now = time.monotonic()
            missing = f"{len(self._nodes)} of {config.nodes} nodes have joined"
            if self._wrong_key:
                missing += " (a client with another key was turned away)"
            if now - began > config.join_timeout_s:
                raise UserError(
                    f"{missing} within cluster.join_timeout_s"
                    f"={config.join_timeout_s:g}: run mlperf-sut node --connect"
                    f" THIS_HOST:{config.listen.rpartition(':')[2]} --key {config.key}"
                    " on each"
                )
            if now - reported > _REPORT_S:
                self.notify(f"[{now - began:5.0f} s] {missing}")
                reported = now
            self.socket.poll(_POLL_S)
            self._watch_keys()
            self._take_in()
            self._forget_silent()
        return sorted(self._nodes.values(), key=lambda node: node.host.name)

    def _complete(self) -> bool:
        """Return whether all have joined, and were heard since the last one joined."""
        if len(self._nodes) < self.config.nodes:
            self._full_since = None
            return False
        if self._full_since is None:
            self._full_since = time.monotonic()
        return all(node.heard > self._full_since for node in self._nodes.values())

    def _watch_keys(self) -> None:
        if self.socket.wrong_key() and not self._wrong_key:
            self._wrong_key = True
            self.notify(
                f"a client at {self.config.listen} has another key and was turned away:"
                f" copy {self.config.key} to every node"
            )

    def _take_in(self) -> None:
        while (received := self.socket.receive()) is not None:
            identity, message = received
            if isinstance(message, Join):
                self._join(identity, message)
            elif isinstance(message, ProtocolError) and identity not in self._strange:
                self._strange.add(identity)
                self.notify(
                    f"{printable(identity)} sent a message that this release does not"
                    f" know: {message}"
                )

    def _join(self, identity: str, join: Join) -> None:
        if (problem := join_problem(join)) is not None:
            self.socket.send(identity, Refused(problem))
            if identity not in self._strange:
                self._strange.add(identity)
                self.notify(f"refused: {problem}")
            return
        if join.protocol != NODE_PROTOCOL or join.source != self.source:
            self._refuse(
                identity,
                f"node {join.name} runs other code of this package than the"
                " coordinator: install the same on both",
            )
        known = self._nodes.get(join.name)
        if known is None and len(self._nodes) == self.config.nodes:
            return
        if known is None:
            host = offered(join)
            node = Node(identity=identity, host=host, heard=time.monotonic())
            self._nodes[join.name] = node
            self.notify(
                f"{host.name} joined: {len(host.gpus)} GPUs, {len(host.cpus)} cores"
            )
        elif known.identity == identity:
            known.heard = time.monotonic()
        else:
            first = self._namesakes.setdefault(identity, time.monotonic())
            if time.monotonic() - first > PATIENCE_S:
                self._refuse(identity, namesake(join.name))

    def _refuse(self, identity: str, reason: str) -> None:
        self.socket.send(identity, Refused(reason))
        # What raises closes the socket, and what has not left by then is dropped.
        time.sleep(_FLUSH_S)
        raise UserError(reason)

    def _forget_silent(self) -> None:
        self._pause.look()
        for name, node in list(self._nodes.items()):
            node.heard = self._pause.excuse(node.heard)
            if time.monotonic() - node.heard > GONE_S:
                del self._nodes[name]
                self.notify(f"{name} has left again")


def offered(join: Join) -> Host:
    """Return the host that a node offers."""
    return Host(name=join.name, gpus=join.gpus, cpus=join.cpus, near=join.near)


def namesake(name: str) -> str:
    """Return why the second node of one name is refused."""
    return f"two nodes have the name {name}: start one of them with another --name"
