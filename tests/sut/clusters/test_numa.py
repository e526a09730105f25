import ctypes
import multiprocessing
import os
from pathlib import Path

import psutil
import pytest

from conf.clusters import ClusterConfig
from sut.clusters.numa import (
    bind_memory,
    memory_by_node,
    memory_node,
    near_gpus,
    node_of_pci,
    numa_nodes,
    parse_list,
    whole_cores,
)
from sut.clusters.placement import Host, place
from sut.wire.node_messages import Join, join_problem

NODES = {0: [0, 1, 2, 3, 8, 9, 10, 11], 1: [4, 5, 6, 7, 12, 13, 14, 15]}


@pytest.fixture
def sys(tmp_path: Path) -> Path:
    """Two sockets of four cores with two threads each; node 2 is memory alone."""
    node = tmp_path / "devices/system/node"
    node.mkdir(parents=True)
    (node / "has_memory").write_text("0-2\n")
    for number, cores in {0: "0-3,8-11", 1: "4-7,12-15", 2: ""}.items():
        (node / f"node{number}").mkdir()
        (node / f"node{number}/cpulist").write_text(f"{cores}\n")
    for cpu in range(16):
        topology = tmp_path / f"devices/system/cpu/cpu{cpu}/topology"
        topology.mkdir(parents=True)
        (topology / "thread_siblings_list").write_text(f"{cpu % 8},{cpu % 8 + 8}\n")
    for address, number in {"0000:4b:00.0": 1, "0000:cb:00.0": -1}.items():
        device = tmp_path / f"bus/pci/devices/{address}"
        device.mkdir(parents=True)
        (device / "numa_node").write_text(f"{number}\n")
    return tmp_path


def test_nodes_have_cores_and_memory(sys: Path, tmp_path: Path) -> None:
    assert numa_nodes(sys) == NODES
    assert numa_nodes(tmp_path / "nowhere") == {}


def test_the_node_of_a_device_is_found_by_nvml_s_address(sys: Path) -> None:
    assert node_of_pci("00000000:4B:00.0", sys) == 1
    assert node_of_pci("00000000:CB:00.0", sys) is None, "the firmware says -1"
    assert node_of_pci("00000000:CC:00.0", sys) is None


def test_threads_of_a_core_stay_together(sys: Path) -> None:
    assert whole_cores({0, 1, 8, 9, 3}, sys) == [0, 8, 1, 9, 3]
    assert whole_cores({2, 1}, sys / "nowhere") == [1, 2]


def test_each_gpu_gets_as_many_cores_of_its_own_node(sys: Path) -> None:
    cpus = whole_cores(range(16), sys)
    near = near_gpus(cpus, NODES, {"0": 0, "1": 0, "2": 1, "3": 1})
    assert near["0"] == [0, 8, 1, 9]
    assert near["1"] == [2, 10, 3, 11]
    assert near["3"] == [6, 14, 7, 15]
    uneven = near_gpus(cpus, NODES, {"0": 0, "1": 1, "2": 1})
    assert uneven["0"] == [0, 8, 1, 9], "equal for all"
    assert near_gpus(cpus, {0: cpus}, {"0": 0}) == {}
    assert near_gpus(cpus, NODES, {"0": 0, "1": None}) == {}
    assert near_gpus([0, 1], NODES, {"0": 0, "1": 1}) == {}, "no core of node 1 is left"


def test_a_replica_gets_the_cores_of_its_gpus(sys: Path) -> None:
    cpus = whole_cores(range(16), sys)
    near = near_gpus(cpus, NODES, {"0": 0, "1": 0, "2": 1, "3": 1})
    host = Host(name="n", gpus=["0", "1", "2", "3"], cpus=cpus, near=near)
    config = ClusterConfig(name="local", replicas=2, gpus_per_replica=1)
    one, two = place(config, [host], keep_shares=False)
    assert (one.cpus, two.cpus) == (near["0"], near["1"])
    config = ClusterConfig(name="local", gpus_per_replica=2)
    _, last = place(config, [host], keep_shares=False)
    assert last.cpus == near["2"] + near["3"]
    assert memory_node(last.cpus, NODES) == 1
    config = ClusterConfig(name="local", replicas=2, gpus_per_replica=0)
    assert place(config, [host], keep_shares=False)[1].cpus == cpus[8:]


def test_memory_is_bound_where_all_cores_are_on_one_of_several_nodes() -> None:
    assert memory_node([0, 8], NODES) == 0
    assert memory_node([0, 4], NODES) is None
    assert memory_node([0], {0: [0, 1]}) is None
    assert memory_node([], NODES) is None


@pytest.mark.integration
def test_a_process_is_bound() -> None:
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        problem, policy = pool.apply(_bind)
    # A container may not allow it.
    assert (problem, policy) in {(None, 2), ("Operation not permitted", 0)}


def _bind() -> tuple[str | None, int]:
    problem = bind_memory(0)
    mode = ctypes.c_int(-1)
    get_mempolicy = 239
    ctypes.CDLL(None).syscall(get_mempolicy, ctypes.byref(mode), None, 0, None, 0)
    return problem, mode.value


def test_a_node_cannot_offer_cores_that_it_does_not_have() -> None:
    join = Join(1, "n", ["0"], [0, 1], "", {"0": [0, 1]})
    assert join_problem(join) is None
    for near in ({"0": [7]}, {"1": [0]}):
        bad = Join(1, "n", ["0"], [0, 1], "", near)
        assert "does not have" in str(join_problem(bad))


def test_lists_of_the_kernel() -> None:
    assert parse_list("0-2,5\n") == [0, 1, 2, 5]
    assert parse_list("\n") == []
    with pytest.raises(ValueError, match="invalid literal"):
        parse_list("x")


def test_memory_of_files_is_not_counted(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7/numa_maps").write_text(
        "5635 default file=/usr/bin/python mapped=9 N0=9 kernelpagesize_kB=4\n"
        "7f00 bind:1 anon=5 dirty=5 N0=2 N1=3 kernelpagesize_kB=4\n"
        "7f01 default heap anon=1 dirty=1 active=0 N1=1 kernelpagesize_kB=2048\n"
        "7f02 default\n"
    )
    found = memory_by_node([7, 8], tmp_path)
    assert found == {0: 2 * 4096, 1: 3 * 4096 + 2048 * 1024}
    assert memory_by_node([8], tmp_path) is None


def test_memory_of_this_process_is_about_what_it_holds() -> None:
    held = bytearray(b"x") * 64_000_000
    found = memory_by_node([os.getpid()])
    if found is None:
        pytest.skip("this kernel does not report it")
    assert sum(found.values()) > len(held)
    assert sum(found.values()) <= psutil.Process().memory_info().rss
