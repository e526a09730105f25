import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from record.steps import STEP
from sut.engines.synthetic import SyntheticEngine
from sut.replica.link import ReplicaLink
from sut.wire.messages import ClockReading, Heartbeat, Phase, Steps
from sut.wire.sockets import CoordinatorSocket, Endpoint
from tests.sut.engines.contract import MAX_TOKENS, request, run, spec
from tests.sut.engines.test_synthetic import OPTIONS


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


def test_steps_come_by_the_coordinators_clock(tmp_path: Path) -> None:
    ahead_ns = 7_000_000_000
    address = f"ipc://{tmp_path}/socket"
    coordinator = CoordinatorSocket(Endpoint(address=address))
    link = ReplicaLink(address, "replica-0", None)
    engine = SyntheticEngine(spec(options=OPTIONS, steps=True))
    steps: list[Steps] = []

    def serve(until: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 10
        while not until():
            assert time.monotonic() < deadline
            coordinator.poll(0.05)
            while (received := coordinator.receive()) is not None:
                message = received[1]
                if isinstance(message, Heartbeat):
                    assert message.sent_ns, "no ReplicaSpec says that the clock is one"
                    now_ns = time.monotonic_ns() + ahead_ns
                    answer = ClockReading(message.sent_ns, now_ns)
                    coordinator.send(received[0], answer)
                elif isinstance(message, Steps):
                    steps.append(message)

    try:
        run(engine, request(0))
        link.record_steps(engine)
        before_ns = time.monotonic_ns()
        run(engine, request(1, 50))
        after_ns = time.monotonic_ns()
        serve(lambda: link.clock.offset() is not None)
        link.send_last_steps()
        serve(lambda: bool(steps) and steps[-1].last)
    finally:
        link.close()
        coordinator.close()
    records = np.concatenate([np.frombuffer(s.records, STEP) for s in steps])
    assert records["prefill_tokens"].sum() == 50, "what came before is left out"
    error_ns = max(s.clock_error_ns for s in steps)
    assert 0 < error_ns < 1_000_000_000
    starts = records["start_ns"] - ahead_ns
    assert before_ns - error_ns <= starts[0] <= starts[-1] <= after_ns + error_ns
    assert [s.missing for s in steps] == [0] * len(steps)


def test_steps_come_after_what_was_queued_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"ipc://{tmp_path}/socket"
    coordinator = CoordinatorSocket(Endpoint(address=address))
    link = ReplicaLink(address, "replica-0", None)
    link.clock.shared = True
    try:
        poll, waits, go_on = link._socket.poll, threading.Event(), threading.Event()

        def pausing(timeout_s: float) -> None:
            waits.set()
            go_on.wait(10)
            poll(timeout_s)

        monkeypatch.setattr(link._socket, "poll", pausing)
        link._socket.wakeup.set()
        assert waits.wait(10)
        link.send(Phase("ready"))
        link.record_steps(SyntheticEngine(spec(options=OPTIONS, steps=True)))
        link._send_steps()
        go_on.set()
        kinds: list[type] = []
        deadline = time.monotonic() + 10
        while Steps not in kinds:
            assert time.monotonic() < deadline
            coordinator.poll(0.05)
            while (received := coordinator.receive()) is not None:
                kinds.append(type(received[1]))
        assert Phase in kinds
        assert kinds.index(Phase) < kinds.index(Steps)
    finally:
        go_on.set()
        link.close()
        coordinator.close()


def test_steps_without_a_known_clock_are_missing(tmp_path: Path) -> None:
    address = f"ipc://{tmp_path}/socket"
    coordinator = CoordinatorSocket(Endpoint(address=address))
    link = ReplicaLink(address, "replica-0", None)
    engine = SyntheticEngine(spec(options=OPTIONS, steps=True))
    try:
        run(engine, request(0))
        message = link._steps(engine, last=True)
    finally:
        link.close()
        coordinator.close()
    assert message == Steps(b"", MAX_TOKENS, 0, True)
