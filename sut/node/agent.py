"""A node's side of one run: starts and kills replicas when the coordinator asks."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, assert_never

from record.folder import RunFolder
from sut.clock import OwnPause
from sut.clusters.local import LocalCluster
from sut.wire.keys import ClusterKey
from sut.wire.node_messages import (
    LARGEST_TO_NODE,
    Close,
    Kill,
    Left,
    Ping,
    Refused,
    ReplicaReady,
    Report,
    Start,
    ToNode,
    Welcome,
)
from sut.wire.sockets import ConnectedSocket, ProtocolError

_TICK_S = 0.1
_REPORT_S = 1.0
_OUTPUT_BYTES = 1 << 16
"""Most bytes of a replica's output in one report."""
_REPORT_BYTES = 1 << 20
"""Most bytes of output of all replicas in one report."""


class NodeSocket(ConnectedSocket[ToNode]):
    """A node's end."""

    def __init__(self, address: str, identity: str, key: ClusterKey) -> None:
        """Connect; the connection is made in the background."""
        super().__init__(address, identity, key, ToNode, LARGEST_TO_NODE)


@dataclass(slots=True, kw_only=True)
class NodeAgent:
    """One run that this node takes part in."""

    socket: NodeSocket
    welcome: Welcome
    coordinator: str
    """Host of the coordinator, as this node reaches it."""
    key: Path
    scratch: Path
    """Folder for temporary files and logs; gone at the end."""
    cache: Path
    """Folder under which each replica keeps its compile caches."""
    show_alive: Callable[[], None] = lambda: None
    """Called several times a second while this node works."""
    clock: Callable[[], float] = time.monotonic
    """A monotonic clock, in s."""
    _cluster: LocalCluster = field(init=False)
    _identities: dict[int, str] = field(default_factory=dict, init=False)
    """Identities of replicas that were started and not killed."""
    _dying: dict[int, str] = field(default_factory=dict, init=False)
    _told: set[str] = field(default_factory=set, init=False)
    """Replicas whose end was reported."""
    _logs: dict[int, BinaryIO] = field(default_factory=dict, init=False)
    """Kept open, so that output can be read after the folder was removed."""
    _reported: float = field(default=0.0, init=False)

    def run(self) -> str | None:
        """Serve until the run is over; return the error, or None.

        Whatever ends it, no replica is left.
        """
        self._cluster = LocalCluster(
            self.welcome.placements,
            RunFolder(self.scratch),
            self.scratch,
            self.cache,
            self.welcome.environment,
            self.key,
        )
        try:
            return self._serve()
        finally:
            try:
                self._cluster.close(0.0)
            finally:
                self.socket.send(Left())
                for log in self._logs.values():
                    log.close()

    def _serve(self) -> str | None:
        heard, pause = self.clock(), OwnPause(self.clock)
        while True:
            self.socket.poll(_TICK_S)
            self.show_alive()
            pause.look()
            heard = pause.excuse(heard)
            if self.socket.lost:
                return "the connection to the coordinator is lost"
            try:
                while (message := self.socket.receive()) is not None:
                    heard = self.clock()
                    if isinstance(message, Close):
                        self._leave(message.grace_s)
                        return None
                    self._obey(message)
            except ProtocolError as error:
                return f"the coordinator sent an invalid message: {error}"
            if self.clock() - heard > self.welcome.silence_s:
                return (
                    f"no message from the coordinator for {self.welcome.silence_s:g} s"
                )
            self._report()

    def _obey(self, message: ToNode) -> None:
        match message:
            case Start():
                self._start(message)
            case ReplicaReady():
                self._cluster.on_ready(message.replica)
            case Kill():
                self._cluster.kill(message.replica)
                identity = self._identities.pop(message.replica, None)
                if identity is not None:
                    self._dying[message.replica] = identity
            case Ping() | Welcome() | Refused() | Close():
                pass
            case _:
                assert_never(message)

    def _start(self, message: Start) -> None:
        address = f"tcp://{self.coordinator}:{message.port}"
        self._identities[message.replica] = message.identity
        try:
            if all(p.replica != message.replica for p in self.welcome.placements):
                raise ValueError(f"replica {message.replica} has no place here")
            self._cluster.start(message.replica, address, message.identity)
            if message.replica not in self._logs:
                path = RunFolder(self.scratch).replica_log(message.replica)
                self._logs[message.replica] = path.open("rb")
        except (OSError, ValueError) as error:
            # ValueError: the welcome had a variable that no environment can hold.
            self._told.add(message.identity)
            cause = f"cannot be started: {error}"
            self.socket.send(Report(exited={message.identity: cause}))

    def _report(self) -> None:
        exited = {
            identity: ending
            for replica, ending in self._cluster.exited().items()
            if (identity := self._identities[replica]) not in self._told
        }
        gone = [replica for replica in self._dying if self._cluster.gone(replica)]
        output = self._output()
        now = self.clock()
        if exited or gone or output or now - self._reported >= _REPORT_S:
            self._told.update(exited)
            names = [self._dying.pop(replica) for replica in gone]
            self.socket.send(Report(exited, names, output))
            self._reported = now

    def _output(self) -> dict[int, bytes]:
        read: dict[int, bytes] = {}
        room = _REPORT_BYTES
        for replica, log in self._logs.items():
            if text := log.read(min(_OUTPUT_BYTES, room)):
                read[replica] = text
                room -= len(text)
        return read

    def _leave(self, grace_s: float) -> None:
        self._cluster.close(grace_s)
        while output := self._output():
            self.socket.send(Report(output=output))
