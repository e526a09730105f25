import re
from types import SimpleNamespace

import pytest

from conf.schema import LiveView
from record.status import RunStatus
from sut.balancers import RoundRobin
from sut.clock import RunClock
from sut.coordinator.coordinator import Coordinator
from sut.coordinator.dispatcher import (
    Dispatcher,
    Sample,
)
from sut.coordinator.live import RunView
from sut.coordinator.replica import Replica, State
from sut.coordinator.responses import (
    RecentLatencies,
)


class FakeCoordinator:
    """What the view reads of a coordinator."""

    def __init__(self) -> None:
        self.dispatcher = Dispatcher(RoundRobin(), [100] * 10, [128] * 10)
        self.answers = SimpleNamespace(latencies=RecentLatencies())
        self.replicas = SimpleNamespace(
            by_number={0: Replica(0, "n1"), 1: Replica(1, "n1")}, fences=2
        )
        self.replicas.active = lambda: list(self.replicas.by_number.values())
        self.clock = RunClock()
        self.recorded: list[RunStatus] = []
        self.recorder = SimpleNamespace(step_tokens=0, status=self.recorded.append)


@pytest.mark.parametrize("kind", [LiveView.plain, LiveView.rich])
def test_progress_is_shown(kind: LiveView, capsys: pytest.CaptureFixture[str]) -> None:
    coordinator = FakeCoordinator()
    with RunView(coordinator, kind) as view:  # type: ignore[arg-type]
        view.update()
        dispatcher = coordinator.dispatcher
        for number in (0, 1):
            dispatcher.add_replica(number, "n1", None)
        dispatcher.issue([(0, range(10), range(10))])
        view.begin_run(10)
        view.update()
        for batch in dispatcher.assign(0).values():
            sample = batch[0]
            sample.first_token_ns = 5_000_000
            coordinator.answers.latencies.add((sample, 132_000_000, 128))
            dispatcher.complete(sample, 128, 132_000_000)
        view.begin_run(10)
        view.update()
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().err)
    shown = " ".join(plain.split())
    assert "2 starting" in shown
    assert "2/10 done" in shown
    assert "8 in flight" in shown
    assert "2 replicas lost" in shown
    assert "TTFT p50/p99 5/5 ms" in shown
    assert "TPOT p50/p99 1.0/1.0 ms" in shown
    assert "ETA" in shown


class Playback:
    """A view of an Offline run, second by second, of 256 samples in waves of 64."""

    EXPECTED, WAVE, PERIOD_S = 256, 64, 30

    def __init__(self) -> None:
        self.coordinator, self.now = FakeCoordinator(), 0.0
        dispatcher = Dispatcher(RoundRobin(), [100], [128])
        self.coordinator.dispatcher = dispatcher
        self.coordinator.replicas.fences = 0
        for replica in self.coordinator.replicas.active():
            replica.enter(State.READY)
            dispatcher.add_replica(replica.number, "n1", None)
        dispatcher.issue([(0, range(self.EXPECTED), [0] * self.EXPECTED)])
        batches = dispatcher.assign(0).values()
        self._left = [sample for pair in zip(*batches, strict=True) for sample in pair]
        coordinator: Coordinator = self.coordinator  # type: ignore[assignment]
        self.view = RunView(coordinator, LiveView.plain, lambda: self.now)
        self.view.begin_run(self.EXPECTED)

    def at(self, second: float) -> None:
        """Advance, and show what there is to show."""
        self.now = second
        done = self.EXPECTED - len(self._left)
        for sample in self._left[: int(second / self.PERIOD_S) * self.WAVE - done]:
            self.coordinator.dispatcher.complete(sample, 128, 0)
            self._left.remove(sample)
        for replica in self.coordinator.replicas.active():
            replica.running = min(self.WAVE, len(self._left)) // 2
        self.view.update()


def test_a_rate_that_is_not_known_is_not_shown_as_0(
    capsys: pytest.CaptureFixture[str],
) -> None:
    playback = Playback()
    for second in (0, 10, 20):
        playback.at(second)
    before = capsys.readouterr().err
    assert "0/256 done, 256 in flight, 64 running" in before
    assert "tokens/s" not in before
    assert "ETA" not in before
    playback.at(30)
    assert (
        "64/256 done (38%), 192 in flight, 64 running, 2.13 samples/s, 273 tokens/s"
        in (capsys.readouterr().err)
    )


def test_the_time_left_does_not_jump(capsys: pytest.CaptureFixture[str]) -> None:
    playback, message = Playback(), []
    for second in range(30, 120, 10):
        playback.at(second)
        (eta,) = re.findall(r"ETA (\d+) s", capsys.readouterr().err)
        message.append(second + int(eta))
    assert min(message) > 120 * 0.65
    assert max(message) < 120 * 1.35
    assert abs(message[-1] - 120) < 20


def test_offline_counts_tokens_from_the_first_steps_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Engines report steps each second; answers come in waves of 30 s."""
    playback, ends = Playback(), []
    total = playback.EXPECTED * (100 + 128)
    for second in range(5, 120, 5):
        playback.coordinator.recorder.step_tokens = total * second // 120
        playback.at(second)
        status = playback.coordinator.recorded[-1]
        assert status.progress == pytest.approx(second / 120, abs=0.001)
        ends.append(second + (status.eta_s or 0))
    assert min(ends) > 119
    assert max(ends) < 121
    assert "0/256 done (12%)" in capsys.readouterr().err


def test_a_slow_start_does_not_outlast_the_first_answers() -> None:
    """In its first seconds a run may do a thousandth of its work."""
    playback = Playback()
    total = playback.EXPECTED * (100 + 128)
    for second in range(1, 9):
        share = 0.002 if second <= 3 else (second - 3) / 10
        playback.coordinator.recorder.step_tokens = int(total * share)
        playback.now = second
        playback.view.update()
    eta = playback.coordinator.recorded[-1].eta_s
    assert eta is not None
    # 8 s at the mean speed so far; the first estimate was 500 s.
    assert 4 < eta < 25


def test_the_last_state_is_recorded(capsys: pytest.CaptureFixture[str]) -> None:
    playback = Playback()
    with playback.view:
        playback.at(0)
        playback.at(120)
    status = playback.coordinator.recorded[-1]
    assert (status.state, status.completed, status.issued) == ("running", 256, 256)
    assert (status.progress, status.eta_s) == (1.0, 0.0)
    assert [replica.finished for replica in status.replicas] == [128, 128]


@pytest.mark.parametrize("count", [1, 2, 10, 100, 150])
def test_percentiles_are_those_of_loadgen(count: int) -> None:
    """LoadGen takes an element of the sorted list; it does not interpolate."""
    recent = RecentLatencies()
    ttft = [(i * 37 % 101 + 1) ** 2 for i in range(count)]
    tpot = [(i * 53 % 103 + 1) ** 2 for i in range(count)]
    for seq, (first, each) in enumerate(zip(ttft, tpot, strict=True)):
        begun = 1_000 + first * 1_000_000
        sample = Sample(seq, seq, seq, 5, 1_000, first_token_ns=begun)
        recent.add((sample, begun + 10 * each * 1_000_000, 11))
    for place in (50, 99):
        index = min(count - 1, count * place // 100)
        assert recent.ttft_ms(place) == pytest.approx(sorted(ttft)[index])
        assert recent.tpot_ms(place) == pytest.approx(sorted(tpot)[index])
