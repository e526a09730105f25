"""Faults of every kind, planted at random times, and what the analysis says of them.

Effect sizes: 35% more arrivals, 30% longer prompts, steps 40% longer from throttling or
a lower clock and 50% from a neighbor, 8 ms of idle GPU after each step of 6 to 12 ms, a
KV cache that holds half of what the load needs, 50 ms in the network, 60% longer steps
in a cold start, 15% longer steps at the end of a drift. Spans last 8 to 20% of the run.
"""

import numpy as np

from report.timeline.analysis import bin_width
from report.timeline.episodes import Episode, find_episodes
from report.timeline.series import Inputs, make_series
from tests.report.timeline.simulator import Cluster, Plant, even, simulate

SIZES = {
    "arrivals": 1.35,
    "prompts": 1.3,
    "throttled": 1.4,
    "clock": 1.4,
    "gpu": 1.5,
    "host": 8e-3,
    "kv": 0.5,
    "network": 0.05,
    "fenced": 0.0,
    "cold": 1.6,
    "drift": 1.15,
}
_LOAD = ("arrivals", "prompts", "drift", "kv")
"""Kinds that are planted on all replicas."""
_BUSIEST = 0.7
"""Load at most: above it a slower replica does not keep up, and its queue outlasts the
cause by far."""


def planted(
    kind: str,
    seed: int,
    replicas: int = 1,
    hosts: int = 1,
    seconds: float | None = None,
) -> tuple[Cluster, Plant]:
    """Return a cluster with one fault of a kind, in a run of 200 or 300 s."""
    cluster = even(seed, replicas, hosts, seconds or (300 if replicas < 8 else 200))
    cluster.load = min(cluster.load, _BUSIEST)
    draw = np.random.default_rng([seed, 3])
    length = float(draw.uniform(0.08, 0.2)) * cluster.seconds
    begin = float(draw.uniform(0.2, 0.7)) * cluster.seconds
    if kind == "cold":
        begin = 0.0
    if kind == "drift":
        begin, length = 0.0, cluster.seconds
    size = SIZES[kind]
    if kind == "kv":
        size *= cluster.kv_need / cluster.kv_tokens
    single = replicas > 1 and kind not in _LOAD
    plant = Plant(
        kind=kind,
        begin_s=begin,
        end_s=begin + length,
        size=size,
        replicas=[int(draw.integers(replicas))] if single else [],
    )
    cluster.plants = [plant]
    return cluster, plant


def analyzed(inputs: Inputs) -> list[Episode]:
    """Return the episodes of a simulated run."""
    return find_episodes(inputs, make_series(inputs, bin_width(inputs)))


def found(cluster: Cluster) -> list[Episode]:
    """Return the episodes of a cluster's run."""
    return analyzed(simulate(cluster))


def is_right(episodes: list[Episode], plant: Plant, replicas: int) -> bool:
    """Return whether the one episode is what was planted: cause, time and replicas.

    Begin within 10 s and end within 20 s; a drift that the devices do not show may be
    put down to the GPU or to nothing.
    """
    if len(episodes) != 1:
        return False
    one = episodes[0]
    where = plant.replicas or list(range(replicas))
    if plant.kind == "drift":
        return one.drift and one.cause in ("gpu", "unknown") and one.replicas == where
    return (
        one.cause == plant.kind
        and abs(one.begin_s - plant.begin_s) < 10
        and abs(one.end_s - plant.end_s) < 20
        and one.replicas == where
    )
