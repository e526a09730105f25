"""How often the report names faults that were planted over time, as Markdown tables.

    python benchmarks/timeline_findings.py [--seeds 100] [--even 2000] [--kinds host,kv]

Simulated runs (`tests/report/timeline/simulator.py`, compiled by numba) are analyzed as
a report does it. Half of the seeds have step records. Exit code 1: fewer than 95% of a
cell's runs were right, or more than 1% of the even runs hold an episode.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numba
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from report.timeline.episodes import Episode
from tests.report.timeline import simulator
from tests.report.timeline.engine import Engine, advance
from tests.report.timeline.planted import (
    OF_ALL,
    SIZES,
    Shape,
    analyzed,
    is_right,
    planted,
    several,
)
from tests.report.timeline.simulator import Cluster, Plant, even

SHAPES = [
    Shape(),
    Shape(2),
    Shape(8, 3),
    Shape(64, 8),
    Shape(8, 4, "host"),
    Shape(64, 8, "host"),
    Shape(8, 4, "all"),
    Shape(8, 3, offline=True),
]
SEVERAL = [Shape(), Shape(2), Shape(8, 3), Shape(64, 8)]
LEAST_RIGHT, MOST_FALSE = 0.95, 0.01
_compiled = numba.njit(advance)
missed: list[str] = []
"""What fell short of these shares."""


def compiled(engine: Engine, columns: list[np.ndarray]) -> tuple[int, list[np.ndarray]]:
    """Run an engine as machine code."""
    return _compiled(engine, *columns), columns


def episodes_of(cluster: Cluster) -> list[Episode]:
    """Return the episodes of a cluster's run."""
    return analyzed(simulator.simulate(cluster, compiled))


class Count:
    """Right answers with and without step records."""

    def __init__(self) -> None:
        self.right, self.tried = {True: 0, False: 0}, {True: 0, False: 0}

    def add(self, steps: bool, right: bool) -> None:
        """Count one run."""
        self.tried[steps] += 1
        self.right[steps] += right

    @property
    def share(self) -> float:
        """Right answers of all runs, as a share."""
        return sum(self.right.values()) / max(1, sum(self.tried.values()))

    def __str__(self) -> str:
        """Return the cell of a table."""
        cells = [f"{self.right[s]}/{self.tried[s]}" for s in (True, False)]
        return ", ".join(cell for cell in cells if cell != "0/0")


def cell(
    make: Callable[[int], Cluster], seeds: range, replicas: int, name: str
) -> Count:
    """Return how many runs were right; what was wrong goes to stderr."""
    count = Count()
    for seed in seeds:
        cluster = make(seed)
        episodes = episodes_of(cluster)
        right = is_right(episodes, *cluster.plants, replicas=replicas)
        count.add(cluster.steps, right)
        if not right:
            print(name, seed, "steps" if cluster.steps else "-", file=sys.stderr)
            for plant in cluster.plants:
                print("   planted", _plant(plant), file=sys.stderr)
            for one in episodes:
                print("   found  ", _episode(one), file=sys.stderr, flush=True)
    if count.share < LEAST_RIGHT:
        missed.append(f"{name}: {count}")
    return count


def _plant(one: Plant) -> str:
    where = one.replicas or "all"
    return f"{one.kind} {one.begin_s:.0f}-{one.end_s:.0f} x{one.size:.3g} {where}"


def _episode(one: Episode) -> str:
    kind = "drift" if one.drift else f"{one.begin_s:.0f}-{one.end_s:.0f}"
    return f"{one.cause} {kind} {one.replicas[:9]} {one.signals} p={one.p:.1g}"


def single(seeds: range, kinds: list[str], shapes: list[Shape]) -> None:
    """Print the table of single faults."""
    print(f"\n| planted | {' | '.join(shape.name for shape in shapes)} |")
    print(f"|---|{'---|' * len(shapes)}")
    for kind in kinds:
        cells = []
        for shape in shapes:
            skip = kind == "fenced" and (shape.where != "one" or shape.replicas == 1)
            # The load is not what changes Offline, and its cache is always full.
            skip |= shape.offline and kind in ("arrivals", "prompts", "network", "kv")
            skip |= shape.offline and kind == "fenced"
            if skip or (kind in OF_ALL and shape.where != "one"):
                cells.append("-")
                continue
            begin = time.monotonic()
            count = cell(
                lambda seed, kind=kind, shape=shape: planted(kind, seed, shape)[0],  # type: ignore[misc]
                seeds,
                shape.replicas,
                f"{kind}, {shape.name}",
            )
            cells.append(str(count))
            spent = time.monotonic() - begin
            print(f"{kind} {shape.name}: {count} ({spent:.0f} s)", file=sys.stderr)
        print(f"| {kind} | {' | '.join(cells)} |", flush=True)


def pairs(seeds: range, most: int) -> None:
    """Print the table of two faults in one run."""
    shapes = [shape for shape in SEVERAL if shape.replicas <= most]
    print(f"| two faults | {' | '.join(shape.name for shape in shapes)} |")
    print(f"|---|{'---|' * len(shapes)}")
    for name, at_once in (("one after the other", False), ("at once", True)):
        cells = []
        for shape in shapes:
            if at_once and shape.replicas == 1:
                cells.append("-")
                continue
            count = cell(
                lambda seed, shape=shape, at=at_once: several(seed, shape, at),  # type: ignore[misc]
                seeds,
                shape.replicas,
                f"two {name}, {shape.name}",
            )
            cells.append(str(count))
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def even_runs(count: int) -> None:
    """Print how many even runs hold an episode."""
    print("\n| even runs | runs | with an episode |\n|---|---|---|")
    false_alarms = runs = 0
    for replicas, share in ((1, 0.4), (2, 0.3), (8, 0.25), (64, 0.05)):
        false, tried = 0, int(count * share)
        for seed in range(10_000, 10_000 + tried):
            cluster = even(seed, replicas, 1 + replicas // 4, 120 + seed % 3 * 60)
            episodes = episodes_of(cluster)
            false += bool(episodes)
            for one in episodes:
                print("even", replicas, seed, _episode(one), file=sys.stderr)
        print(f"| {replicas} replicas | {tried} | {false} |", flush=True)
        false_alarms, runs = false_alarms + false, runs + tried
    if false_alarms > MOST_FALSE * runs:
        missed.append(f"even runs: {false_alarms} of {runs} hold an episode")


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--even", type=int, default=2000)
    parser.add_argument("--kinds", default=",".join((*SIZES, "pairs")))
    parser.add_argument("--most", type=int, default=64, help="replicas at most")
    parser.add_argument("--from-seed", type=int, default=101)
    parser.add_argument("--each", type=int, default=1, help="2: every other seed")
    options = parser.parse_args()
    last = options.from_seed + options.seeds * options.each
    seeds = range(options.from_seed, last, options.each)
    shapes = [shape for shape in SHAPES if shape.replicas <= options.most]
    kinds = [kind for kind in options.kinds.split(",") if kind in SIZES]
    if "pairs" in options.kinds:
        pairs(seeds, options.most)
    if kinds:
        single(seeds, kinds, shapes)
    if options.even:
        even_runs(options.even)
    if missed:
        sys.exit("\n".join(missed))


if __name__ == "__main__":
    main()
