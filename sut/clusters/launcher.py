"""The coordinator's end of the launcher, the process that speaks with Ray."""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

import msgspec

from base.child import module_command, module_environment
from base.decode import DecodeError, decode_with
from base.errors import Aborted, SutError, UserError
from sut.wire.launcher_messages import Ended, Failed, FromLauncher, Shut, ToLauncher

_POLL_S = 0.02
_LEAVE_S = 25.0
"""Longest that the launcher may take to leave Ray."""
_CHUNK = 1 << 16


class Launcher:
    """A process `python -m sut.launcher`; nothing here waits except `close`."""

    def __init__(self, log: Path) -> None:
        """Start it.

        Args:
            log: file that takes its output, and Ray's.

        Raises:
            OSError: it cannot be started.
        """
        with log.open("ab") as output:
            # Apart from this process group: a terminal's Ctrl-C is for the coordinator.
            self._process = subprocess.Popen(
                module_command("sut.launcher"),
                env=module_environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                start_new_session=True,
            )
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)
        self._buffer = b""
        self._decoder: msgspec.json.Decoder[FromLauncher] = msgspec.json.Decoder(
            FromLauncher
        )
        self.lost: str | None = None
        """Why it does not work any more."""

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    def send(self, message: ToLauncher) -> None:
        """Send a message; a launcher that is gone is noticed by `receive`."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError, ValueError):
            self._process.stdin.write(msgspec.json.encode(message) + b"\n")
            self._process.stdin.flush()

    def receive(self) -> FromLauncher | None:
        """Return the next message, or None where nothing waits."""
        line, newline, rest = self._buffer.partition(b"\n")
        if not newline and self._read():
            line, newline, rest = self._buffer.partition(b"\n")
        if not newline:
            return None
        self._buffer = rest
        try:
            message = decode_with(self._decoder, line)
        except DecodeError as error:
            message = Failed(cause=f"invalid message: {error}", misconfigured=False)
        if isinstance(message, Failed):
            self.lost = self.lost or message.cause
        return message

    def _read(self) -> bool:
        """Read what has come; note that the launcher is gone when its output ends."""
        assert self._process.stdout is not None
        if self._process.stdout.closed:
            return False
        try:
            data = os.read(self._process.stdout.fileno(), _CHUNK)
        except BlockingIOError:
            return False
        except OSError as error:
            data, self.lost = b"", self.lost or f"cannot be read: {error.strerror}"
        if not data:
            self.lost = self.lost or "has ended"
        self._buffer += data
        return bool(data)

    def close(self) -> None:
        """Have it leave Ray and end; kill it where it does not."""
        self.send(Shut())
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(OSError):
            process.stdin.close()
        deadline = time.monotonic() + _LEAVE_S
        while process.poll() is None and time.monotonic() < deadline:
            # What it still sends must not block it.
            self._read()
            time.sleep(_POLL_S)
        if process.poll() is None:
            # With what it has started on this host; its guard cleans up.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        process.stdout.close()


def as_error(message: Ended | Failed, subject: str) -> SutError:
    """Return the exception that ends the run for what the launcher reports."""
    cause = (
        f"{subject} {message.cause}" if isinstance(message, Ended) else message.cause
    )
    return UserError(cause) if message.misconfigured else Aborted(cause)
