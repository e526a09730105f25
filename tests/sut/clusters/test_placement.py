import pytest

from conf.errors import UserError
from conf.schema import ClusterConfig
from sut.clusters.placement import place_local


def _config(replicas: int | None = None, gpus: int | None = None) -> ClusterConfig:
    return ClusterConfig(name="local", replicas=replicas, gpus_per_replica=gpus)


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
def test_missing_gpus_are_told(replicas: int | None, gpus: int) -> None:
    with pytest.raises(UserError, match="GPUs, this host has 2"):
        place_local(_config(replicas, gpus), ["0", "1"], [0])
