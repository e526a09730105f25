import time

import pytest

from sut.clock import clock_id
from sut.replica.link import CoordinatorClock
from sut.wire.messages import ClockReading


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic_ns", lambda: 10_000)


def test_on_one_host_both_clocks_are_the_same() -> None:
    clock = CoordinatorClock()
    clock.shared = True
    assert clock.offset() == (0, 0)
    assert clock_id() == clock_id()


def test_nothing_is_known_before_the_first_exchange() -> None:
    assert CoordinatorClock().offset() is None


def test_the_shortest_round_trip_counts() -> None:
    clock = CoordinatorClock()
    # The coordinator's clock is 5,000,000 ahead; ways there and back differ.
    for sent, way_there, way_back in [(1000, 500, 100), (3000, 40, 60), (6000, 900, 9)]:
        reading = ClockReading(sent, sent + way_there + 5_000_000)
        clock.note(reading, sent + way_there + way_back)
    offset, error = clock.offset() or (0, 0)
    assert error == 50
    assert abs(offset - 5_000_000) <= error


def test_an_old_exchange_is_worth_less(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = CoordinatorClock()
    clock.note(ClockReading(0, 5_000_050), 100)
    monkeypatch.setattr(time, "monotonic_ns", lambda: 100_000_000_100)
    assert clock.offset() == (5_000_000, 50 + 5_000_000)
    clock.note(ClockReading(100_000_000_000, 100_005_001_000), 100_000_000_100)
    assert clock.offset() == (5_000_950, 50)


def test_an_answer_to_what_was_never_sent_is_left_out() -> None:
    clock = CoordinatorClock()
    clock.note(ClockReading(500, 0), 400)
    assert clock.offset() is None


def test_a_reading_may_come_while_another_thread_asks() -> None:
    clock = CoordinatorClock()

    class Meanwhile(int):
        """Has a reading noted while the readings are compared."""

        def __rsub__(self, now: int) -> int:
            clock.note(ClockReading(0, 5_000_050), 100)
            return now - int(self)

    clock.note(ClockReading(0, 5_000_050), Meanwhile(100))
    assert clock.offset() == (5_000_000, 50)
