"""Batched MessagePack over ZeroMQ between the coordinator and its replicas.

A ZeroMQ socket belongs to one thread. Both ends therefore let other threads hand in
work through a `Wakeup`, which the socket's own thread polls beside the socket.
"""

import os
from pathlib import Path
from typing import Any

import msgspec
import zmq

from sut.messages import ToCoordinator, ToReplica


class ProtocolError(Exception):
    """Bytes that are no message of ours."""


class Wakeup:
    """Lets any thread interrupt the poll of another (an eventfd).

    Whoever has put work somewhere calls `set`; the poller calls `clear` once `fd` is
    readable, and looks for work after that. A `set` while another stands costs nothing.
    """

    def __init__(self) -> None:
        """Make the descriptor."""
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._is_set = False

    def set(self) -> None:
        """Make the poll return."""
        if not self._is_set:
            self._is_set = True
            os.eventfd_write(self.fd, 1)

    def clear(self) -> None:
        """Forget earlier calls of `set`."""
        # In this order: a `set` between the two lines is seen by the look that follows.
        os.eventfd_read(self.fd)
        self._is_set = False

    def close(self) -> None:
        """Release the descriptor."""
        os.close(self.fd)


class CoordinatorSocket:
    """The coordinator's end: one ROUTER socket, replicas by identity.

    It listens on a Unix socket.
    """

    def __init__(self, folder: Path) -> None:
        """Bind in `folder`.

        Raises:
            OSError: the folder cannot hold a socket.
        """
        path = folder / "socket"
        self.address = f"ipc://{path}"
        self.wakeup = Wakeup()
        self._context = zmq.Context()
        self._socket: zmq.Socket[bytes] = self._context.socket(zmq.ROUTER)
        # Without these a slow or vanished replica would cost messages, silently.
        self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self._socket.setsockopt(zmq.SNDHWM, 0)
        self._socket.setsockopt(zmq.RCVHWM, 0)
        self._socket.setsockopt(zmq.LINGER, 0)
        try:
            self._socket.bind(self.address)
        except zmq.ZMQError as error:
            self._context.destroy(linger=0)
            raise OSError(f"{path}: {error}; set TMPDIR elsewhere") from error
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        self._poller.register(self.wakeup.fd, zmq.POLLIN)
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(
            ToCoordinator
        )

    def poll(self, timeout_s: float) -> None:
        """Wait for a message, a wakeup or the timeout."""
        ready = self._poller.poll(round(timeout_s * 1000))
        if any(source == self.wakeup.fd for source, _ in ready):
            self.wakeup.clear()

    def receive(self) -> tuple[str, ToCoordinator | ProtocolError] | None:
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

    def send(self, identity: str, message: ToReplica) -> bool:
        """Send; return False where no such replica is connected."""
        try:
            self._socket.send_multipart(
                [identity.encode(), self._encoder.encode(message)], zmq.NOBLOCK
            )
        except (zmq.Again, zmq.ZMQError):
            return False
        return True

    def close(self) -> None:
        """Close the socket."""
        self._context.destroy(linger=0)
        self.wakeup.close()


class ReplicaSocket:
    """A replica's end: one DEALER socket."""

    def __init__(self, address: str, identity: str) -> None:
        """Connect; the connection is made in the background."""
        self.wakeup = Wakeup()
        self._context = zmq.Context()
        self._socket: zmq.Socket[bytes] = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.IDENTITY, identity.encode())
        self._socket.setsockopt(zmq.SNDHWM, 0)
        self._socket.setsockopt(zmq.RCVHWM, 0)
        self._socket.connect(address)
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        self._poller.register(self.wakeup.fd, zmq.POLLIN)
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(ToReplica)

    def poll(self, timeout_s: float) -> None:
        """Wait for a message, a wakeup or the timeout."""
        ready = self._poller.poll(round(timeout_s * 1000))
        if any(source == self.wakeup.fd for source, _ in ready):
            self.wakeup.clear()

    def receive(self) -> ToReplica | None:
        """Return the next message, or None where nothing waits.

        Raises:
            ProtocolError: the coordinator sent something else.
        """
        try:
            frame = self._socket.recv(zmq.NOBLOCK)
        except zmq.Again:
            return None
        try:
            message: ToReplica = self._decoder.decode(frame)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ProtocolError(str(error)) from error
        return message

    def send(self, message: ToCoordinator) -> None:
        """Queue `message` for sending."""
        self._socket.send(self._encoder.encode(message))

    def close(self) -> None:
        """Send what is queued, for a second at most, and close."""
        self._context.destroy(linger=1000)
        self.wakeup.close()
