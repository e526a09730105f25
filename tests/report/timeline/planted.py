"""Faults of every kind, planted at random times, and what the analysis says of them.

Each seed has parameters of its own: the cluster's (`simulator.even`), and of the fault
its size, begin and length. Where `SIZES` says from x to y, the size is drawn uniformly.
"""

from dataclasses import dataclass

import numpy as np

from report.timeline.analysis import bin_width
from report.timeline.episodes import Episode, find_episodes
from report.timeline.series import Inputs, make_series
from tests.report.timeline.simulator import Cluster, Plant, even, simulate

SIZES = {
    "arrivals": (1.3, 1.5),
    "prompts": (1.25, 1.45),
    "throttled": (1.3, 1.6),
    "clock": (1.3, 1.6),
    "power": (1.3, 1.6),
    "gpu": (1.3, 1.6),
    "host": (0.6, 1.0),
    "kv": (0.4, 0.6),
    "network": (0.03, 0.08),
    "fenced": (0.0, 0.0),
    "cold": (1.4, 1.8),
    "drift": (1.15, 1.15),
}
"""Factor on arrivals, prompt lengths or steps; idle GPU after each step in units of a
step's base; KV cache in units of what the load needs; seconds in the network; factor on
steps at the end of a drift."""
OF_ALL = ("arrivals", "prompts", "drift", "kv")
"""Kinds that are planted on all replicas."""
OF_ONE = tuple(kind for kind in SIZES if kind not in OF_ALL)
_NAMED = {"power": "clock"}
"""Cause of a kind, where it has another name."""
_BUSIEST = 0.7
"""Load at most: above it a slower replica does not keep up, and its queue outlasts the
cause by far."""
_SHARE = (0.05, 0.2)
"""Length of a fault, as a share of the run."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A cluster's size and where its fault is."""

    replicas: int = 1
    hosts: int = 1
    where: str = "one"
    """`one` replica, one `host`, or `all`."""
    offline: bool = False

    @property
    def name(self) -> str:
        """What a table says."""
        if self.replicas == 1:
            return "1 replica"
        host = f"one of {self.hosts} hosts, {self.replicas} replicas"
        name = {
            "one": f"one of {self.replicas}",
            "host": host,
            "all": f"all {self.replicas}",
        }[self.where]
        return f"{name}, Offline" if self.offline else name


def cluster_of(seed: int, shape: Shape, seconds: float | None = None) -> Cluster:
    """Return a cluster that a fault can be planted in.

    Every other seed has step records, half of these with asynchronous scheduling.
    """
    seconds = seconds or (300 if shape.replicas < 8 else 200)
    cluster = even(seed, shape.replicas, shape.hosts, seconds)
    cluster.load = min(cluster.load, _BUSIEST)
    cluster.offline = shape.offline
    return cluster


def planted(
    kind: str,
    seed: int,
    shape: Shape = Shape(),
    seconds: float | None = None,
) -> tuple[Cluster, Plant]:
    """Return a cluster with one fault of a kind, in a run of 200 or 300 s."""
    cluster = cluster_of(seed, shape, seconds)
    draw = np.random.default_rng([seed, 3])
    length = float(draw.uniform(*_SHARE)) * cluster.seconds
    begin = float(draw.uniform(0.15, 0.7)) * cluster.seconds
    plant = _plant(kind, cluster, shape, draw, begin, length)
    cluster.plants = [plant]
    return cluster, plant


def several(seed: int, shape: Shape, at_once: bool = False) -> Cluster:
    """Return a cluster with two faults of two kinds.

    They are on two replicas; with one replica, one after the other. Two faults that
    have the same name in the report are not planted together.
    """
    cluster = cluster_of(seed, shape)
    draw = np.random.default_rng([seed, 4])
    kinds = [
        str(kind)
        for kind in draw.permutation(
            [k for k in OF_ONE if k not in ("fenced", "cold", "power")]
        )
    ]
    begins = draw.uniform(0.15, 0.3, 2) + (0.0 if at_once else np.array([0, 0.4]))
    for kind, begin in zip(kinds[:2], begins, strict=True):
        plant = _plant(
            kind,
            cluster,
            shape,
            draw,
            float(begin) * cluster.seconds,
            float(draw.uniform(*_SHARE)) * cluster.seconds,
        )
        taken = [r for other in cluster.plants for r in other.replicas]
        if plant.replicas and plant.replicas[0] in taken:
            plant.replicas = [(plant.replicas[0] + 1) % shape.replicas]
        cluster.plants.append(plant)
    return cluster


def _plant(
    kind: str,
    cluster: Cluster,
    shape: Shape,
    draw: np.random.Generator,
    begin: float,
    length: float,
) -> Plant:
    size = float(draw.uniform(*SIZES[kind]))
    replicas: list[int] = []
    if kind not in OF_ALL and shape.replicas > 1 and shape.where != "all":
        chosen = int(draw.integers(shape.replicas))
        replicas = [chosen]
        if shape.where == "host":
            host = chosen * shape.hosts // shape.replicas
            replicas = [
                r
                for r in range(shape.replicas)
                if r * shape.hosts // shape.replicas == host
            ]
    if kind == "cold":
        begin = 0.0
    if kind == "drift":
        begin, length = 0.0, cluster.seconds
    if kind == "kv":
        size *= cluster.kv_need / cluster.kv_tokens
    if kind == "host":
        size *= cluster.base
    return Plant(
        kind=kind, begin_s=begin, end_s=begin + length, size=size, replicas=replicas
    )


def analyzed(inputs: Inputs) -> list[Episode]:
    """Return the episodes of a simulated run."""
    return find_episodes(inputs, make_series(inputs, bin_width(inputs)))


def found(cluster: Cluster) -> list[Episode]:
    """Return the episodes of a cluster's run."""
    return analyzed(simulate(cluster))


def is_right(episodes: list[Episode], *plants: Plant, replicas: int = 1) -> bool:
    """Return whether the episodes are what was planted: cause, time and replicas.

    Begin within 10 s and end within 20 s; a drift that the devices do not show may be
    put down to the GPU or to nothing.
    """
    if len(episodes) != len(plants):
        return False
    return all(any(_is(one, plant, replicas) for one in episodes) for plant in plants)


def _is(one: Episode, plant: Plant, replicas: int) -> bool:
    where = plant.replicas or list(range(replicas))
    if plant.kind == "drift":
        return one.drift and one.cause in ("gpu", "unknown") and one.replicas == where
    return (
        one.cause == _NAMED.get(plant.kind, plant.kind)
        and abs(one.begin_s - plant.begin_s) < 10
        and abs(one.end_s - plant.end_s) < 20
        and one.replicas == where
    )
