"""Episodes of every kind are found, where and when they were; even runs have none."""

from functools import partial

import numpy as np
import pytest

from report.timeline.analysis import Analysis, bin_width
from report.timeline.episodes import find_episodes
from report.timeline.grid import Readings
from report.timeline.series import Inputs, Requests, make_series
from tests.calls import calls_of
from tests.report.timeline.planted import (
    OF_ONE,
    SIZES,
    Shape,
    analyzed,
    found,
    is_right,
    planted,
    several,
)
from tests.report.timeline.simulator import Plant, even


@pytest.mark.parametrize("seed", [4, pytest.param(3, marks=pytest.mark.integration)])
@pytest.mark.parametrize("kind", [kind for kind in SIZES if kind != "fenced"])
def test_a_planted_fault_of_a_single_replica_is_named(kind: str, seed: int) -> None:
    cluster, plant = planted(kind, seed, seconds=200 if seed % 2 else 150)
    assert cluster.steps == (seed % 2 == 1)
    episodes = found(cluster)
    assert is_right(episodes, plant), episodes


@pytest.mark.integration
@pytest.mark.parametrize("kind", OF_ONE)
def test_a_planted_fault_names_its_replica_and_no_other(kind: str) -> None:
    cluster, plant = planted(kind, seed=2, shape=Shape(2), seconds=120)
    episodes = found(cluster)
    assert is_right(episodes, plant, replicas=2), episodes


@pytest.mark.integration
def test_two_faults_at_once_on_two_replicas_are_two_episodes() -> None:
    cluster = several(3, Shape(2), at_once=True)
    episodes = found(cluster)
    assert is_right(episodes, *cluster.plants, replicas=2), episodes


@pytest.mark.integration
def test_all_replicas_of_a_host_name_the_host() -> None:
    cluster = even(4, replicas=6, hosts=3, seconds=80)
    cluster.load = 0.6
    cluster.plants = [
        Plant(kind="host", begin_s=40, end_s=52, size=8e-3, replicas=[2, 3])
    ]
    (one,) = found(cluster)
    assert (one.cause, one.where) == ("host", ["n2"])
    assert abs(one.begin_s - 40) < 6


@pytest.mark.integration
def test_all_hosts_name_the_run() -> None:
    cluster = even(5, replicas=4, hosts=2, seconds=80)
    cluster.load = 0.6
    cluster.plants = [Plant(kind="gpu", begin_s=40, end_s=52, size=1.5)]
    (one,) = found(cluster)
    assert (one.cause, one.where, one.replicas) == ("gpu", [], [0, 1, 2, 3])


@pytest.mark.integration
def test_two_faults_at_once_are_two_episodes() -> None:
    cluster = even(6, replicas=2, seconds=150)
    cluster.load = 0.5
    cluster.plants = [
        Plant(kind="arrivals", begin_s=30, end_s=60, size=1.4),
        Plant(kind="throttled", begin_s=90, end_s=115, size=1.4, replicas=[1]),
    ]
    first, second = found(cluster)
    assert (first.cause, second.cause) == ("arrivals", "throttled")
    assert second.where == ["replica 1"]


def test_without_telemetry_of_gpus_the_time_is_named_and_no_cause() -> None:
    cluster, plant = planted("throttled", seed=4, seconds=150)
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


def _many(count: int, replicas: int) -> Inputs:
    draw = np.random.default_rng(0)
    seconds = 600
    arrived = np.sort(draw.uniform(0, seconds, count))
    first = arrived + draw.exponential(0.1, count)
    t_s = np.tile(np.arange(seconds) + 0.5, replicas)
    owner = np.repeat(np.arange(replicas), seconds)
    return Inputs(
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
        hosts=[f"n{i}" for i in range(-(-replicas // 8))],
        readings={
            name: Readings(t_s=t_s, replica=owner, value=draw.normal(mean, 1, len(t_s)))
            for name, mean in (("utilization_pct", 95), ("sm_clock_mhz", 1800))
        },
        poisson=True,
    )


def _episodes_of(inputs: Inputs) -> None:
    assert find_episodes(inputs, make_series(inputs, bin_width(inputs))) == []


@pytest.mark.integration
def test_no_loop_runs_over_requests() -> None:
    calls = {}
    for count in (20_000, 200_000):
        inputs = _many(count, 64)
        calls[count] = calls_of(partial(_episodes_of, inputs))
    assert calls[200_000] < 1.5 * calls[20_000]


@pytest.mark.integration
@pytest.mark.parametrize(("kind", "seed"), [("gpu", 3), ("host", 3), ("clock", 4)])
def test_a_short_fault_of_one_replica_is_named_offline(kind: str, seed: int) -> None:
    shape = Shape(3, 3, offline=True)
    cluster, plant = planted(kind, seed, shape, seconds=60)
    episodes = found(cluster)
    assert is_right(episodes, plant, replicas=3), episodes
