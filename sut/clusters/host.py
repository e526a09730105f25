"""What this host has to offer."""

import os
import platform
from dataclasses import dataclass

from base.decode import whole_number
from base.errors import UserError
from sut.telemetry import gpu_count, gpu_uuid, has_device


@dataclass(slots=True, kw_only=True)
class Host:
    """A host that replicas may run on."""

    name: str
    gpus: list[str]
    """Indices or UUIDs of the GPUs that may be used."""
    cpus: list[int]
    """Cores that may be used."""


def this_host(name: str | None = None) -> Host:
    """Return what this process may use, under a name of its own or the host's.

    Raises:
        UserError: CUDA_VISIBLE_DEVICES names a GPU twice.
    """
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
    uuids = [gpu_uuid(index) for index in range(found)]
    usable: list[str] = []
    seen: set[str] = set()
    for name in (part.strip() for part in visible.split(",")):
        device = _find(name, uuids)
        # The first name that is none ends the list: CUDA ignores what follows.
        if device is None:
            break
        # An index and a UUID may name the same GPU.
        identity = uuids[int(device)] or device if device.isdigit() else device
        if identity in seen:
            raise UserError(
                f"CUDA_VISIBLE_DEVICES={visible} names a GPU twice ({name}), and CUDA"
                " then finds no GPU at all: name each GPU once"
            )
        seen.add(identity)
        usable.append(device)
    return usable


def _find(name: str, uuids: list[str | None]) -> str | None:
    """Return the index or the whole UUID of the device `name`; None: there is none.

    Args:
        name: an index, a UUID, or the unambiguous beginning of a GPU's UUID.
        uuids: of this host's GPUs, by index.
    """
    if name.isascii() and name.isdigit():
        index = whole_number(name)
        return None if index is None or index >= len(uuids) else str(index)
    if not name.startswith(("GPU-", "MIG-")):
        return None
    if has_device(name):
        return name
    fits = [uuid for uuid in uuids if uuid and uuid.startswith(name)]
    return fits[0] if len(fits) == 1 else None
