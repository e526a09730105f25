"""Which node of a Ray cluster gets which replica; knows nothing of Ray itself."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from base.errors import UserError
from sut.wire.launcher_messages import Connect


@dataclass(frozen=True, slots=True, kw_only=True)
class RayNode:
    """A living node of the Ray cluster."""

    id: str
    name: str
    """Its name in reports: the host's, made unique."""
    host: str
    cpus: int
    gpus: int
    free_cpus: int
    free_gpus: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What Ray reserves for one replica."""

    gpus: int
    cpus: int

    def room(self, cpus: int, gpus: int) -> int:
        """Return how many replicas these cores and GPUs are enough for."""
        rooms = []
        if self.gpus:
            rooms.append(gpus // self.gpus)
        if self.cpus:
            rooms.append(cpus // self.cpus)
        return min(rooms, default=0)

    def __str__(self) -> str:
        """Return it in words."""
        return f"{self.gpus} GPU and {self.cpus} CPU"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How many replicas run, and what each of them needs."""

    replicas: int
    demand: Demand


def unique_names(hosts: dict[str, str]) -> dict[str, str]:
    """Return a name for each node: its host's, numbered where a host has several.

    Args:
        hosts: host name by the node's id.
    """
    counts = Counter(hosts.values())
    numbers: Counter[str] = Counter()
    names = {}
    for node, host in sorted(hosts.items(), key=lambda item: (item[1], item[0])):
        numbers[host] += 1
        names[node] = host if counts[host] == 1 else f"{host}-{numbers[host]}"
    return names


def make_plan(wanted: Connect, nodes: Sequence[RayNode]) -> Plan:
    """Return how many replicas the whole cluster takes, busy or not.

    Raises:
        UserError: no node fits, or they have less than is asked for.
    """
    if not nodes:
        labels = ", ".join(f"{name}={value}" for name, value in wanted.labels.items())
        raise UserError(
            f"no node of the Ray cluster has the labels {labels}: start Ray there with"
            " --labels, or change cluster.labels"
        )
    gpus = wanted.gpus
    if gpus is None:
        gpus = 1 if any(node.gpus for node in nodes) else 0
    demand = Demand(gpus=gpus, cpus=wanted.cpus or _share(nodes, gpus, wanted.replicas))
    rooms = [demand.room(node.cpus, node.gpus) for node in nodes]
    # On CPUs one replica per node, as with other clusters.
    whole_nodes = not gpus and wanted.cpus is None
    fitting = sum(room > 0 for room in rooms) if whole_nodes else sum(rooms)
    replicas = wanted.replicas or fitting
    if not replicas or replicas > sum(rooms):
        if gpus > max(node.gpus for node in nodes):
            most = max(node.gpus for node in nodes)
            raise UserError(
                f"cluster.gpus_per_replica={gpus}, but no node of the Ray cluster has"
                f" more than {most}: a replica runs on one node; lower it"
            )
        raise UserError(
            f"{replicas or 'a'} replica(s) of {demand} each do not fit into the Ray"
            f" cluster, which has {_inventory(nodes)}: lower cluster.replicas,"
            " cluster.gpus_per_replica or cluster.cpus_per_replica"
        )
    return Plan(replicas=replicas, demand=demand)


def _share(nodes: Iterable[RayNode], gpus: int, replicas: int | None) -> int:
    """Return a node's cores divided by the replicas that it has room for."""
    shares = []
    nodes = list(nodes)
    for node in nodes:
        count = node.gpus // gpus if gpus else -(-(replicas or 1) // len(nodes))
        if count and node.cpus:
            shares.append(max(1, node.cpus // count))
    return min(shares, default=1)


def _inventory(nodes: Sequence[RayNode]) -> str:
    shown = [f"{n.name}: {n.gpus} GPU, {n.cpus} CPU" for n in nodes[:8]]
    more = [f"{len(nodes) - 8} nodes more"] if len(nodes) > 8 else []
    return "; ".join(shown + more)


def assign(
    replicas: Sequence[int],
    nodes: Sequence[RayNode],
    demand: Demand,
    used: Counter[str],
    *,
    spread: bool,
    avoid: Collection[str] = (),
) -> dict[int, str]:
    """Return the node of each replica for which one has room now.

    Args:
        replicas: those without a node.
        nodes: those that live.
        demand: of one replica.
        used: replicas of this run that each node has.
        spread: whether the node with the fewest replicas is next, not the first one.
        avoid: ids of nodes that were full a moment ago although Ray did not say so.
    """
    rooms = {
        node.id: min(
            demand.room(node.free_cpus, node.free_gpus),
            demand.room(node.cpus, node.gpus) - used[node.id],
        )
        for node in nodes
        if node.id not in avoid
    }
    load = Counter(used)
    found = {}
    for replica in replicas:
        open_nodes = [node.id for node in nodes if rooms.get(node.id, 0) > 0]
        if not open_nodes:
            break
        chosen = open_nodes[0]
        if spread:
            chosen = min(open_nodes, key=lambda node: load[node])
        rooms[chosen] -= 1
        load[chosen] += 1
        found[replica] = chosen
    return found
