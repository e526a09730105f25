"""What each host has to offer, and how its GPUs and cores are shared among replicas."""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field

from base.decode import whole_number
from base.errors import UserError
from conf.clusters import ClusterConfig
from sut.clusters.numa import near_gpus, node_of_pci, numa_nodes, whole_cores
from sut.telemetry import gpu_count, gpu_pci, gpu_uuid, has_device
from sut.wire.node_messages import Placement


@dataclass(slots=True, kw_only=True)
class Host:
    """A host that replicas may run on."""

    name: str
    gpus: list[str]
    """Indices or UUIDs of the GPUs that may be used."""
    cpus: list[int]
    """Cores that may be used."""
    near: dict[str, list[int]] = field(default_factory=dict)
    """Cores that belong to each GPU, on its NUMA node; empty where the host has one
    node, or where that of a GPU is not known."""


def this_host(name: str | None = None, *, shared: bool = False) -> Host:
    """Return what this process may use, under a name of its own or the host's.

    Args:
        name: of the host.
        shared: whether the GPUs that this process may not use have cores as well.

    Raises:
        UserError: CUDA_VISIBLE_DEVICES names a GPU twice.
    """
    gpus = _usable_gpus()
    cpus = whole_cores(os.sched_getaffinity(0))
    every = [str(index) for index in range(gpu_count())] if shared else gpus
    # The one that a UUID names has an index among all.
    uuids = {gpu_uuid(index): str(index) for index in range(gpu_count())}
    names = {gpu: gpu if gpu in every else uuids.get(gpu, gpu) for gpu in gpus}
    near = near_gpus(cpus, numa_nodes(), {gpu: _node_of(gpu) for gpu in every})
    return Host(
        name=name or platform.node() or "local",
        gpus=gpus,
        cpus=cpus,
        near={gpu: near[own] for gpu, own in names.items() if own in near},
    )


def _node_of(gpu: str) -> int | None:
    address = gpu_pci(gpu)
    return None if address is None else node_of_pci(address)


def _usable_gpus() -> list[str]:
    """Return the GPUs that may be used: CUDA_VISIBLE_DEVICES as CUDA reads it."""
    found = gpu_count()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return [str(index) for index in range(found)]
    uuids = [gpu_uuid(index) for index in range(found)]
    usable: list[str] = []
    seen: set[str] = set()
    for name in (part.strip() for part in visible.split(",")):
        device = _find(name, uuids)
        # The first name that is none ends the list: CUDA ignores what follows.
        if device is None:
            break
        # An index and a UUID may name the same GPU.
        identity = uuids[int(device)] or device if device.isdigit() else device
        if identity in seen:
            raise UserError(
                f"CUDA_VISIBLE_DEVICES={visible} names a GPU twice ({name}), and CUDA"
                " then finds no GPU at all: name each GPU once"
            )
        seen.add(identity)
        usable.append(device)
    return usable


def _find(name: str, uuids: list[str | None]) -> str | None:
    """Return the index or the whole UUID of the device `name`; None: there is none.

    Args:
        name: an index, a UUID, or the unambiguous beginning of a GPU's UUID.
        uuids: of this host's GPUs, by index.
    """
    if name.isascii() and name.isdigit():
        index = whole_number(name)
        return None if index is None or index >= len(uuids) else str(index)
    if not name.startswith(("GPU-", "MIG-")):
        return None
    if has_device(name):
        return name
    fits = [uuid for uuid in uuids if uuid and uuid.startswith(name)]
    return fits[0] if len(fits) == 1 else None


def place(
    config: ClusterConfig, hosts: Sequence[Host], *, keep_shares: bool
) -> list[Placement]:
    """Return one placement per replica, host after host.

    A host's cores are split evenly in contiguous runs; with more replicas than cores,
    a core is shared. Where a host has several NUMA nodes, a replica gets the cores that
    belong to its GPUs.

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
            if gpus and host.near:
                cpus = [cpu for gpu in gpus for cpu in host.near[gpu]]
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
            f" {per_replica}: leave the node out, or lower cluster.gpus_per_replica"
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
