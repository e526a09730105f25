import threading
import time
from itertools import chain, repeat

import pytest

from sut.clock import OwnPause, RunClock

SECOND = 1_000_000_000
EPOCH = 1_795_000_000 * SECOND


class Host:
    """Two clocks of a host, set by hand."""

    def __init__(self) -> None:
        self.monotonic, self.wall = 5 * SECOND, EPOCH
        self.clock = RunClock(lambda: self.wall, lambda: self.monotonic)

    def run(self, seconds: float, speed: float = 1.0) -> None:
        """Let time pass; `speed` is that of both clocks, as NTP's slewing has it."""
        self.monotonic += int(seconds * speed * SECOND)
        self.wall += int(seconds * speed * SECOND)


def test_setting_the_hosts_clock_changes_no_time() -> None:
    host = Host()
    assert host.clock.now_ns() == EPOCH
    host.run(3)
    host.wall -= 3600 * SECOND
    assert host.clock.now_ns() == EPOCH + 3 * SECOND


def test_a_step_is_seen_once_and_its_drift_stays() -> None:
    host = Host()
    host.run(2)
    host.clock.watch()
    host.run(1)
    assert host.clock.look() == 0
    host.wall -= SECOND
    host.run(1)
    assert host.clock.look() == -SECOND
    host.run(1)
    assert host.clock.look() == 0
    host.wall += SECOND
    assert host.clock.look() == SECOND
    record = host.clock.record()
    assert record.largest_drift_ns == -SECOND
    assert record.epoch_ns == EPOCH - 5 * SECOND
    assert (record.begin_ns, record.end_ns) == (EPOCH + 2 * SECOND, EPOCH + 5 * SECOND)


def test_small_steps_add_up() -> None:
    host = Host()
    host.clock.watch()
    steps = 0
    for _ in range(40):
        host.wall += 400_000
        steps += host.clock.look()
    assert host.clock.record().largest_drift_ns == 16_000_000
    assert steps == pytest.approx(16_000_000, abs=1_000_000)


def test_what_happened_before_the_test_does_not_count() -> None:
    host = Host()
    host.wall += 60 * SECOND
    assert host.clock.look() == 0
    host.clock.watch()
    assert host.clock.look() == 0
    assert host.clock.record().largest_drift_ns == 0


def test_slewing_is_no_drift() -> None:
    host = Host()
    host.clock.watch()
    host.run(600, speed=1.0005)
    assert host.clock.look() == 0
    assert host.clock.record().largest_drift_ns == 0


def test_an_interrupted_reading_does_not_count() -> None:
    # Each reading asks the monotonic clock before and after the other one; the thread
    # is held up for 50 ms in all but the last of the second reading's tries.
    calm = (0, 0)
    held_up = (0, 50_000_000)
    begin, slow = chain(calm, calm, [0]), chain.from_iterable(repeat(held_up, 7))
    times = chain(begin, [0], slow, calm, repeat(0))
    clock = RunClock(lambda: EPOCH, times.__next__)
    clock.watch()
    assert clock.look() == 0
    assert clock.record().largest_drift_ns == 0


class Seconds:
    """A clock in seconds and the processor time of the thread, both set by hand."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now, self.worked_s = 100.0, 0.0
        patch.setattr(time, "thread_time", lambda: self.worked_s)

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> Seconds:
    return Seconds(monkeypatch)


def test_own_pauses_are_found_by_ticks(seconds: Seconds) -> None:
    pause = OwnPause(seconds)
    seconds.now += 0.2
    assert pause.look() == 0
    seconds.now += 15
    assert pause.look() == 15
    assert pause.look() == 0


def test_a_thread_at_work_does_not_pause(seconds: Seconds) -> None:
    pause = OwnPause(seconds)
    seconds.now += 15
    seconds.worked_s += 14
    assert pause.look() == 0
    seconds.now += 15
    seconds.worked_s += 5
    assert pause.look() == 10


def test_a_pause_is_no_silence(seconds: Seconds) -> None:
    pause = OwnPause(seconds)
    seconds.now += 15
    pause.look()
    assert pause.excuse(98.0) == 113.0
    assert pause.excuse(100.5) == seconds.now, "never in the future"
    seconds.now += 0.2
    pause.look()
    assert pause.excuse(98.0) == 98.0


def test_a_pause_is_no_longer_where_another_thread_looks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    pause = OwnPause(lambda: now[0])
    monkeypatch.setattr(pause, "_worked_s", pause._worked_s + 60)
    now[0] += 15
    absent_s: list[float] = []
    thread = threading.Thread(target=lambda: absent_s.append(pause.look()))
    thread.start()
    thread.join()
    assert absent_s == [15.0]
