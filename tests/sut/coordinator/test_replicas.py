import time

from conf.schema import ClusterConfig
from sut.coordinator.peers import Peer, unfit
from tests.run_folder import replica_record

CONFIG = ClusterConfig(
    name="local", load_timeout_s=300, heartbeat_timeout_s=10, step_timeout_s=60
)


def _peer(*, ready: bool) -> Peer:
    return Peer(0, "n1", "replica-0", record=replica_record(0) if ready else None)


def test_a_healthy_replica_is_fit() -> None:
    assert unfit(_peer(ready=True), CONFIG, time.monotonic()) is None


def test_silence_is_noticed_sooner_once_ready() -> None:
    now = time.monotonic() + 20
    assert "no sign of life for 2" in str(unfit(_peer(ready=True), CONFIG, now))
    assert unfit(_peer(ready=False), CONFIG, now) is None
    assert "no sign of life" in str(unfit(_peer(ready=False), CONFIG, now + 110))


def test_a_start_that_takes_too_long_is_noticed() -> None:
    peer = _peer(ready=False)
    peer.heard = time.monotonic() + 300
    assert "not ready after 300 s" in str(unfit(peer, CONFIG, time.monotonic() + 301))


def test_an_engine_that_is_stuck_is_noticed() -> None:
    peer = _peer(ready=True)
    peer.stuck_s = 61
    assert "stuck for 61.0 s" in str(unfit(peer, CONFIG, time.monotonic()))
