import threading
import time
from pathlib import Path

import pytest

from sut.replica.link import ReplicaLink
from sut.wire.sockets import CoordinatorSocket, Endpoint


def test_an_engine_is_not_stuck_while_its_process_is_paused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"ipc://{tmp_path}/socket"
    coordinator = CoordinatorSocket(Endpoint(address=address))
    link = ReplicaLink(address, "replica-0", None)
    try:
        poll, waits, paused = link._socket.poll, threading.Event(), threading.Event()

        def pausing(timeout_s: float) -> None:
            waits.set()
            paused.wait(10)
            poll(timeout_s)

        monkeypatch.setattr(link._socket, "poll", pausing)
        link._socket.wakeup.set()
        assert waits.wait(10)
        link.stepped(busy=True)
        real = time.monotonic
        monkeypatch.setattr(time, "monotonic", lambda: real() + 90)
        assert link._heartbeat().stuck_s > 80, "not known yet"
        waits.clear()
        link._socket.wakeup.set()
        paused.set()
        assert waits.wait(10)
        assert link._heartbeat().stuck_s < 80
    finally:
        link.close()
        coordinator.close()
