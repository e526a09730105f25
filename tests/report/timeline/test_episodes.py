"""Episodes of every kind are found, where and when they were; even runs have none."""

import time

import numpy as np
import pytest

from report.timeline.analysis import Analysis, bin_width
from report.timeline.episodes import find_episodes
from report.timeline.series import Inputs, Readings, Requests, make_series
from tests.report.timeline.planted import SIZES, analyzed, found, is_right, planted
from tests.report.timeline.simulator import Plant, even, simulate

SLOW = ("throttled", "clock", "gpu", "host", "network", "cold", "fenced")


@pytest.mark.parametrize("kind", [kind for kind in SIZES if kind != "fenced"])
def test_a_planted_fault_of_a_single_replica_is_named(kind: str) -> None:
    cluster, plant = planted(kind, seed=3, seconds=200)
    episodes = found(cluster)
    assert is_right(episodes, plant, 1), episodes


@pytest.mark.parametrize("kind", SLOW)
def test_a_planted_fault_names_its_replica_and_no_other(kind: str) -> None:
    cluster, plant = planted(kind, seed=2, replicas=2, seconds=150)
    episodes = found(cluster)
    assert is_right(episodes, plant, 2), episodes


def test_all_replicas_of_a_host_name_the_host() -> None:
    cluster = even(4, replicas=6, hosts=3, seconds=120)
    cluster.load = 0.6
    cluster.plants = [
        Plant(kind="host", begin_s=60, end_s=80, size=8e-3, replicas=[2, 3])
    ]
    (one,) = found(cluster)
    assert (one.cause, one.where) == ("host", ["n2"])
    assert abs(one.begin_s - 60) < 6


def test_all_hosts_name_the_run() -> None:
    cluster = even(5, replicas=4, hosts=2, seconds=120)
    cluster.load = 0.6
    cluster.plants = [Plant(kind="gpu", begin_s=60, end_s=80, size=1.5)]
    (one,) = found(cluster)
    assert (one.cause, one.where, one.replicas) == ("gpu", [], [0, 1, 2, 3])


def test_two_faults_at_once_are_two_episodes() -> None:
    cluster = even(6, replicas=2, seconds=300)
    cluster.load = 0.5
    cluster.plants = [
        Plant(kind="arrivals", begin_s=60, end_s=100, size=1.35),
        Plant(kind="throttled", begin_s=180, end_s=220, size=1.4, replicas=[1]),
    ]
    first, second = found(cluster)
    assert (first.cause, second.cause) == ("arrivals", "throttled")
    assert second.where == ["replica 1"]


def test_without_telemetry_of_gpus_the_time_is_named_and_no_cause() -> None:
    cluster, plant = planted("throttled", seed=1, seconds=200)
    cluster.gpu = False
    (one,) = found(cluster)
    assert one.cause == "unknown"
    assert abs(one.begin_s - plant.begin_s) < 10


@pytest.mark.integration
def test_even_runs_hold_no_episode() -> None:
    false = [s for s in range(50) if found(even(s, seconds=25))]
    assert false == []


def test_runs_without_requests_hold_no_episode() -> None:
    none = np.zeros(0)
    whole = np.zeros(0, np.int64)
    inputs = Inputs(
        requests=Requests(
            replica=whole,
            arrived=none,
            first=none,
            completed=none,
            prompt_tokens=whole,
            output_tokens=whole,
            outside=none,
        ),
        names=["replica 0"],
        host=np.zeros(1, np.int64),
        hosts=["n1"],
    )
    assert analyzed(inputs) == []


def test_the_recorded_run_waited_for_its_host(recorded: Analysis) -> None:
    (one,) = recorded.episodes
    assert one.cause == "host"
    assert one.where == ["vm"]
    assert 33 < one.begin_s < 43
    assert 78 < one.end_s < 110
    assert one.felt_until_s >= one.end_s
    facts = {fact.name: fact for fact in one.evidence}
    assert facts["GPU utilization"].inside < facts["GPU utilization"].outside - 8
    assert facts["SM clock"].inside > facts["SM clock"].outside
    assert facts["replica's process"].inside > facts["replica's process"].outside
    assert facts["arrivals"].inside < facts["arrivals"].outside
    assert "idle while requests waited" in one.text


@pytest.mark.integration
def test_a_million_requests_of_512_replicas_take_seconds() -> None:
    draw = np.random.default_rng(0)
    count, replicas, seconds = 1_000_000, 512, 600
    arrived = np.sort(draw.uniform(0, seconds, count))
    first = arrived + draw.exponential(0.1, count)
    t_s = np.tile(np.arange(seconds) + 0.5, replicas)
    owner = np.repeat(np.arange(replicas), seconds)
    inputs = Inputs(
        requests=Requests(
            replica=draw.integers(0, replicas, count),
            arrived=arrived,
            first=first,
            completed=first + draw.normal(2.5, 0.2, count),
            prompt_tokens=draw.integers(200, 1500, count),
            output_tokens=np.full(count, 128),
            outside=draw.exponential(0.002, count),
        ),
        names=[f"replica {i}" for i in range(replicas)],
        host=np.arange(replicas) // 8,
        hosts=[f"n{i}" for i in range(64)],
        readings={
            name: Readings(t_s=t_s, replica=owner, value=draw.normal(mean, 1, len(t_s)))
            for name, mean in (("utilization_pct", 95), ("sm_clock_mhz", 1800))
        },
        poisson=True,
    )
    begin = time.process_time()
    assert find_episodes(inputs, make_series(inputs, bin_width(inputs))) == []
    assert time.process_time() - begin < 20


@pytest.mark.acceptance
@pytest.mark.parametrize("replicas", [1, 2, 8])
@pytest.mark.parametrize("kind", SIZES)
def test_nearly_all_planted_faults_are_right(kind: str, replicas: int) -> None:
    if kind == "fenced" and replicas == 1:
        pytest.skip("a run without a replica ends")
    right = 0
    for seed in range(100, 140):
        cluster, plant = planted(kind, seed, replicas, hosts=1 + replicas // 4)
        right += is_right(found(cluster), plant, replicas)
    assert right >= 38


@pytest.mark.acceptance
def test_at_most_one_even_run_in_a_hundred_has_a_finding() -> None:
    false = [
        (seed, replicas)
        for seed in range(1000, 1900)
        for replicas in ((1, 2) if seed % 9 else (1, 2, 8, 8))
        if analyzed(simulate(even(seed, replicas, 1 + replicas // 4, 120)))
    ]
    assert len(false) <= 20
