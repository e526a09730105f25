import re
import threading
from types import SimpleNamespace

import pytest

from conf.schema import LiveView
from sut.balancers.round_robin import RoundRobin
from sut.dispatcher import Dispatcher
from sut.latencies import RecentLatencies
from sut.live import RunView
from sut.peers import Peer


class FakeCoordinator:
    """What the view reads of a coordinator."""

    def __init__(self) -> None:
        self.dispatcher = Dispatcher(RoundRobin(), [100] * 10)
        self.answers = SimpleNamespace(latencies=RecentLatencies())
        peers = {0: Peer(0, "n1", "replica-0"), 1: Peer(1, "n1", "replica-1")}
        self.members = SimpleNamespace(peers=peers, fences=2)
        self.ready = threading.Event()


@pytest.mark.parametrize("kind", [LiveView.plain, LiveView.rich])
def test_progress_is_shown(kind: LiveView, capsys: pytest.CaptureFixture[str]) -> None:
    coordinator = FakeCoordinator()
    with RunView(coordinator, kind) as view:  # type: ignore[arg-type]
        view.update()
        coordinator.ready.set()
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
