"""Checks of what vLLM and torch take from the system: libraries, and compilers.

Wheels link to libraries that no wheel brings. A missing one shows only as the error of
an import in a replica, and a missing compiler only at the first start of a kernel.
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path

from cli.diagnosis import Diagnosis, bad, good, warning

_MODULES = {
    "torch": ("lib/libtorch*.so",),
    "vllm": ("*.so", "vllm_flash_attn/*.so"),
}
"""What is looked at of each package: modules that load the others."""
_BESIDE = ("torch/lib", "vllm", "nvidia", "tvm_ffi/lib", "*.libs")
"""Folders of installed packages from which torch loads libraries by itself."""
_OF_THE_DRIVER = ("libcuda.so.1", "libnvidia-ml.so.1")
_PACKAGES = {
    "libgomp.so.1": ("libgomp1", "libgomp"),
    "libnuma.so.1": ("libnuma1", "numactl-libs"),
    "libstdc++.so.6": ("libstdc++6", "libstdc++"),
}
"""Packages of Debian and Ubuntu, and of Red Hat, that bring a library."""
_LOCATION = re.compile(r"^\s*(\S+) => not found", re.MULTILINE)
_SYMBOL = re.compile(r"(\S+): version `(\S+)' not found")
_C = ("CC", ("cc", "gcc", "clang"))
_CXX = ("CXX", ("c++", "g++", "clang++"))
_TIMEOUT_S = 60


def library_checks(*, has_gpus: bool) -> Iterator[Diagnosis]:
    """Yield the state of libraries and compilers; nothing where vLLM is missing."""
    folders = {name: _folder_of(name) for name in _MODULES}
    modules = [
        path
        for name, folder in folders.items()
        if folder is not None
        for pattern in _MODULES[name]
        for path in sorted(folder.glob(pattern))
    ]
    sites = {folder.parent for folder in folders.values() if folder is not None}
    if not modules or folders["vllm"] is None:
        return
    yield check_libraries(modules, sorted(sites))
    yield check_compilers(compilers(), has_gpus=has_gpus)


def _folder_of(package: str) -> Path | None:
    """Return where a package is installed, without importing it; None: nowhere."""
    spec = importlib.util.find_spec(package)
    return None if spec is None or spec.origin is None else Path(spec.origin).parent


def check_libraries(
    modules: Sequence[Path], sites: Sequence[Path], ldd: str | None = None
) -> Diagnosis:
    """Return whether the loader finds all that `modules` link to.

    Args:
        modules: shared objects.
        sites: folders of installed packages, which bring libraries of their own.
        ldd: the program that lists libraries; None: that of the PATH.
    """
    program = ldd or shutil.which("ldd")
    if program is None:
        return good("libraries", "not checked: this host has no ldd")
    try:
        listed = subprocess.run(
            [program, *map(str, modules)],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            # As a replica is started: in the user's own environment.
            env=os.environ | {"LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return good("libraries", f"not checked: {error}")
    text = listed.stdout + listed.stderr
    known = {*_OF_THE_DRIVER, *_names_beside(sites)}
    missing = sorted(set(_LOCATION.findall(text)) - known)
    old = sorted({f"{name} lacks {symbol}" for name, symbol in _SYMBOL.findall(text)})
    if missing or old:
        return bad("libraries", _found(missing, old), _remedy(missing, old))
    return good("libraries", f"all that {len(modules)} modules of vLLM and torch need")


def _names_beside(sites: Sequence[Path]) -> set[str]:
    return {
        path.name
        for site in sites
        for pattern in _BESIDE
        for folder in site.glob(pattern)
        for path in folder.rglob("*.so*")
    }


def _found(missing: Sequence[str], old: Sequence[str]) -> str:
    parts = [f"vLLM needs {', '.join(missing)}, not found"] if missing else []
    return "; ".join([*parts, *old])


def _remedy(missing: Sequence[str], old: Sequence[str]) -> str:
    known = [_PACKAGES[name] for name in missing if name in _PACKAGES]
    unknown = [name for name in missing if name not in _PACKAGES]
    steps = []
    if known:
        debian, red_hat = (" ".join(names) for names in zip(*known, strict=True))
        steps.append(f"apt-get install {debian} (Red Hat: dnf install {red_hat})")
    if unknown:
        steps.append(f"install the system packages that have {', '.join(unknown)}")
    if old:
        steps.append("use a newer distribution, or one of the container images")
    return "; ".join(steps)


def compilers() -> dict[str, bool]:
    """Return which of the tools that compile kernels this host has, by their name."""
    header = Path(sysconfig.get_path("include"), "Python.h")
    home = os.environ.get("CUDA_HOME") or "/usr/local/cuda"
    return {
        "a C compiler": _has_compiler(*_C),
        "Python.h": header.is_file(),
        "a C++ compiler": _has_compiler(*_CXX),
        "ninja": shutil.which("ninja") is not None,
        "nvcc": shutil.which("nvcc") is not None or Path(home, "bin", "nvcc").is_file(),
    }


def _has_compiler(variable: str, names: Sequence[str]) -> bool:
    given = os.environ.get(variable)
    return any(shutil.which(name) for name in ([given] if given else names))


def check_compilers(found: dict[str, bool], *, has_gpus: bool) -> Diagnosis:
    """Return whether kernels can be compiled.

    vLLM's Triton kernels need a C compiler and Python.h at each start on a GPU;
    FlashInfer's kernels and ours for Hopper need the rest at the first start. On a CPU,
    torch compiles C++ if the engine is not run eagerly.

    Args:
        found: as `compilers` returns it.
        has_gpus: whether this host has NVIDIA GPUs.
    """
    missing = [name for name, there in found.items() if not there]
    text = f"missing: {', '.join(missing)}"
    python = ".".join(map(str, sys.version_info[:2]))
    remedy = (
        f"apt-get install g++ python{python}-dev (Red Hat: dnf install gcc-c++"
        f" python{python}-devel); nvcc and ninja come with cuda.lock: put CUDA_HOME/bin"
        " and the environment's bin on the PATH"
    )
    if not has_gpus:
        if found["a C++ compiler"]:
            return good("compilers", "a C++ compiler")
        return good(
            "compilers",
            "none, which only engine.options.enforce_eager=false needs on a CPU",
        )
    if not found["a C compiler"] or not found["Python.h"]:
        return bad("compilers", f"{text}; Triton's kernels cannot be compiled", remedy)
    if missing:
        return warning(
            "compilers",
            f"{text}; FlashInfer and engine=vllm_hopper compile kernels with them",
            remedy,
        )
    return good("compilers", ", ".join(found))
