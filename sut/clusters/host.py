"""What this host has to offer."""

import os
import platform
from dataclasses import dataclass
from itertools import takewhile

from sut.telemetry import gpu_count


@dataclass(slots=True, kw_only=True)
class Host:
    """A host that replicas may run on."""

    name: str
    gpus: list[str]
    """Indices or UUIDs of the GPUs that may be used."""
    cpus: list[int]
    """Cores that may be used."""


def this_host(name: str | None = None) -> Host:
    """Return what this process may use, under a name of its own or the host's."""
    return Host(
        name=name or platform.node() or "local",
        gpus=_usable_gpus(),
        cpus=sorted(os.sched_getaffinity(0)),
    )


def _usable_gpus() -> list[str]:
    """Return the GPUs that may be used: CUDA_VISIBLE_DEVICES as CUDA reads it."""
    found = gpu_count()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return [str(index) for index in range(found)]

    def known(name: str) -> bool:
        return name.startswith(("GPU-", "MIG-")) or (
            name.isdigit() and int(name) < found
        )

    # The first name that is none ends the list: CUDA ignores what follows.
    return list(takewhile(known, (name.strip() for name in visible.split(","))))
