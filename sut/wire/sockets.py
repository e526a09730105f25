"""Batched MessagePack over ZeroMQ between coordinator, replicas and nodes.

A ZeroMQ socket belongs to one thread. Both ends therefore let other threads hand in
work through a `Wakeup`, which the socket's own thread polls beside the socket.
"""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec
import zmq
from zmq.utils.monitor import parse_monitor_message

from base.decode import DecodeError, decode_with
from sut.wire.keys import ClusterKey
from sut.wire.messages import (
    Completion,
    Failed,
    FirstToken,
    Generate,
    Outputs,
    Request,
    ToCoordinator,
    ToReplica,
)
from sut.wire.wakeup import Wakeup

Incoming = TypeVar("Incoming")

_Entry = TypeVar("_Entry", FirstToken, Completion, Failed)

_LINGER_MS = 1000
_HANDSHAKE_MS = 5000
"""Time that a client has to prove that it holds the key; libzmq allows 30 s. Each
open connection costs a descriptor."""
_PART_BYTES = 1 << 20
"""Prompts of one message, beyond which it is split."""
_ANSWERS = 1000
"""Answers of one message, beyond which it is split: 1000 of 128 tokens are 0.6 MB."""
LARGEST_OF_REPLICAS = 8 << 20
"""Bytes of the largest message between coordinator and replicas.

All but samples is small. Samples come in parts of 1 MiB and one prompt more, and a
prompt of a million tokens has 4 MB.
"""
_FRAME_BYTES = 64 << 10
"""Bytes of one frame of a message to a listening socket.

libzmq buffers a frame whole before it looks at it, also one from a client that has not
proved its key. A connection that announces a larger frame is closed before it takes
memory, so what such clients can hold is this much for each open connection.
"""
_FRAME_ROOM = 1 << 10
"""Most bytes that CURVE adds to a frame."""
_REFUSED = (
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)


class ProtocolError(Exception):
    """Received bytes are not a valid message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a socket listens."""

    address: str
    """ZeroMQ's form: `ipc://PATH`, or `tcp://HOST:PORT`, where PORT may be `*`: any."""
    key: ClusterKey | None = None
    """Needed beyond this host: without it any client that reaches the port is let in.
    """


