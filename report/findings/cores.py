"""Findings on the cores of replicas, and on the memory that is near to them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from record.structs import ReplicaRecord
from report.findings.finding import Finding, Found, Severity
from report.reading.run import Run
from report.reading.traits import remote_memory
from report.wording import count, some

_REMOTE_SHARE = 0.1
"""Least share of a replica's memory on remote NUMA nodes that is a finding."""


def on_replicas(
    code: str,
    severity: Severity,
    title: str,
    replicas: Sequence[int],
    evidence: str,
    cause: str,
    remedy: str,
) -> Found:
    """Return a finding that concerns these replicas."""
    return Found(
        finding=Finding(
            code=code,
            severity=severity,
            title=title,
            where=[f"replica {number}" for number in replicas],
            evidence=evidence,
            cause=cause,
            measure=remedy,
        )
    )


@dataclass(slots=True)
class _Cores:
    """A condition of the cores of replicas."""

    code: str
    severity: Severity
    title: str
    cause: str
    remedy: str
    describe: Callable[[ReplicaRecord], str]
    """Empty if the replica does not have the condition."""


def _far(record: ReplicaRecord) -> str:
    if record.host is None or not record.host.numa_nodes:
        return ""
    own = set(record.host.numa_nodes)
    far = [
        f"{one.device} on node {one.numa_node}"
        for one in record.health
        if one.numa_node is not None and own != {one.numa_node}
    ]
    nodes = some(sorted(own))
    return f"{', '.join(far)}, cores on {nodes}" if far else ""


def _remote(record: ReplicaRecord) -> str:
    share = remote_memory(record)
    if share is None or share < _REMOTE_SHARE:
        return ""
    assert record.host is not None
    where = "bound to no node"
    if record.memory_node is not None:
        where = f"bound to node {record.memory_node}"
    return f"{share:.0%} of its memory, {where}"


def _isolated(record: ReplicaRecord) -> str:
    number = record.host.isolated_cpus if record.host else None
    return f"{number} of {len(record.cpus)} cores" if number else ""


def _quota(record: ReplicaRecord) -> str:
    quota = record.host.cpu_quota if record.host else None
    if quota is None or quota >= len(record.cpus):
        return ""
    return f"{quota:g} of {len(record.cpus)} cores"


_CORES = [
    _Cores(
        "numa",
        "note",
        "Cores lie on another NUMA node than the device",
        "Memory and interrupts cross the link between sockets. This slows down a"
        " replica whose host is barely fast enough.",
        "Bind the replica to the cores of the device's node (numactl --cpunodebind).",
        _far,
    ),
    _Cores(
        "numa.memory",
        "warning",
        "Memory lies on another NUMA node than the cores or the device",
        "Each access crosses the link between sockets. The share of remote memory"
        " changes with each start, so replicas differ from run to run.",
        "Bind the memory to the node of the device. This package does so where the"
        " kernel permits set_mempolicy: in a container, allow it in the seccomp profile"
        " (CAP_SYS_NICE), or start the container with numactl --membind.",
        _remote,
    ),
    _Cores(
        "isolated",
        "warning",
        "Replicas run on isolated cores",
        "The kernel does not move threads away from a busy isolated core, so threads of"
        " the replica wait for each other.",
        "Start mlperf-sut with taskset on cores that are not isolated.",
        _isolated,
    ),
    _Cores(
        "quota",
        "warning",
        "The container's CPU limit is below the cores of replicas",
        "At the limit the kernel stops every thread of the container for a moment.",
        "Raise the container's CPU limit, or remove it.",
        _quota,
    ),
]


def _binding(run: Run) -> Iterator[Found]:
    """Yield hosts whose replicas are bound to NUMA nodes in different ways."""
    loose: list[int] = []
    texts: list[str] = []
    for node in sorted({record.node for record in run.replicas}):
        own = [record for record in run.replicas if record.node == node]
        free = [record.replica for record in own if record.memory_node is None]
        if 0 < len(free) < len(own):
            loose += free
            texts.append(f"{node}: {len(own) - len(free)} of {len(own)} replicas bound")
    if loose:
        yield on_replicas(
            "numa.binding",
            "warning",
            "Replicas of a host differ in the binding of their memory"
            f" ({count(len(loose), 'replica')} not bound)",
            loose,
            f"{some(texts)}.",
            "The cores of a replica that is not bound lie on several NUMA nodes, or the"
            " kernel refused to bind it: its log says which.",
            "Give every replica cores of one NUMA node: start as many replicas as fill"
            " the nodes evenly, or choose the cores with taskset.",
        )


def cores(run: Run) -> Iterator[Found]:
    """Yield what is wrong with cores and memory; a host may not report it."""
    for kind in _CORES:
        found = {r.replica: text for r in run.replicas if (text := kind.describe(r))}
        if found:
            values = [f"replica {number}: {text}" for number, text in found.items()]
            yield on_replicas(
                kind.code,
                kind.severity,
                f"{kind.title} ({count(len(found), 'replica')})",
                [*found],
                f"{some(values)}.",
                kind.cause,
                kind.remedy,
            )
    yield from _binding(run)
