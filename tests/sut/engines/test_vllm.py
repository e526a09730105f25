"""vLLM keeps the engine contract, on SmolLM2."""

import os
from collections.abc import Iterator

import pytest

from conf.load import load_config
from sut.engines.base import Engine, EngineConfigError
from sut.model import find_model
from sut.telemetry import gpu_count
from sut.wire.messages import EngineSpec
from tests.sut.engines.contract import EngineContract, spec

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def vllm_spec() -> EngineSpec:
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    os.environ["VLLM_CPU_KVCACHE_SPACE"] = "1"
    path = find_model(load_config([]).model, print).path
    gpus = min(1, gpu_count())
    return spec(engine="vllm", model_path=str(path), gpus=gpus, steps=True)


class TestVllmEngine(EngineContract):
    @pytest.fixture(scope="class")
    def engine(self, vllm_spec: EngineSpec) -> Iterator[Engine]:
        from sut.engines.vllm import VllmEngine

        engine = VllmEngine(vllm_spec)
        yield engine
        engine.close()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"max_num_sequences": 4}, "did you mean max_num_seqs"),
        ({"model": "x"}, "use model.path"),
        ({"stream_interval": 1}, "leave it out"),
        ({"tensor_parallel_size": 9}, "but cluster.gpus_per_replica is"),
    ],
)
def test_options_that_cannot_be(
    vllm_spec: EngineSpec, options: dict[str, object], expected: str
) -> None:
    from sut.engines.vllm import engine_arguments

    changed = spec(engine="vllm", model_path=vllm_spec.model_path, options=options)
    with pytest.raises(EngineConfigError, match=expected):
        engine_arguments(changed)


def test_options_go_through_by_name(vllm_spec: EngineSpec) -> None:
    from sut.engines.vllm import engine_arguments

    options = {"max_num_seqs": 3, "quantization": "fp8", "enable_prefix_caching": True}
    arguments = engine_arguments(spec(model_path="m", options=options))
    assert arguments["max_num_seqs"] == 3
    assert arguments["quantization"] == "fp8"
    assert arguments["enable_prefix_caching"] is True
    assert engine_arguments(spec(model_path="m"))["enable_prefix_caching"] is False


@pytest.mark.parametrize(
    ("asked", "gpus", "cpu", "used"),
    [
        ("auto", 0, "AVX2", "float32"),
        ("auto", 0, "AVX512", "bfloat16"),
        ("auto", 1, "AVX2", "bfloat16"),
        ("bfloat16", 0, "AVX2", "bfloat16"),
    ],
)
def test_the_default_type_is_one_that_the_host_computes_fast(
    monkeypatch: pytest.MonkeyPatch, asked: str, gpus: int, cpu: str, used: str
) -> None:
    import torch

    from sut.engines.vllm import engine_arguments

    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: cpu)
    chosen = engine_arguments(spec(engine="vllm", dtype=asked, gpus=gpus))
    assert chosen["dtype"] == used
