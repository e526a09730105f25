"""Requests for the runs that the fixture's logs are of."""

from pathlib import Path
from typing import Any

import yaml

OPTIONS = [
    "engine=synthetic",
    "dataset=sample",
    "dataset.path=repeated_13368.json",
    "cluster.replicas=1",
    "cluster.gpus_per_replica=0",
    "engine.decode_s_per_sequence=0",
    "engine.prefill_s_per_token=0",
]
RATE = {
    "offline": ["scenario.target_qps=20", "engine.step_s=0.0228"],
    "server": ["scenario.target_qps=22", "engine.step_s=0.02"],
    "interactive": ["scenario.target_qps=22", "engine.step_s=0.02"],
}
RATE["offline"].append("engine.max_num_seqs=64")
DESCRIPTION = dict.fromkeys(
    (
        *("host_memory_configuration", "host_networking", "host_networking_topology"),
        *("host_network_card_count", "host_storage_type", "host_storage_capacity"),
        *("accelerators_per_node", "accelerator_model_name", "cooling"),
        *("accelerator_memory_capacity", "accelerator_memory_configuration"),
        *("accelerator_host_interconnect", "accelerator_interconnect", "framework"),
    ),
    "made up",
)


def request_values(**changes: Any) -> dict[str, Any]:
    """Return the content of a request's file."""
    values: dict[str, Any] = {
        "submitter": "Example",
        "division": "open",
        "status": "rdi",
        "system": "synthetic-1",
        "scenarios": ["offline", "server"],
        "folder": "work",
        "options": OPTIONS,
        "scenario_options": {name: RATE[name] for name in ("offline", "server")},
        "weights": {
            "starting_weights_filename": "none",
            "weight_transformations": "none",
        },
        "calibration": "none",
        "description": {**DESCRIPTION, "accelerator_ecc": "enabled"},
    }
    return {k: v for k, v in (values | changes).items() if v is not None}


def write_request(folder: Path, **changes: Any) -> Path:
    """Write a request into `folder` and return its file."""
    path = folder / "request.yaml"
    path.write_text(yaml.safe_dump(request_values(**changes)))
    return path
