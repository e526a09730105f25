"""Batched MessagePack over ZeroMQ between the coordinator and its replicas.

A ZeroMQ socket belongs to one thread. Both ends therefore let other threads hand in
work through a `Wakeup`, which the socket's own thread polls beside the socket.
"""

import os
import shutil
from pathlib import Path
from tempfile import gettempdir, mkdtemp
from typing import Any

import msgspec
import zmq

from sut.messages import ToCoordinator, ToReplica

_PREFIX = "mlperf-sut-"


class ProtocolError(Exception):
    """Bytes that are no message of ours."""


class Wakeup:
    """Lets any thread interrupt the poll of another (an eventfd)."""

    def __init__(self) -> None:
        """Make the descriptor."""
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def set(self) -> None:
        """Make the poll return."""
        os.eventfd_write(self.fd, 1)

    def clear(self) -> None:
        """Forget earlier calls of `set`."""
        try:
            os.eventfd_read(self.fd)
        except BlockingIOError:
            return

    def close(self) -> None:
        """Release the descriptor."""
        os.close(self.fd)


def _sweep() -> None:
    """Remove the sockets of coordinators that were killed."""
    for folder in Path(gettempdir()).glob(f"{_PREFIX}*-*"):
        pid = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(folder, ignore_errors=True)


class CoordinatorSocket:
    """The coordinator's end: one ROUTER socket, replicas by identity.

    It listens on a Unix socket in a folder that only this user may enter.
    """

    def __init__(self) -> None:
        """Bind.

        Raises:
            OSError: the temporary folder cannot hold a socket.
        """
        _sweep()
        self._folder = Path(mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
        self._path = self._folder / "socket"
        self.address = f"ipc://{self._path}"
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
            self._folder.rmdir()
            raise OSError(f"{self._path}: {error}; set TMPDIR elsewhere") from error
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        self._poller.register(self.wakeup.fd, zmq.POLLIN)
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(
            ToCoordinator
        )

    def poll(self, timeout_s: float) -> None:
        """Wait for a message, a wakeup or the timeout."""
        self._poller.poll(round(timeout_s * 1000))
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
        """Close the socket and remove its file."""
        self._context.destroy(linger=0)
        self.wakeup.close()
        self._path.unlink(missing_ok=True)
        self._folder.rmdir()


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
        self._poller.poll(round(timeout_s * 1000))
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
