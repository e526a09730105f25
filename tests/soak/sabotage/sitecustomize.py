"""Makes a replica misbehave on demand; loaded by Python itself where it is on the path.

The replica runs the product's own code in its own process. `SABOTAGE` names a folder:
a file there with the replica's number holds the name of the fault to commit next; it
is renamed to `<number>.<time in ns>.<fault>` at the moment when the fault is committed.
"""

import os
import resource
import sys
import threading
import time
from pathlib import Path
from typing import Any

FAULTS = {
    *("hang", "crash", "out-of-memory", "refuse", "late", "twice", "stranger"),
    *("garbage", "cut-short", "deaf", "telemetry", "never-opens"),
}
LATE_S = 1.5


class Saboteur:
    """Commits one fault at a time."""

    def __init__(self, folder: Path, replica: str) -> None:
        self._file = folder / replica
        self.pending: str | None = None
        self._monitor_fails = False
        threading.Thread(target=self._watch, daemon=True).start()

    def commit(self, *faults: str) -> str | None:
        """Return the pending fault if it is one of these, and note that it happens."""
        fault = self.pending
        if fault not in faults:
            return None
        self.pending = None
        self._file.rename(f"{self._file}.{time.time_ns()}.{fault}")
        return fault

    def _watch(self) -> None:
        while True:
            if self.pending is None and self._file.exists():
                name = self._file.read_text().strip()
                self.pending = name if name in FAULTS else None
            time.sleep(0.01)


class SabotagedEngine:
    """An engine, but for faults in `add` and `step`."""

    def __init__(self, engine: Any, saboteur: Saboteur) -> None:
        self._engine, self._saboteur = engine, saboteur

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def add(self, request: Any) -> None:
        if self._saboteur.commit("refuse"):
            from sut.engines.base import RequestError

            raise RequestError("refused by the saboteur")
        self._engine.add(request)

    def step(self) -> Any:
        match self._saboteur.commit("hang", "crash", "out-of-memory"):
            case "hang":
                time.sleep(3600)
            case "crash":
                raise RuntimeError("CUDA error: an illegal memory access")
            case "out-of-memory":
                used = int(Path("/proc/self/statm").read_text().split()[0])
                limit = used * resource.getpagesize() + (64 << 20)
                resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
                bytearray(1 << 32)
        return self._engine.step()


def sabotage(replica: str, folder: Path) -> None:
    """Put the hooks in place."""
    saboteur = Saboteur(folder, replica)
    import sut.engines.factory as factory
    import sut.telemetry as telemetry
    import sut.wire.sockets as transport
    from sut.wire.messages import Completion, Outputs

    make_engine = factory.make_engine

    def make_sabotaged(*arguments: Any) -> Any:
        return SabotagedEngine(make_engine(*arguments), saboteur)

    hooked: Any = factory
    hooked.make_engine = make_sabotaged
    read = telemetry.DeviceMonitor.read
    blind = threading.Event()

    def read_or_fail(self: Any) -> Any:
        if saboteur.commit("telemetry"):
            blind.set()
        if blind.is_set():
            raise OSError("the sensor is gone")
        return read(self)

    monitor: Any = telemetry.DeviceMonitor
    monitor.read = read_or_fail
    connect = transport.ReplicaSocket.__init__
    send, poll = transport.ReplicaSocket.send, transport.ReplicaSocket.poll
    held: list[tuple[float, Any]] = []

    def connect_or_not(self: Any, address: str, identity: str, key: Any) -> None:
        time.sleep(0.05)
        if saboteur.commit("never-opens"):
            address += "-elsewhere"
        connect(self, address, identity, key)

    def send_or_not(self: Any, message: Any) -> None:
        if isinstance(message, Outputs) and (message.done or message.first):
            match saboteur.commit(
                "late", "twice", "stranger", "garbage", "cut-short", "deaf"
            ):
                case "late":
                    held.append((time.monotonic() + LATE_S, message))
                    return
                case "twice":
                    send(self, message)
                case "stranger":
                    answer = Completion(10**9, 1, b"\0" * 8, "length", 0, 0, 0, 0)
                    message.done.append(answer)
                case "garbage":
                    self._socket.send(b"\xc1 no message")
                case "cut-short":
                    self._socket.send(self._encoder.encode(message)[:-3])
                    return
                case "deaf":
                    self._socket.close(linger=0)
                    time.sleep(3600)
            if held:
                held.append((held[-1][0], message))
                return
        send(self, message)

    def poll_and_release(self: Any, timeout_s: float) -> None:
        poll(self, min(timeout_s, 0.05) if held else timeout_s)
        while held and held[0][0] <= time.monotonic():
            send(self, held.pop(0)[1])

    socket: Any = transport.ReplicaSocket
    socket.__init__, socket.send = connect_or_not, send_or_not
    socket.poll = poll_and_release


if "SABOTAGE" in os.environ and "sut.replica" in sys.orig_argv:
    number = sys.orig_argv[sys.orig_argv.index("--replica") + 1]
    sabotage(number, Path(os.environ["SABOTAGE"]))
