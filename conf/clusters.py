"""The options of clusters: replicas and their health, on this host and on others."""

from dataclasses import dataclass
from enum import Enum

from conf.option import LONGEST_S, option


class BalancerName(Enum):
    """Policies that choose the replica for a sample."""

    round_robin = "round_robin"
    least_outstanding_tokens = "least_outstanding_tokens"
    prefill_aware = "prefill_aware"
    capacity_weighted = "capacity_weighted"


class NodeOrder(Enum):
    """How the nodes of a Ray cluster are filled."""

    pack = "pack"
    spread = "spread"


@dataclass(slots=True, kw_only=True)
class ClusterConfig:
    """How many replicas run, on what, and how their health is judged."""

    name: str = option(
        "cluster: local (this host), external (hosts that join) or ray (a Ray cluster)"
    )
    replicas: int | None = option(
        "number of replicas; default: one for each cluster.gpus_per_replica GPUs, or"
        " one on a CPU",
        None,
        at_least=1,
        at_most=4096,
    )
    only: list[int] = option(
        "numbers of the replicas that are started, e.g. cluster.only=[0,2]; empty: all",
        [],
        at_least=0,
        at_most=4095,
    )
    gpus_per_replica: int | None = option(
        "GPUs of each replica (0: CPU); default: 1 if a GPU is found, else 0",
        None,
        at_least=0,
        at_most=1024,
    )
    balancer: BalancerName | None = option(
        "policy that chooses the replica for a sample; default: prefill_aware if"
        " answers are streamed, else least_outstanding_tokens",
        None,
    )
    longest_first: bool = option(
        "Offline: send the longest prompts first, within one pass over the data set",
        False,
    )
    max_attempts: int = option(
        "how often engines may refuse a sample before the run is aborted",
        3,
        at_least=1,
        at_most=1_000_000,
    )
    restarts: int = option(
        "how often each replica may be restarted after it was lost during the run",
        0,
        at_least=0,
        at_most=1_000_000,
    )
    load_timeout_s: float = option(
        "longest time in s until a replica is ready",
        1800.0,
        above=0,
        at_most=LONGEST_S,
    )
    heartbeat_timeout_s: float = option(
        "a replica is fenced after this time in s without a heartbeat (it sends one"
        " each second)",
        15.0,
        at_least=3,
        at_most=LONGEST_S,
    )
    step_timeout_s: float = option(
        "a replica is fenced if it has samples and finishes no engine step for this"
        " time in s",
        60.0,
        above=0,
        at_most=LONGEST_S,
    )


@dataclass(slots=True, kw_only=True)
class ExternalConfig(ClusterConfig):
    """Replicas on nodes; each node joins by `mlperf-sut node`."""

    nodes: int = option("number of nodes", at_least=1, at_most=4096)
    key: str = option(
        "key file made by mlperf-sut keys; each node needs a copy", path=True
    )
    listen: str = option(
        "address and port that nodes connect to; replicas connect to the next port",
        "0.0.0.0:5555",
    )
    join_timeout_s: float = option(
        "longest time in s until all nodes have joined",
        600.0,
        above=0,
        at_most=LONGEST_S,
    )


@dataclass(slots=True, kw_only=True)
class RayConfig(ClusterConfig):
    """Replicas on the nodes of a Ray cluster, which starts a node agent for each."""

    address: str | None = option(
        "Ray cluster to join: auto (RAY_ADDRESS, or the one that this host is part of)"
        " or its HOST:PORT; local: start one on this host for this run; default: auto"
        " where there is one, else local",
        None,
    )
    cpus_per_replica: int | None = option(
        "cores that Ray reserves for each replica; default: a node's cores divided by"
        " the replicas that it has room for",
        None,
        at_least=1,
        at_most=4096,
    )
    order: NodeOrder = option(
        "pack: fill one node after the other; spread: one replica per node in turn",
        NodeOrder.pack,
    )
    labels: dict[str, str] = option(
        "labels that a Ray node must have to get replicas, e.g. cluster.labels.pool=a",
        {},
    )
    listen: str | None = option(
        "address and port of this host where node agents join; replicas connect to the"
        " next port; default: the address by which Ray knows this host, free ports",
        None,
    )
    join_timeout_s: float = option(
        "seconds to wait until Ray has started all node agents",
        600.0,
        above=0,
        at_most=LONGEST_S,
    )
