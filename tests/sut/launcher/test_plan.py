from collections import Counter

import pytest

from base.errors import UserError
from sut.launcher.plan import Demand, RayNode, assign, make_plan, unique_names
from sut.wire.launcher_messages import Connect


def node(name: str, cpus: int = 8, gpus: int = 0, busy: int = 0) -> RayNode:
    """Return a node of which `busy` cores, and as many GPUs, are reserved."""
    return RayNode(
        id=f"id-{name}",
        name=name,
        host=name,
        cpus=cpus,
        gpus=gpus,
        free_cpus=cpus - busy,
        free_gpus=max(0, gpus - busy),
    )


def wanted(
    replicas: int | None = None, gpus: int | None = None, cpus: int | None = None
) -> Connect:
    return Connect(address=None, replicas=replicas, gpus=gpus, cpus=cpus, spread=False)


@pytest.mark.parametrize(
    ("wish", "nodes", "replicas", "demand"),
    [
        (wanted(), [node("a", 32, 4), node("b", 32, 4)], 8, Demand(gpus=1, cpus=8)),
        (
            wanted(gpus=2),
            [node("a", 32, 4), node("b", 8, 2)],
            3,
            Demand(gpus=2, cpus=8),
        ),
        (wanted(3), [node("a", 32, 4)], 3, Demand(gpus=1, cpus=8)),
        (wanted(), [node("a", 4, 0), node("b", 2, 0)], 2, Demand(gpus=0, cpus=2)),
        (wanted(cpus=1), [node("a", 2), node("b", 2)], 4, Demand(gpus=0, cpus=1)),
        (wanted(4), [node("a", 8), node("b", 8)], 4, Demand(gpus=0, cpus=4)),
        (wanted(gpus=0), [node("a", 16, 8)], 1, Demand(gpus=0, cpus=16)),
    ],
)
def test_a_plan_takes_what_the_cluster_has(
    wish: Connect, nodes: list[RayNode], replicas: int, demand: Demand
) -> None:
    plan = make_plan(wish, nodes)
    assert (plan.replicas, plan.demand) == (replicas, demand)


def test_a_busy_cluster_is_planned_as_a_free_one() -> None:
    plan = make_plan(wanted(), [node("a", 8, 8, busy=8)])
    assert plan.replicas == 8


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        (wanted(5), r"5 replica\(s\) of 1 GPU and 2 CPU each do not fit .* a: 4 GPU"),
        (wanted(gpus=5), "no node of the Ray cluster has more than 4"),
        (wanted(cpus=9), r"a replica\(s\) of 1 GPU and 9 CPU each do not fit"),
        (wanted(9, 0, 1), r"9 replica\(s\) of 0 GPU and 1 CPU each do not fit"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_there_is(
    wish: Connect, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        make_plan(wish, [node("a", 8, 4)])


def test_labels_that_no_node_has_are_named() -> None:
    wish = wanted()
    wish.labels = {"pool": "x"}
    with pytest.raises(UserError, match="has the labels pool=x: "):
        make_plan(wish, [])


def test_nodes_are_filled_one_after_the_other_or_in_turn() -> None:
    nodes = [node("a", 4, 2), node("b", 4, 2)]
    demand = Demand(gpus=1, cpus=1)
    packed = assign([0, 1, 2], nodes, demand, Counter(), spread=False)
    assert packed == {0: "id-a", 1: "id-a", 2: "id-b"}
    spread = assign([0, 1, 2], nodes, demand, Counter(), spread=True)
    assert spread == {0: "id-a", 1: "id-b", 2: "id-a"}


def test_only_what_is_free_is_assigned() -> None:
    nodes = [node("a", 4, 2, busy=1), node("b", 4, 2)]
    demand = Demand(gpus=1, cpus=1)
    found = assign([0, 1, 2, 3], nodes, demand, Counter(), spread=False)
    assert found == {0: "id-a", 1: "id-b", 2: "id-b"}
    # Ray reports late what this run itself has just reserved.
    used = Counter({"id-b": 1})
    assert assign([5, 6], nodes[1:], demand, used, spread=False) == {5: "id-b"}
    assert assign([0], nodes, demand, used, spread=False, avoid={"id-a"}) == {0: "id-b"}
    assert assign([0], [], demand, used, spread=True) == {}


def test_nodes_of_one_host_are_numbered() -> None:
    hosts = {"n3": "big", "n1": "one", "n2": "one"}
    assert unique_names(hosts) == {"n1": "one-1", "n2": "one-2", "n3": "big"}
