"""Builds the engine that a spec names; heavy imports happen here, in the replica."""

from sut.engines.base import Engine
from sut.messages import EngineSpec


def make_engine(spec: EngineSpec, replica: int) -> Engine:
    """Return the engine for `spec`.

    Raises:
        EngineConfigError: it cannot be built as configured.
    """
    if spec.engine == "synthetic":
        from sut.engines.synthetic import SyntheticEngine

        factors = spec.options.get("slowdown") or {}
        return SyntheticEngine(spec, float(factors.get(str(replica), 1.0)))
    from sut.engines.vllm import VllmEngine

    return VllmEngine(spec)