class ListeningSocket(Generic[Incoming]):
    """One ROUTER socket; clients are distinguished by their identity."""

    def __init__(self, endpoint: Endpoint, incoming: Any, largest: int) -> None:
        """Listen.

        Args:
            endpoint: where.
            incoming: type of the messages that come.
            largest: bytes of the largest message that is taken in, over all frames.

        Raises:
            OSError: nothing can listen there.
        """
        self.address = endpoint.address
        self._largest = largest
        self.closed = False
        self.wakeup = Wakeup()
        self._context = zmq.Context()
        frame = _FRAME_BYTES + _FRAME_ROOM
        self._socket = _new_socket(self._context, zmq.ROUTER, frame)
        # Without it what is sent to a vanished peer would be dropped silently.
        self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.HANDSHAKE_IVL, _HANDSHAKE_MS)
        key = endpoint.key
        self._authenticator = None if key is None else key.guard_server(self._socket)
        try:
            self._socket.bind(self.address)
        except zmq.ZMQError as error:
            self.close()
            number = error.errno or 0
            raise OSError(number, os.strerror(number), self.address) from error
        if self.address.endswith(":*"):
            self.address = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
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
        """Return (identity, message), or None if there is no message.

        If a message cannot be decoded, the ProtocolError takes its place.
        """
        try:
            identity, *frames = self._socket.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return None
        name = identity.decode(errors="replace")
        if (size := sum(map(len, frames))) > self._largest:
            return name, ProtocolError(f"{size} bytes, more than {self._largest}")
        try:
            return name, decode_with(self._decoder, b"".join(frames))
        except DecodeError as error:
            return name, ProtocolError(str(error))

    def send(self, identity: str, message: msgspec.Struct) -> bool:
        """Send; return False if no client with that identity is connected."""
        try:
            self._socket.send_multipart(
                [identity.encode(), self._encoder.encode(message)], zmq.NOBLOCK
            )
        except zmq.ZMQError:
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
        self,
        address: str,
        identity: str,
        key: ClusterKey | None,
        incoming: Any,
        largest: int,
    ) -> None:
        """Connect; the connection is made in the background.

        Args:
            address: where the other end listens, in ZeroMQ's form.
            identity: name that the other end knows this one by.
            key: that of the other end, where it has one.
            incoming: type of the messages that come.
            largest: bytes of the largest message that is taken in.
        """
        self.lost = False
        """Whether the connection was lost, and possibly messages with it."""
        self.refused = False
        """Whether the process that listens there refused this key."""
        self.wakeup = Wakeup()
        self._context = zmq.Context()
        self._socket = _new_socket(self._context, zmq.DEALER, largest)
        # However this process ends, it must not wait for ever for a peer to listen.
        self._socket.setsockopt(zmq.LINGER, _LINGER_MS)
        self._socket.setsockopt(zmq.IDENTITY, identity.encode())
        if key is not None:
            key.guard_client(self._socket)
        self._monitor = self._socket.get_monitor_socket(
            zmq.EVENT_DISCONNECTED | _REFUSED
        )
        self._address = address
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
        """Return the next message, or None if there is none.

        Raises:
            ProtocolError: the other end sent something else.
        """
        try:
            frame = self._socket.recv(zmq.NOBLOCK)
        except zmq.Again:
            return None
        try:
            message: Incoming = decode_with(self._decoder, frame)
        except DecodeError as error:
            raise ProtocolError(str(error)) from error
        return message

    def send(self, message: msgspec.Struct) -> bool:
        """Queue `message` for sending; return False if the other end is gone.

        libzmq gives a connection up that the other end refuses. It would wait for ever
        for another one.
        """
        data = self._encoder.encode(message)
        frames = [
            data[begin : begin + _FRAME_BYTES]
            for begin in range(0, len(data), _FRAME_BYTES)
        ]
        try:
            self._socket.send_multipart(frames, zmq.NOBLOCK)
        except zmq.Again:
            self._watch()
            self.lost = True
            return False
        return True

    def connect_again(self) -> None:
        """Connect again after `send` has returned False."""
        # To an address that is still on its list libzmq connects no second time.
        with contextlib.suppress(zmq.ZMQError):
            self._socket.disconnect(self._address)
        self._socket.connect(self._address)

    def close(self) -> None:
        """Send queued messages for at most a second, then close."""
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
        super().__init__(endpoint, ToCoordinator, LARGEST_OF_REPLICAS)

    def send(self, identity: str, message: msgspec.Struct) -> bool:
        """Send, in parts; return False if no client with that identity is connected."""
        if not isinstance(message, Generate):
            return super().send(identity, message)
        return all(
            super(CoordinatorSocket, self).send(identity, Generate(part))
            for part in _parts(message.requests)
        )


class ReplicaSocket(ConnectedSocket[ToReplica]):
    """A replica's end."""

    def __init__(
        self, address: str, identity: str, key: ClusterKey | None = None
    ) -> None:
        """Connect; the connection is made in the background."""
        super().__init__(address, identity, key, ToReplica, LARGEST_OF_REPLICAS)

    def send(self, message: msgspec.Struct) -> bool:
        """Queue `message`, in parts; return False if the coordinator is gone."""
        if not isinstance(message, Outputs):
            return super().send(message)
        first, done, failed = message.first, message.done, message.failed
        if len(first) + len(done) + len(failed) <= _ANSWERS:
            return super().send(message)
        # First tokens come before the answers that they begin.
        parts = [
            *(Outputs(part, [], [], 0, 0) for part in _slices(first)),
            *(Outputs([], part, [], 0, 0) for part in _slices(done)),
            *(Outputs([], [], part, 0, 0) for part in _slices(failed)),
        ]
        for part in parts:
            part.waiting, part.received = message.waiting, message.received
        return all([super(ReplicaSocket, self).send(part) for part in parts])


def _new_socket(
    context: "zmq.Context[zmq.Socket[bytes]]", kind: int, largest: int
) -> "zmq.Socket[bytes]":
    """Return a socket that takes frames of at most `largest` bytes."""
    socket: zmq.Socket[bytes] = context.socket(kind)
    # With a limit a slow peer would cost messages silently, or hold up its sender.
    socket.setsockopt(zmq.SNDHWM, 0)
    socket.setsockopt(zmq.RCVHWM, 0)
    socket.setsockopt(zmq.IPV6, 1)
    socket.setsockopt(zmq.MAXMSGSIZE, largest)
    return socket


def _parts(requests: list[Request]) -> Iterator[list[Request]]:
    """Yield `requests` in order, in lists of about 1 MiB."""
    part: list[Request] = []
    size = 0
    for request in requests:
        part.append(request)
        size += len(request.prompt)
        if size >= _PART_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part


def _slices(entries: list[_Entry]) -> Iterator[list[_Entry]]:
    for begin in range(0, len(entries), _ANSWERS):
        yield entries[begin : begin + _ANSWERS]
