import os
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pynvml
import pytest

from base.errors import UserError
from submission import machine
from submission.machine import Gpus, Machine, describe_machine
from submission.request import Request, read_request
from submission.system import MEANINGFUL, system_description
from tests.submission.requests import write_request

GPUS = Gpus(
    count=8,
    name="NVIDIA H200",
    memory_gib=139.8,
    max_sm_clock_mhz=1980,
    host_link="PCIe Gen5 x16",
    link="NVLink, 18 links",
    ecc="enabled",
    driver="570.1",
    cuda="12.8",
)
NODE = Machine(
    cpu="A CPU",
    sockets=2,
    cores_per_socket=48,
    cpu_max_mhz=3800.0,
    caches="L3 96 MiB",
    memory_gib=2015,
    storage_gib=7000,
    storage_type="NVMe SSD",
    network_cards=2,
    networking="2x 400000 Mbit/s",
    operating_system="An OS",
    python="3.11.7",
    packages={"vllm": "0.32.0"},
    gpus=GPUS,
)
TOLD = {
    "host_memory_configuration": "24x 96 GB DDR5",
    "host_networking_topology": "point to point",
    "accelerator_memory_configuration": "HBM3e",
    "cooling": "air",
}


@pytest.fixture
def request_file(tmp_path: Path) -> Request:
    return read_request(write_request(tmp_path, description=TOLD))


def test_found_and_given_make_a_description(request_file: Request) -> None:
    system = system_description(request_file, [NODE, msgspec.structs.replace(NODE)])
    assert system["number_of_nodes"] == 2
    assert system["accelerators_per_node"] == 8
    assert system["accelerator_model_name"] == "NVIDIA H200"
    assert system["accelerator_ecc"] == "enabled"
    assert system["framework"] == "vLLM 0.32.0"
    assert system["cooling"] == "air"
    assert all(system[name] for name in MEANINGFUL)


def test_people_know_better(request_file: Request) -> None:
    request_file.description["host_networking"] = "InfiniBand"
    assert system_description(request_file, [NODE])["host_networking"] == "InfiniBand"


def test_what_is_missing_is_reported_at_once(request_file: Request) -> None:
    request_file.description = {"cooling": "air"}
    bare = msgspec.structs.replace(NODE, gpus=None)
    with pytest.raises(UserError) as error:
        system_description(request_file, [bare])
    for name in ("accelerator_model_name", "host_memory_configuration"):
        assert name in str(error.value)
    assert "cooling" not in str(error.value)


def test_nodes_must_be_alike(request_file: Request) -> None:
    other = msgspec.structs.replace(NODE, memory_gib=1007, cpu="Another")
    with pytest.raises(UserError, match="nodes differ in cpu, memory_gib"):
        system_description(request_file, [NODE, other])


@pytest.mark.integration
def test_this_machine_is_described() -> None:
    found = describe_machine()
    assert found.memory_gib == round(psutil.virtual_memory().total / 2**30)
    assert found.sockets * found.cores_per_socket <= (os.cpu_count() or 1)
    assert found.cpu
    assert found.packages["mlcommons-loadgen"] == "6.0.17"
    assert msgspec.json.decode(msgspec.json.encode(found), type=Machine) == found


@pytest.mark.parametrize(
    ("modes", "word"),
    [
        ([(1, 1), (1, 1)], "enabled"),
        ([(0, 1), (0, 1)], "disabled"),
        ([(1, 1), (0, 0)], "mixed"),
        ([None, None], "unsupported"),
    ],
)
def test_ecc_is_what_nvml_says_of_every_gpu(
    monkeypatch: pytest.MonkeyPatch, modes: list[Any], word: str
) -> None:
    def mode(handle: int) -> tuple[int, int]:
        if modes[handle] is None:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        current, pending = modes[handle]
        return current, pending

    unknown = pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    def refuse(*_arguments: Any) -> Any:
        raise unknown

    for name in (
        *("nvmlDeviceGetMaxPcieLinkGeneration", "nvmlDeviceGetMaxPcieLinkWidth"),
        *("nvmlDeviceGetMaxClockInfo", "nvmlDeviceGetNvLinkState"),
        "nvmlSystemGetCudaDriverVersion_v2",
    ):
        monkeypatch.setattr(pynvml, name, refuse)
    memory = type("Memory", (), {"total": 141 << 30})
    answers = {
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: None,
        "nvmlDeviceGetCount": lambda: len(modes),
        "nvmlDeviceGetHandleByIndex": lambda index: index,
        "nvmlDeviceGetName": lambda handle: "NVIDIA H200",
        "nvmlDeviceGetMemoryInfo": lambda handle: memory,
        "nvmlSystemGetDriverVersion": lambda: "570.1",
        "nvmlDeviceGetEccMode": mode,
    }
    for name, answer in answers.items():
        monkeypatch.setattr(pynvml, name, answer)
    found = machine.describe_gpus()
    assert found is not None
    assert (found.ecc, found.count, found.link) == (word, 2, "PCIe")
    assert found.host_link == ""


def test_devices_that_know_little_are_described(
    monkeypatch: pytest.MonkeyPatch, request_file: Request
) -> None:
    def refuse(*_arguments: Any) -> Any:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    for name in dir(pynvml):
        if name.startswith(("nvmlDeviceGet", "nvmlSystemGet")):
            monkeypatch.setattr(pynvml, name, refuse)
    answers = {
        "nvmlInit": lambda: None,
        "nvmlShutdown": refuse,
        "nvmlDeviceGetCount": lambda: 1,
        "nvmlDeviceGetHandleByIndex": lambda index: index,
        "nvmlDeviceGetName": lambda handle: "NVIDIA GB10",
    }
    for name, answer in answers.items():
        monkeypatch.setattr(pynvml, name, answer)
    found = machine.describe_gpus()
    assert found is not None
    assert (found.name, found.count, found.memory_gib) == ("NVIDIA GB10", 1, None)
    node = msgspec.structs.replace(NODE, gpus=found)
    request_file.description["accelerator_host_interconnect"] = "NVLink-C2C"
    with pytest.raises(UserError, match="accelerator_memory_capacity"):
        system_description(request_file, [node])
    request_file.description["accelerator_memory_capacity"] = "128 GB, shared"
    system = system_description(request_file, [node])
    assert system["accelerator_memory_capacity"] == "128 GB, shared"
    assert "driver" not in str(system["other_software_stack"])


def test_a_kernel_that_reports_little_is_described(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_arguments: Any) -> Any:
        raise NotImplementedError("can't find current frequency file")

    topology = tmp_path / "cpu0/topology/physical_package_id"
    topology.mkdir(parents=True)
    monkeypatch.setattr(machine, "_CPUS", tmp_path)
    monkeypatch.setattr("cpuinfo.get_cpu_info", refuse)
    for name in ("cpu_freq", "net_if_stats"):
        monkeypatch.setattr(psutil, name, refuse)
    found = machine.describe_machine()
    assert (found.sockets, found.cpu_max_mhz, found.network_cards) == (1, None, 0)
    assert found.cpu
