"""Real vLLM on a Ray cluster of three nodes on this host: minutes each."""

import os
import time
from pathlib import Path

import psutil
import pytest

from tests.integration.command import Command, Finished, alive
from tests.integration.test_ray import nothing_is_left, ray
from tests.ray_nodes import RayNodes
from tests.tiny_llama import write_tiny_llama

__all__ = ["nothing_is_left", "ray"]
pytestmark = [pytest.mark.integration, pytest.mark.acceptance]
COUNT = 24
SMALL = ["engine.cpu_kv_cache_gib=1", "engine.warmup_requests=2"]
THREE = ["cluster.replicas=3", "cluster.order=spread", *SMALL]
SERVER = ["scenario=server", "scenario.target_qps=0.5", f"run.min_queries={COUNT}"]
_START_S = 400
"""Longest start: three engines load at once on few cores."""
_RUN_S = 590


def node_of(ray: RayNodes, pid: int) -> int:
    """Return the number of the node on which a replica runs."""
    parents = [os.getpgid(parent.pid) for parent in psutil.Process(pid).parents()]
    return next(number for number, one in enumerate(ray.groups) if one in parents)


def check_valid(done: Finished, count: int, nodes: int) -> None:
    assert done.code == 0, done.err + done.out
    assert done.verdict.outcome == "passed"
    assert {s.seq for s in done.samples} == set(range(count))
    assert {s.status for s in done.samples} == {"completed"}
    assert len({record.node for record in done.replicas}) == nodes
    assert len({s.replica for s in done.samples}) == len(done.replicas)
    assert all(record.versions["vllm"] for record in done.replicas)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return options for a model that takes seconds, where SmolLM2 takes minutes."""
    checkpoint = write_tiny_llama(tmp_path_factory.mktemp("tiny"))
    return ["model=custom", f"model.path={checkpoint}", "dataset=synthetic"]


@pytest.mark.parametrize("scenario", [["scenario=offline"], SERVER], ids=lambda s: s[0])
def test_smollm2_on_three_nodes(
    ray: RayNodes, tmp_path: Path, scenario: list[str]
) -> None:
    options = [*THREE, *scenario, f"run.min_queries={COUNT}", *ray.overrides]
    done = Command(tmp_path, *options).finish(_RUN_S)
    check_valid(done, len(done.samples), nodes=3)
    assert len(done.samples) >= COUNT
    assert not done.verdict.degraded
    print(f"{scenario[0]}: {done.seconds:.0f} s, {len(done.samples)} samples")


def test_a_dead_node_loses_nothing_and_its_replica_is_replaced(
    ray: RayNodes, tmp_path: Path, tiny: list[str]
) -> None:
    # Two replicas, so that one node is free for the new engine; and long enough for it
    # to load, which takes minutes on busy cores.
    count = 300
    options = ["cluster.replicas=2", "cluster.order=spread", *SMALL, *tiny]
    options += ["cluster.restarts=1", f"dataset.count={count}"]
    options += ["scenario=server", "scenario.target_qps=1", f"run.min_queries={count}"]
    command = Command(tmp_path, *options, *ray.overrides)
    command.wait_for(command.folder.replicas.exists, "replicas.json", _START_S)
    pids = command.replica_pids()
    command.wait_for_samples(count // 6, _RUN_S)
    killed = time.time_ns()
    ray.kill(max(node_of(ray, pid) for pid in pids))
    done = command.finish(_RUN_S)
    ray.add()
    assert done.lost_nothing, done.err + done.out
    assert {s.seq for s in done.samples} == set(range(count))
    assert {s.status for s in done.samples} == {"completed"}
    assert done.verdict.degraded
    times = {e.kind: (e.t_ns - killed) / 1e9 for e in done.events if e.kind != "retry"}
    print(f"seconds after the node was killed: {times}; run {done.seconds:.0f} s")
    assert {"fence", "rejoin"} <= times.keys()
    assert alive(pids) == []
    again = [s for s in done.samples if s.attempt > 1]
    print(f"{len(again)} samples were sent again")


def test_two_runs_at_once_and_one_after_them(
    ray: RayNodes, tmp_path: Path, tiny: list[str]
) -> None:
    options = [*tiny, "cluster.replicas=1", "cluster.cpus_per_replica=1"]
    options += ["scenario=offline", "engine.cpu_kv_cache_gib=1", *ray.overrides]
    options += [f"dataset.count={COUNT}"]
    both = [Command(tmp_path / name, *options) for name in ("a", "b")]
    for command in both:
        done = command.finish(_RUN_S)
        check_valid(done, len(done.samples), nodes=1)
    done = Command(tmp_path / "c", *options).finish(_RUN_S)
    check_valid(done, len(done.samples), nodes=1)
