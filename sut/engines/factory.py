"""Builds the engine that a spec names; heavy imports happen here, in the replica."""

import importlib.util
import os

from sut.engines.base import Engine
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
    if importlib.util.find_spec("flashinfer") is None:
        # vLLM fails at its start where it prefers a sampler that is not installed.
        os.environ.setdefault("VLLM_USE_FLASHINFER_SAMPLER", "0")
    from sut.engines.vllm import VllmEngine

    return VllmEngine(spec)
