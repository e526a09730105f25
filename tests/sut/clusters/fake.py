"""A cluster of replicas that behave as a test says, and as badly.

The process of a replica only waits: it can be stopped, killed and left behind as any
other. A thread of the test speaks for it as long as it runs.
"""

import contextlib
import signal
import subprocess
import threading
import time
from collections.abc import Callable

import msgspec
import zmq

from sut.wire.messages import (
    PROTOCOL,
    Completion,
    FirstToken,
    Generate,
    Hello,
    Outputs,
    Ready,
    ReplicaSpec,
    Request,
    Stop,
    ToReplica,
)
from sut.wire.node_messages import Placement
from tests.run_folder import replica_record

Behavior = Callable[["FakeReplica", list[Request]], None]
TOKENS = b"\x05\x00\x00\x00\x06\x00\x00\x00"


def done(request: Request, tokens: bytes = TOKENS) -> Completion:
    """Return a whole answer."""
    return Completion(request.seq, request.attempt, tokens, "length", 0, 0, 0, 0)


class FakeReplica(threading.Thread):
    """Says hello and ready, then does as its behavior says."""

    def __init__(
        self, number: int, address: str, identity: str, behavior: Behavior
    ) -> None:
        """Start the process, not yet the thread.

        Raises:
            OSError: it cannot be started.
        """
        super().__init__(daemon=True)
        self.number = number
        # Ends with the code that it reads, and with the test, which closes the pipe.
        self.process = subprocess.Popen(
            ["sh", "-c", "read code; exit $code"],
            stdin=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        self._behavior = behavior
        self._address, self._identity = address, identity

    def run(self) -> None:
        context = zmq.Context()
        self._socket = context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.IDENTITY, self._identity.encode())
        self._socket.connect(self._address)
        decoder: msgspec.msgpack.Decoder[ToReplica] = msgspec.msgpack.Decoder(ToReplica)
        self.send(Hello(PROTOCOL, self.process.pid))
        while self.process.poll() is None:
            if not self._socket.poll(20):
                continue
            match decoder.decode(self._socket.recv()):
                case ReplicaSpec():
                    self.send(Ready(replica_record(self.number), 8192))
                case Generate() as message:
                    self._behavior(self, message.requests)
                case Stop():
                    self.exit(0)
                    break
        context.destroy(linger=100)

    def exit(self, code: int) -> None:
        """Have the process exit, unless it was killed before."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError, ValueError):
            self.process.stdin.write(b"%d\n" % code)
        self.process.wait()

    def send(self, message: object) -> None:
        self.send_raw(msgspec.msgpack.encode(message))

    def send_raw(self, data: bytes) -> None:
        self._socket.send(data)

    def answer(self, request: Request, tokens: bytes = TOKENS) -> None:
        """Answer as a good replica does."""
        seq, attempt = request.seq, request.attempt
        first = [FirstToken(seq, attempt, tokens[:4])]
        self.send(Outputs(first, [done(request, tokens)], [], 0, 0))

    def kill(self) -> None:
        """Kill the process, which ends the thread."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdin is not None
        self.process.stdin.close()


class FakeCluster:
    """Implements `Cluster`."""

    def __init__(self, behaviors: list[list[Behavior]]) -> None:
        """Take a list per replica: what it does after each start."""
        self._behaviors = behaviors
        self.lingering: dict[int, int] = {}
        """Replicas of which something is left once they were killed, and how often that
        was asked for."""
        self.replicas: dict[int, FakeReplica] = {}
        self.starts = [0] * len(behaviors)
        self.kinds: dict[tuple[int, int], type[FakeReplica]] = {}
        """Kind of a replica by its number and that of the start."""
        self._dying: dict[int, FakeReplica] = {}

    @property
    def placements(self) -> list[Placement]:
        return [Placement(replica=i, node="n1") for i in range(len(self._behaviors))]

    def start(self, replica: int, address: str, identity: str) -> None:
        if not self._behaviors[replica]:
            raise OSError("no memory")
        behavior = self._behaviors[replica].pop(0)
        self.starts[replica] += 1
        kind = self.kinds.get((replica, self.starts[replica]), FakeReplica)
        self.replicas[replica] = kind(replica, address, identity, behavior)
        self.replicas[replica].start()

    def on_ready(self, replica: int) -> None:
        pass

    def exited(self) -> dict[int, str]:
        codes = {n: replica.process.poll() for n, replica in self.replicas.items()}
        return {n: _ending(code) for n, code in codes.items() if code is not None}

    def kill(self, replica: int) -> None:
        if (fake := self.replicas.pop(replica, None)) is not None:
            fake.kill()
            self._dying[replica] = fake

    def gone(self, replica: int) -> bool:
        if replica in self.lingering:
            self.lingering[replica] += 1
            return False
        fake = self._dying.get(replica)
        return fake is None or not fake.is_alive()

    def close(self, grace_s: float) -> None:
        deadline = time.monotonic() + grace_s
        while len(self.exited()) < len(self.replicas) and time.monotonic() < deadline:
            time.sleep(0.01)
        for replica in list(self.replicas):
            self.kill(replica)


def _ending(code: int) -> str:
    if code >= 0:
        return f"exited with code {code}"
    return f"killed by {signal.Signals(-code).name}"
