"""Shares a host's GPUs and cores out among replicas."""

import platform

from conf.errors import UserError
from conf.schema import ClusterConfig
from sut.clusters.base import Placement


def place_local(
    config: ClusterConfig, gpus: list[str], cpus: list[int]
) -> list[Placement]:
    """Return one placement per replica on this host.

    Cores are split evenly in contiguous runs; with more replicas than cores, a core
    is shared.

    Args:
        config: how many replicas, and GPUs for each.
        gpus: GPUs that may be used.
        cpus: cores that may be used.

    Raises:
        UserError: there are not enough GPUs.
    """
    per_replica = config.gpus_per_replica
    if per_replica is None:
        per_replica = 1 if gpus else 0
    count = config.replicas
    if count is None:
        count = max(1, len(gpus) // per_replica) if per_replica else 1
    if count * per_replica > len(gpus):
        raise UserError(
            f"cluster.replicas={count} cluster.gpus_per_replica={per_replica} needs"
            f" {count * per_replica} GPUs, this host has {len(gpus)};"
            " lower them, or set cluster.gpus_per_replica=0 for the CPU"
        )
    node = platform.node() or "local"
    return [
        Placement(
            replica=number,
            node=node,
            gpus=gpus[number * per_replica : (number + 1) * per_replica],
            cpus=_share(cpus, number, count),
        )
        for number in range(count)
    ]


def _share(cpus: list[int], number: int, count: int) -> list[int]:
    if count > len(cpus):
        return [cpus[number % len(cpus)]]
    begin = number * len(cpus) // count
    end = (number + 1) * len(cpus) // count
    return cpus[begin:end]
