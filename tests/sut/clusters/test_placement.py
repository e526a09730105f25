"""None"""

import pytest

from base.errors import UserError
from conf.clusters import ClusterConfig
from sut.clusters import placement
from sut.clusters.placement import Host, place, this_host
from sut.wire.node_messages import Placement

UUIDS = ["GPU-8932f937-d72c", "GPU-8932aaaa-0000", "GPU-1f2e3d4c-1111"]
MIG = "MIG-5c89852c-d268"


@pytest.fixture(autouse=True)
def driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three GPUs and one MIG instance."""
    monkeypatch.setattr(placement, "gpu_count", lambda: len(UUIDS))
    monkeypatch.setattr(placement, "gpu_uuid", lambda index: UUIDS[index])
    monkeypatch.setattr(placement, "has_device", lambda uuid: uuid in [*UUIDS, MIG])


@pytest.mark.parametrize(
    ("visible", "gpus"),
    [
        (None, ["0", "1", "2"]),
        ("", []),
        ("-1", []),
        ("2,0", ["2", "0"]),
        (" 1 , 2 ", ["1", "2"]),
        ("1,7,0", ["1"]),
        ("0,²", ["0"]),
        (UUIDS[1], [UUIDS[1]]),
        ("GPU-8932f", [UUIDS[0]]),
        ("GPU-8932", []),
        ("GPU-dead", []),
        (f"0,GPU-dead,{UUIDS[2]}", ["0"]),
        (f"{MIG},MIG-none", [MIG]),
    ],
)
def test_gpus_are_named_as_cuda_names_them(
    monkeypatch: pytest.MonkeyPatch, visible: str | None, gpus: list[str]
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert this_host().gpus == gpus


@pytest.mark.parametrize("visible", ["0,0", f"0,{UUIDS[0]}", "GPU-8932f,0", "1,01"])
def test_a_gpu_that_is_named_twice_is_refused(
    monkeypatch: pytest.MonkeyPatch, visible: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with pytest.raises(UserError, match="names a GPU twice"):
        this_host()


def test_without_a_driver_a_uuid_names_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "gpu_count", lambda: 0)
    monkeypatch.setattr(placement, "has_device", lambda uuid: False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", UUIDS[0])
    assert this_host("n").gpus == []


def _config(replicas: int | None = None, gpus: int | None = None) -> ClusterConfig:
    return ClusterConfig(name="local", replicas=replicas, gpus_per_replica=gpus)


def place_local(
    config: ClusterConfig, gpus: list[str], cpus: list[int]
) -> list[Placement]:
    host = Host(name="n", gpus=gpus, cpus=cpus)
    return place(config, [host], keep_shares=False)


def test_one_replica_on_a_cpu_gets_all_cores() -> None:
    (place,) = place_local(_config(), [], [0, 1, 2])
    assert (place.gpus, place.cpus) == ([], [0, 1, 2])


def test_one_replica_per_gpu_by_default() -> None:
    places = place_local(_config(), ["0", "1", "2"], list(range(9)))
    assert [p.gpus for p in places] == [["0"], ["1"], ["2"]]
    assert [p.cpus for p in places] == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]


def test_groups_of_gpus() -> None:
    places = place_local(_config(gpus=2), ["4", "5", "6", "7"], [0, 1])
    assert [p.gpus for p in places] == [["4", "5"], ["6", "7"]]


def test_cores_are_split_without_overlap_or_rest() -> None:
    places = place_local(_config(replicas=3), [], list(range(8)))
    assert sorted(c for p in places for c in p.cpus) == list(range(8))


def test_more_replicas_than_cores_share() -> None:
    places = place_local(_config(replicas=5), [], [0, 1])
    assert [p.cpus for p in places] == [[0], [1], [0], [1], [0]]


@pytest.mark.parametrize(("replicas", "gpus"), [(3, 1), (1, 4), (None, 3)])
def test_missing_gpus_are_reported(replicas: int | None, gpus: int) -> None:
    with pytest.raises(UserError, match="GPUs, this host has 2"):
        place_local(_config(replicas, gpus), ["0", "1"], [0])


def hosts(*gpus: int, cpus: int = 8) -> list[Host]:
    return [
        Host(
            name=f"n{number}",
            gpus=[str(gpu) for gpu in range(count)],
            cpus=list(range(cpus)),
        )
        for number, count in enumerate(gpus)
    ]


def test_all_gpus_of_all_hosts_by_default() -> None:
    places = place(_config(), hosts(2, 4), keep_shares=True)
    assert [p.replica for p in places] == list(range(6))
    assert [p.node for p in places] == ["n0"] * 2 + ["n1"] * 4
    assert [p.gpus for p in places] == [["0"], ["1"], ["0"], ["1"], ["2"], ["3"]]
    assert places[1].cpus == [4, 5, 6, 7]
    assert places[5].cpus == [6, 7]


def test_hosts_are_filled_one_after_the_other_and_shares_of_cores_stay() -> None:
    places = place(_config(replicas=3), hosts(2, 2), keep_shares=True)
    assert [(p.node, p.gpus, p.cpus) for p in places] == [
        ("n0", ["0"], [0, 1, 2, 3]),
        ("n0", ["1"], [4, 5, 6, 7]),
        ("n1", ["0"], [0, 1, 2, 3]),
    ]


def test_replicas_on_cpus_are_spread_over_the_hosts() -> None:
    places = place(_config(replicas=3, gpus=0), hosts(0, 4), keep_shares=True)
    assert [(p.node, p.gpus) for p in places] == [("n0", []), ("n0", []), ("n1", [])]
    assert [p.node for p in place(_config(), hosts(0, 0), keep_shares=True)] == [
        "n0",
        "n1",
    ]


def test_a_host_that_would_stand_idle_is_reported() -> None:
    with pytest.raises(UserError, match="node n1 has 0 GPUs"):
        place(_config(), hosts(2, 0), keep_shares=True)
    with pytest.raises(UserError, match="node n0 has 1 GPUs, and a replica needs 2"):
        place(_config(gpus=2), hosts(1, 4), keep_shares=True)
    assert len(place(_config(replicas=2), hosts(2, 0), keep_shares=True)) == 2


def test_missing_gpus_of_several_hosts_are_reported() -> None:
    with pytest.raises(UserError, match="needs 5 GPUs, n0 has 2, n1 has 1"):
        place(_config(replicas=5), hosts(2, 1), keep_shares=True)
