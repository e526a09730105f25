"""Faults planted in simulated clusters, and what a report must call them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from report.findings.collect import collect
from report.findings.finding import Finding
from report.reading.folder import read_run
from report.sections.groups import groups
from report.sections.symmetry import spreads
from report.statistics.comparison import GroupComparison
from report.timeline.analysis import analyze
from report.timeline.inputs import inputs_of
from tests.simulated.cluster import Cluster, Fault
from tests.simulated.run import write_cluster


@dataclass(frozen=True, kw_only=True)
class Case:
    """A cluster with one fault."""

    name: str
    code: str
    """Finding that names the cause."""
    location: str
    """Node or replica that it must name."""
    make: Callable[[], Cluster]


def _node(scenario: str, **fault: Any) -> Callable[[], Cluster]:
    """Return a cluster whose second node (replicas 2 and 3) has a fault."""
    return lambda: Cluster(
        scenario=scenario, faults={2: Fault(**fault), 3: Fault(**fault)}
    )


def _replica(scenario: str, **fault: Any) -> Callable[[], Cluster]:
    return lambda: Cluster(scenario=scenario, faults={5: Fault(**fault)})


CASES = [
    Case(
        name=f"{name}, {scenario}",
        code=code,
        location=location,
        make=make(scenario, **fault),
    )
    for name, code, location, make, fault, scenarios in (
        ("slow node, lower clocks", "slow.clock", "node02", _node,
         {"slowdown": 1.11, "clock": 0.9}, ("offline", "server")),
        ("slow node, nothing to see", "slow.unknown", "node02", _node,
         {"slowdown": 1.11}, ("offline", "server")),
        ("busy neighbor", "slow.neighbor", "replica 5", _replica,
         {"slowdown": 1.11, "neighbor": True}, ("offline", "server")),
        ("another power limit", "slow.heterogeneous", "node02", _node,
         {"slowdown": 1.11, "power_w": 300.0}, ("offline", "server")),
        ("throttling device", "slow.throttled", "replica 5", _replica,
         {"throttled_from": 0.5}, ("offline", "server")),
        ("lost samples", "lost", "node03", _replica,
         {"dies_at": 0.5}, ("offline", "server")),
        ("cold start", "slow.cold", "node02", _node,
         {"cold_s": 60.0}, ("offline", "server")),
        ("network delay", "slow.network", "node02", _node,
         {"way_s": 1.0}, ("server",)),
        ("longer prompts", "slow.prompts", "node02", _node,
         {"longer_prompts": 1.6}, ("offline", "server")),
        ("CPU contention", "slow.cpu", "node02", _node,
         {"contended": 0.12}, ("offline", "server")),
    )
    for scenario in scenarios
]  # fmt: skip

EVEN = [
    Cluster(nodes=nodes, per_node=per_node, scenario=scenario)
    for nodes, per_node in ((2, 1), (4, 2), (8, 8))
    for scenario in ("offline", "server")
]


EQUAL = [
    Cluster(nodes=1, per_node=replicas, scenario=scenario, device_spread=0.0)
    for replicas in (2, 8)
    for scenario in ("offline", "server")
]
"""Clusters of exactly equal devices, with rare long steps."""


def called_uneven(cluster: Cluster, seed: int, folder: Path) -> list[str]:
    """Return the measures that the symmetry table calls beyond noise."""
    path = write_cluster(folder, replace(cluster, seed=seed)).path
    run = read_run(path)
    nodes, replicas = (GroupComparison(run=run, level=lv) for lv in ("node", "replica"))
    found = [one for own in (nodes, replicas) for one in spreads(own, groups(run, own))]
    return [one.measure for one in found if one.beyond_noise is True]


def findings_of(cluster: Cluster, seed: int, folder: Path) -> list[Finding]:
    """Return what the report finds in one run of `cluster`, by way of its folder."""
    path = write_cluster(folder, replace(cluster, seed=seed)).path
    run = read_run(path)
    levels = [GroupComparison(run=run, level=level) for level in ("replica", "node")]
    found = [one.finding for one in collect(run, analyze(inputs_of(run)), *levels)]
    return [f for f in found if f.code not in ("data", "relaxed")]


def hit(case: Case, found: list[Finding]) -> bool:
    """Whether the right cause is named, at the right place."""
    return any(f.code == case.code and case.location in f.where for f in found)


def strays(case: Case, found: list[Finding]) -> list[Finding]:
    """Return findings that name another cause or another place."""
    follows = {"fenced", "retried"} if case.code == "lost" else set[str]()
    return [
        f
        for f in found
        if f.code not in follows
        and not (f.code == case.code and case.location in f.where)
    ]
