"""Runs on a Ray cluster of three nodes on this host; what it starts is really killed.

CI runs the first two tests; `make acceptance` runs the others.
"""

import contextlib
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.integration.command import Command, Finished, alive
from tests.ray_nodes import MARK, RayNodes, left_behind
from tests.sut.clusters.contract import wait_for

pytest.importorskip("ray", reason="Ray is not installed: scripts/install.sh ray")
pytestmark = [pytest.mark.integration, pytest.mark.alone]
SAMPLES = 300
SLOW = [
    *("experiment=harness", f"dataset.count={SAMPLES}", "engine.step_s=0.02"),
    *(
        "engine.output_tokens=32",
        "engine.max_num_seqs=16",
        "engine.prefill_s_per_token=0",
    ),
    *("cluster.replicas=3", "cluster.order=spread", "cluster.restarts=1"),
]
QUERIES = 150
SERVER = ["scenario=server", "scenario.target_qps=5", f"run.min_queries={QUERIES}"]
_START_S = 240
"""Longest start of a run here: Ray's processes import for long on a busy host."""


@pytest.fixture(scope="module")
def ray() -> Iterator[RayNodes]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        with RayNodes() as nodes:
            patch.setenv(MARK, nodes.token)
            yield nodes


@pytest.fixture(autouse=True)
def nothing_is_left(ray: RayNodes) -> Iterator[None]:
    before = set(Path(tempfile.gettempdir()).glob("mlperf-sut-*-*"))
    yield
    wait_for(lambda: left_behind(ray.token) == [], f"end of {left_behind(ray.token)}")
    # Those of other runs on this host come and go.
    own = [
        folder
        for folder in set(Path(tempfile.gettempdir()).glob("mlperf-sut-*-*")) - before
        if not psutil.pid_exists(int(folder.name.split("-")[2]))
    ]
    assert own == []


def begin(ray: RayNodes, runs: Path, *overrides: str) -> tuple[Command, list[int]]:
    """Return a run in which all replicas are ready, and their process ids."""
    command = Command(runs, *SLOW, *ray.overrides, *overrides)
    command.wait_for(command.folder.replicas.exists, "replicas.json", _START_S)
    return command, command.replica_pids()


def check_complete(done: Finished, count: int) -> None:
    assert done.is_good, done.err
    assert {s.seq for s in done.samples} == set(range(count))
    assert {s.status for s in done.samples} == {"completed"}


