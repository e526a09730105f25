"""Shares hosts, their GPUs and their cores out among replicas."""

from collections.abc import Sequence

from base.errors import UserError
from conf.schema import ClusterConfig
from sut.clusters.host import Host
from sut.wire.node_messages import Placement


def place(
    config: ClusterConfig, hosts: Sequence[Host], *, keep_shares: bool
) -> list[Placement]:
    """Return one placement per replica, host after host.

    A host's cores are split evenly in contiguous runs; with more replicas than cores,
    a core is shared.

    Args:
        config: how many replicas, and GPUs for each.
        hosts: what there is; at least one.
        keep_shares: whether a replica on GPUs gets its share of a full host's cores
            even where the host is not full, so that it has as many in every size.

    Raises:
        UserError: there are not enough GPUs, or a host would have no replica.
    """
    per_replica = config.gpus_per_replica
    if per_replica is None:
        per_replica = 1 if any(host.gpus for host in hosts) else 0
    if per_replica:
        rooms = [len(host.gpus) // per_replica for host in hosts]
        counts = _fill(config, hosts, rooms, per_replica)
    else:
        counts = _spread(config.replicas or len(hosts), len(hosts))
        rooms = counts
    placements: list[Placement] = []
    for host, room, count in zip(hosts, rooms, counts, strict=True):
        for slot in range(count):
            gpus = host.gpus[slot * per_replica : (slot + 1) * per_replica]
            cpus = share_cores(host.cpus, slot, room if keep_shares else count)
            placements.append(
                Placement(replica=len(placements), node=host.name, gpus=gpus, cpus=cpus)
            )
    return placements


def _fill(
    config: ClusterConfig, hosts: Sequence[Host], rooms: list[int], per_replica: int
) -> list[int]:
    """Return how many replicas each host gets, the first hosts full."""
    if config.replicas is None and len(hosts) > 1 and 0 in rooms:
        host = hosts[rooms.index(0)]
        raise UserError(
            f"node {host.name} has {len(host.gpus)} GPUs, and a replica needs"
            f" {per_replica}: leave it out, or lower cluster.gpus_per_replica"
        )
    left = config.replicas if config.replicas is not None else max(1, sum(rooms))
    if left > sum(rooms):
        have = ", ".join(f"{host.name} has {len(host.gpus)}" for host in hosts)
        if len(hosts) == 1:
            have = f"this host has {len(hosts[0].gpus)}"
        raise UserError(
            f"cluster.replicas={left} cluster.gpus_per_replica={per_replica} needs"
            f" {left * per_replica} GPUs, {have};"
            " lower them, or set cluster.gpus_per_replica=0 for the CPU"
        )
    counts = []
    for room in rooms:
        counts.append(min(room, left))
        left -= counts[-1]
    return counts


def _spread(replicas: int, hosts: int) -> list[int]:
    """Return how many replicas each host gets, as evenly as can be."""
    return [replicas // hosts + (place < replicas % hosts) for place in range(hosts)]


def share_cores(cpus: list[int], number: int, count: int) -> list[int]:
    """Return share `number` of `count` contiguous shares of the cores."""
    if count > len(cpus):
        return [cpus[number % len(cpus)]]
    begin = number * len(cpus) // count
    end = (number + 1) * len(cpus) // count
    return cpus[begin:end]
