"""Real processes, really killed."""

import os
import signal
from pathlib import Path

import pytest

from tests.integration.command import SYNTHETIC, Command, alive, kill_group

pytestmark = pytest.mark.integration
SLOW = [
    *SYNTHETIC,
    "dataset.count=600",
    "engine.step_s=0.02",
    "engine.output_tokens=32",
    "engine.max_num_seqs=64",
]
# One replica holds about 57 queries/s: its queue must not grow when it is alone.
SERVER = ["scenario=server", "scenario.target_qps=30", "run.min_queries=150"]


@pytest.mark.parametrize(
    ("scenario", "count"),
    [(["scenario=offline"], 600), (SERVER, 150)],
    ids=["off", "srv"],
)
def test_a_killed_replica_loses_nothing(
    tmp_path: Path, scenario: list[str], count: int
) -> None:
    command = Command(tmp_path, *SLOW, *scenario)
    pids = command.replica_pids()
    command.wait_for_samples(count // 6)
    kill_group(pids[0])
    done = command.finish()
    assert done.is_good, done.err
    assert len(done.samples) == count
    assert {s.seq for s in done.samples} == set(range(count))
    assert {s.status for s in done.samples} == {"completed"}
    assert max(s.attempt for s in done.samples) == 2
    assert done.verdict.degraded
    assert not done.verdict.submission_candidate
    kinds = {event.kind for event in done.events}
    assert {"death", "fence", "retry"} <= kinds
    assert "degraded" in done.out


def test_a_stopped_replica_is_fenced(tmp_path: Path) -> None:
    command = Command(tmp_path, *SLOW, "cluster.heartbeat_timeout_s=3")
    pids = command.replica_pids()
    command.wait_for_samples(100)
    os.kill(pids[1], signal.SIGSTOP)
    done = command.finish()
    assert done.code == 0, done.err
    assert len(done.samples) == 600
    assert any("no heartbeat" in event.cause for event in done.events)
    assert alive(pids) == []


def test_without_a_replica_the_run_aborts_soon(tmp_path: Path) -> None:
    command = Command(tmp_path, *SLOW)
    pids = command.replica_pids()
    command.wait_for_samples(100)
    for pid in pids:
        kill_group(pid)
    done = command.finish(10)
    assert done.code == 3
    assert "no replica is left" in done.err
    assert "Traceback" not in done.err
    assert done.verdict.outcome == "aborted"
    assert len(done.samples) == 600
    assert {s.status for s in done.samples} == {"completed", "lost"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("phase", ["start", "run"])
def test_an_interrupt_leaves_nothing_behind(
    tmp_path: Path, number: int, phase: str
) -> None:
    command = Command(tmp_path, *SLOW)
    pids: list[int] = []
    if phase == "run":
        pids = command.replica_pids()
        command.wait_for_samples(100)
    else:
        command.wait_for(lambda: (command.folder / "replicas").exists(), "a replica")
    command.signal(number)
    done = command.finish(10)
    assert done.code == 3, done.err
    assert "aborted: interrupted by" in done.err
    assert "Traceback" not in done.err
    assert done.verdict.outcome == "aborted"
    assert alive(pids) == []


def test_a_killed_coordinator_takes_its_replicas_along(tmp_path: Path) -> None:
    command = Command(tmp_path, *SLOW)
    pids = command.replica_pids()
    command.wait_for_samples(100)
    command.signal(signal.SIGKILL)
    command.finish(10)
    assert alive(pids) == []