def test_a_dead_node_loses_nothing_and_its_replica_is_replaced(
    ray: RayNodes, tmp_path: Path
) -> None:
    command, pids = begin(ray, tmp_path, *SERVER)
    command.wait_for_samples(QUERIES // 6)
    killed = time.time_ns()
    ray.kill(-1)
    done = command.finish(_START_S)
    ray.add()
    check_complete(done, QUERIES)
    assert done.verdict.degraded
    times = {e.kind: (e.t_ns - killed) / 1e9 for e in done.events if e.kind != "retry"}
    print(f"seconds after the node was killed: {times}")
    assert {"fence", "rejoin"} <= times.keys()
    assert alive(pids) == []
    names = [record.node for record in done.replicas]
    assert len(set(names)) == 2, "the new one is on a node that lives"


def test_a_killed_coordinator_leaves_nothing(ray: RayNodes, tmp_path: Path) -> None:
    command, pids = begin(ray, tmp_path)
    command.wait_for_samples(20)
    command.signal(signal.SIGKILL)
    command.finish(10)
    wait_for(lambda: alive(pids) == [], "the end of the replicas")


@pytest.mark.acceptance
def test_ctrl_c_leaves_nothing(ray: RayNodes, tmp_path: Path) -> None:
    command, pids = begin(ray, tmp_path)
    command.wait_for_samples(20)
    command.signal(signal.SIGINT)
    done = command.finish(60)
    assert done.code == 3
    assert "aborted: interrupted by SIGINT" in done.err
    assert alive(pids) == []


@pytest.mark.acceptance
def test_ctrl_c_while_ray_starts_agents_leaves_nothing(
    ray: RayNodes, tmp_path: Path
) -> None:
    command = Command(tmp_path, *SLOW, *ray.overrides)
    command.wait_for(lambda: launcher_of(command.pid) is not None, "the launcher", 60)
    time.sleep(4)
    command.signal(signal.SIGINT)
    assert command.finish(60).code == 3


@pytest.mark.acceptance
def test_a_killed_launcher_ends_the_run(ray: RayNodes, tmp_path: Path) -> None:
    command, pids = begin(ray, tmp_path)
    command.wait_for_samples(20)
    launcher = launcher_of(command.pid)
    assert launcher is not None
    os.kill(launcher, signal.SIGKILL)
    done = command.finish(60)
    assert done.code == 3
    assert "launcher" in done.err
    assert alive(pids) == []


@pytest.mark.acceptance
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_lost_agent_is_replaced(ray: RayNodes, tmp_path: Path, number: int) -> None:
    limit = "cluster.heartbeat_timeout_s=4"
    command, pids = begin(ray, tmp_path, *SERVER, limit)
    command.wait_for_samples(QUERIES // 6)
    agent = psutil.Process(pids[1]).ppid()
    os.kill(agent, number)
    done = command.finish(_START_S)
    with contextlib.suppress(ProcessLookupError):  # Ray may have ended it
        os.kill(agent, signal.SIGCONT)
    check_complete(done, QUERIES)
    assert [e.replica for e in done.events if e.kind == "rejoin"] == [1]
    assert alive(pids) == []


@pytest.mark.acceptance
def test_two_runs_at_once_and_one_after_them(ray: RayNodes, tmp_path: Path) -> None:
    # Three nodes of two cores: each of the two gets one core of each node.
    both = [Command(tmp_path / name, *SLOW, *ray.overrides) for name in ("a", "b")]
    for command in both:
        check_complete(command.finish(2 * _START_S), SAMPLES)
    third = Command(tmp_path / "c", *SLOW, *ray.overrides, "cluster.replicas=auto")
    done = third.finish(_START_S)
    check_complete(done, SAMPLES)
    assert len(done.replicas) == 6


@pytest.mark.acceptance
def test_a_ray_cluster_is_started_where_there_is_none(tmp_path: Path) -> None:
    size = ("cluster.replicas=2", "cluster.cpus_per_replica=1")
    command = Command(tmp_path, *SLOW, "cluster=ray", "cluster.address=local", *size)
    done = command.finish(_START_S)
    assert done.code == 0, done.err
    assert len(done.replicas) == 2


@pytest.mark.acceptance
@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("cluster.replicas=7", "7 replica(s) of 0 GPU and 1 CPU each do not fit"),
        ("cluster.gpus_per_replica=1", "no node of the Ray cluster has more than 0"),
        ("cluster.labels.number=9", "no node of the Ray cluster has the labels"),
        ("cluster.address=127.0.0.1:1", "cluster.address=127.0.0.1:1: "),
        ("cluster.listen=192.0.2.77:5555", "cluster.listen=192.0.2.77:5555: "),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    ray: RayNodes, tmp_path: Path, override: str, message: str
) -> None:
    done = Command(tmp_path, *SLOW, *ray.overrides, override).finish(_START_S)
    assert done.code == 2
    error = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert len(error) == 1
    assert message in error[0]


def test_without_ray_the_remedy_is_named(tmp_path: Path) -> None:
    # An empty module of that name: what is installed cannot be taken away here.
    (tmp_path / "ray.py").write_text("raise ImportError('No module named ray')")
    command = Command(tmp_path, *SLOW, "cluster=ray", env={"PYTHONPATH": str(tmp_path)})
    done = command.finish(60)
    assert done.code == 2
    assert "Ray is not installed" in done.err
    assert "pip install" in done.err


def launcher_of(pid: int) -> int | None:
    """Return the launcher of a coordinator."""
    for child in psutil.Process(pid).children():
        if "sut.launcher" in child.cmdline():
            return child.pid
    return None
