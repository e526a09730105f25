"""Waits until the nodes of a run have joined."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from base.errors import UserError
from conf.schema import ExternalConfig
from sut.clusters.host import Host
from sut.clusters.node_messages import NODE_PROTOCOL, Join, Refused
from sut.clusters.nodes import Node, NodesSocket
from sut.transport import ProtocolError

_POLL_S = 0.5
_FLUSH_S = 0.3
_TELL_S = 10.0
"""Between two lines about nodes that are still missing."""
_GONE_S = 5.0
"""A node that waits for others says so each second."""
_PATIENCE_S = 8.0
"""Seconds that a namesake is left waiting: the first may have been killed just now."""


@dataclass(slots=True, kw_only=True)
class Gathering:
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
    """Those whose messages make no sense, and were told of."""

    def wait(self) -> list[Node]:
        """Return as many nodes as asked for, by name, once they have joined.

        Raises:
            UserError: not all came, or one cannot take part.
        """
        config, began = self.config, time.monotonic()
        told = began
        self.notify(f"waiting for {config.nodes} node(s) at {config.listen}")
        while not self._complete():
            now = time.monotonic()
            missing = f"{len(self._nodes)} of {config.nodes} nodes have joined"
            if now - began > config.join_timeout_s:
                raise UserError(
                    f"{missing} within cluster.join_timeout_s"
                    f"={config.join_timeout_s:g}: run python -m sut.node --connect"
                    f" THIS_HOST:{config.listen.rpartition(':')[2]} --key {config.key}"
                    " on each"
                )
            if now - told > _TELL_S:
                self.notify(f"[{now - began:5.0f} s] {missing}")
                told = now
            self.socket.poll(_POLL_S)
            self._take_in()
            self._forget_silent()
        return sorted(self._nodes.values(), key=lambda node: node.host.name)

    def _complete(self) -> bool:
        """Return whether all are here, and have said so since the last one came."""
        if len(self._nodes) < self.config.nodes:
            self._full_since = None
            return False
        if self._full_since is None:
            self._full_since = time.monotonic()
        return all(node.heard > self._full_since for node in self._nodes.values())

    def _take_in(self) -> None:
        while (received := self.socket.receive()) is not None:
            identity, message = received
            if isinstance(message, Join):
                self._join(identity, message)
            elif isinstance(message, ProtocolError) and identity not in self._strange:
                self._strange.add(identity)
                self.notify(
                    f"{identity} sent what is no message of this release: {message}"
                )

    def _join(self, identity: str, join: Join) -> None:
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
            host = Host(name=join.name, gpus=join.gpus, cpus=join.cpus)
            node = Node(identity=identity, host=host, heard=time.monotonic())
            self._nodes[join.name] = node
            self.notify(
                f"{host.name} joined: {len(host.gpus)} GPUs, {len(host.cpus)} cores"
            )
        elif known.identity == identity:
            known.heard = time.monotonic()
        else:
            first = self._namesakes.setdefault(identity, time.monotonic())
            if time.monotonic() - first > _PATIENCE_S:
                self._refuse(
                    identity,
                    f"two nodes call themselves {join.name}: give one another --name",
                )

    def _refuse(self, identity: str, reason: str) -> None:
        self.socket.send(identity, Refused(reason))
        # What raises closes the socket, and what has not left by then is dropped.
        time.sleep(_FLUSH_S)
        raise UserError(reason)

    def _forget_silent(self) -> None:
        for name, node in list(self._nodes.items()):
            if time.monotonic() - node.heard > _GONE_S:
                del self._nodes[name]
                self.notify(f"{name} has gone again")
