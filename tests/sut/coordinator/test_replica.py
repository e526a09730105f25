import time

import pytest

from conf.clusters import ClusterConfig
from sut.coordinator.replica import Replica, State, health_problem

CONFIG = ClusterConfig(
    name="local", load_timeout_s=300, heartbeat_timeout_s=10, step_timeout_s=60
)


def _replica(*, ready: bool) -> Replica:
    replica = Replica(0, "n1")
    if ready:
        replica.enter(State.READY)
    return replica


def test_a_healthy_replica_is_fit() -> None:
    assert health_problem(_replica(ready=True), CONFIG, time.monotonic()) is None


def test_silence_is_noticed_sooner_once_ready() -> None:
    now = time.monotonic() + 20
    assert "no heartbeat for 2" in str(
        health_problem(_replica(ready=True), CONFIG, now)
    )
    assert health_problem(_replica(ready=False), CONFIG, now) is None
    assert "no heartbeat" in str(
        health_problem(_replica(ready=False), CONFIG, now + 110)
    )


def test_a_start_that_takes_too_long_is_noticed() -> None:
    replica = _replica(ready=False)
    replica.heard = time.monotonic() + 300
    assert "not ready after 300 s" in str(
        health_problem(replica, CONFIG, time.monotonic() + 301)
    )


def test_an_engine_that_is_stuck_is_noticed() -> None:
    replica = _replica(ready=True)
    replica.stuck_s = 61
    assert "stuck for 61.0 s" in str(health_problem(replica, CONFIG, time.monotonic()))


def test_a_state_follows_from_the_last_alone() -> None:
    replica = _replica(ready=True)
    with pytest.raises(ValueError, match="ready to restarting"):
        replica.enter(State.RESTARTING)
    replica.enter(State.FENCED)
    assert not replica.active
    replica.enter(State.LOST)
    for state in State:
        with pytest.raises(ValueError, match="lost to"):
            replica.enter(state)


def test_a_new_process_begins_without_the_faults_of_the_last() -> None:
    replica = _replica(ready=True)
    replica.unreachable, replica.stuck_s = True, 61.0
    replica.enter(State.FENCED)
    replica.enter(State.RESTARTING)
    replica.begin_process("replica-0-2")
    assert replica.active
    assert health_problem(replica, CONFIG, time.monotonic()) is None
