"""Batched MessagePack over ZeroMQ between the coordinator and what works for it.

A ZeroMQ socket belongs to one thread. Both ends therefore let other threads hand in
work through a `Wakeup`, which the socket's own thread polls beside the socket.
"""

import os
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec
import zmq
from zmq.utils.monitor import parse_monitor_message

from sut.keys import ClusterKey
from sut.messages import ToCoordinator, ToReplica
from sut.wakeup import Wakeup

Incoming = TypeVar("Incoming")

_LINGER_MS = 1000
_REFUSED = (
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)


class ProtocolError(Exception):
    """Bytes that are no message of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a socket listens."""

    address: str
    """ZeroMQ's form: `ipc://PATH`, or `tcp://HOST:PORT`."""
    key: ClusterKey | None = None
    """Needed beyond this host: without it whoever reaches the port is let in."""


class ListeningSocket(Generic[Incoming]):
    """One ROUTER socket; those who connect are told apart by their identity."""

    def __init__(self, endpoint: Endpoint, incoming: Any) -> None:
        """Listen.

        Args:
            endpoint: where.
            incoming: type of the messages that come.

        Raises:
            OSError: nothing can listen there.
        """
        self.address = endpoint.address
        self.closed = False
        self.wakeup = Wakeup()
        self._context = zmq.Context()
        self._socket: zmq.Socket[bytes] = self._context.socket(zmq.ROUTER)
        # Without these a slow or vanished peer would cost messages, silently.
        self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self._socket.setsockopt(zmq.SNDHWM, 0)
        self._socket.setsockopt(zmq.RCVHWM, 0)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.IPV6, 1)
        key = endpoint.key
        self._authenticator = None if key is None else key.guard_server(self._socket)
        try:
            self._socket.bind(self.address)
        except zmq.ZMQError as error:
            self.close()
            number = error.errno or 0
            raise OSError(number, os.strerror(number), self.address) from error
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        self._poller.register(self.wakeup.fd, zmq.POLLIN)
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(incoming)

    def poll(self, timeout_s: float) -> None:
        """Wait for a message, a wakeup or the timeout."""
        ready = self._poller.poll(round(timeout_s * 1000))
        if any(source == self.wakeup.fd for source, _ in ready):
            self.wakeup.clear()

    def receive(self) -> tuple[str, Incoming | ProtocolError] | None:
        """Return (identity, message) or None where nothing waits.

        A message that cannot be decoded comes as the ProtocolError.
        """
        try:
            identity, *frames = self._socket.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return None
        name = identity.decode(errors="replace")
        try:
            return name, self._decoder.decode(b"".join(frames))
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            return name, ProtocolError(str(error))

    def send(self, identity: str, message: msgspec.Struct) -> bool:
        """Send; return False where nobody of that name is connected."""
        try:
            self._socket.send_multipart(
                [identity.encode(), self._encoder.encode(message)], zmq.NOBLOCK
            )
        except (zmq.Again, zmq.ZMQError):
            return False
        return True

    def close(self) -> None:
        """Close the socket."""
        self.closed = True
        self._socket.close(linger=0)
        if self._authenticator is not None:
            self._authenticator.stop()
        self._context.destroy(linger=0)
        self.wakeup.close()


class ConnectedSocket(Generic[Incoming]):
    """One DEALER socket that connects to a `ListeningSocket`."""

    def __init__(
        self, address: str, identity: str, key: ClusterKey | None, incoming: Any
    ) -> None:
        """Connect; the connection is made in the background.

        Args:
            address: where the other end listens, in ZeroMQ's form.
            identity: name that the other end knows this one by.
            key: that of the other end, where it has one.
            incoming: type of the messages that come.
        """
        self.lost = False
        """Whether the connection was lost: what was under way then may be, too."""
        self.refused = False
        """Whether the other end, or whoever listens there, would not have this key."""
        self.wakeup = Wakeup()
        self._context = zmq.Context()
        self._socket: zmq.Socket[bytes] = self._context.socket(zmq.DEALER)
        # However this process ends, it must not wait for ever for a peer to listen.
        self._socket.setsockopt(zmq.LINGER, _LINGER_MS)
        self._socket.setsockopt(zmq.IDENTITY, identity.encode())
        self._socket.setsockopt(zmq.SNDHWM, 0)
        self._socket.setsockopt(zmq.RCVHWM, 0)
        self._socket.setsockopt(zmq.IPV6, 1)
        if key is not None:
            key.guard_client(self._socket)
        self._monitor = self._socket.get_monitor_socket(
            zmq.EVENT_DISCONNECTED | _REFUSED
        )
        self._socket.connect(address)
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        self._poller.register(self._monitor, zmq.POLLIN)
        self._poller.register(self.wakeup.fd, zmq.POLLIN)
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(incoming)

    def poll(self, timeout_s: float) -> None:
        """Wait for a message, a wakeup, a change of the connection or the timeout."""
        for source, _ in self._poller.poll(round(timeout_s * 1000)):
            if source == self.wakeup.fd:
                self.wakeup.clear()
            elif source is self._monitor:
                self._watch()

    def _watch(self) -> None:
        while self._monitor.poll(0):
            event = parse_monitor_message(self._monitor.recv_multipart())["event"]
            self.lost |= event == zmq.EVENT_DISCONNECTED
            self.refused |= bool(event & _REFUSED)

    def receive(self) -> Incoming | None:
        """Return the next message, or None where nothing waits.

        Raises:
            ProtocolError: the other end sent something else.
        """
        try:
            frame = self._socket.recv(zmq.NOBLOCK)
        except zmq.Again:
            return None
        try:
            message: Incoming = self._decoder.decode(frame)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ProtocolError(str(error)) from error
        return message

    def send(self, message: msgspec.Struct) -> None:
        """Queue `message` for sending."""
        self._socket.send(self._encoder.encode(message))

    def close(self) -> None:
        """Send what is queued, for a second at most, and close."""
        self._socket.disable_monitor()
        self._context.destroy(linger=_LINGER_MS)
        self.wakeup.close()


class CoordinatorSocket(ListeningSocket[ToCoordinator]):
    """The coordinator's end, for its replicas."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Listen.

        Raises:
            OSError: nothing can listen there.
        """
        super().__init__(endpoint, ToCoordinator)


class ReplicaSocket(ConnectedSocket[ToReplica]):
    """A replica's end."""

    def __init__(
        self, address: str, identity: str, key: ClusterKey | None = None
    ) -> None:
        """Connect; the connection is made in the background."""
        super().__init__(address, identity, key, ToReplica)
