"""vLLM keeps the engine contract on a GPU, in bfloat16 and in fp8."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sut.engines.base import Engine
from sut.telemetry import gpu_count
from tests.sut.engines.contract import EngineContract, spec
from tests.tiny_llama import write_tiny_llama

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(gpu_count() < 1, reason="needs a GPU"),
    pytest.mark.filterwarnings("ignore"),
]
FP8: dict[str, object] = {"quantization": "fp8", "kv_cache_dtype": "fp8"}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_llama(tmp_path_factory.mktemp("tiny"))


class OnGpu(EngineContract):
    options: dict[str, object]

    @pytest.fixture(scope="class")
    def engine(self, checkpoint: Path) -> Iterator[Engine]:
        from sut.engines.vllm import VllmEngine

        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
            # An engine of this process still holds memory while the next one starts.
            options = {"gpu_memory_utilization": 0.3, **self.options}
            changes = {"gpus": 1, "dtype": "bfloat16", "options": options}
            engine = VllmEngine(
                spec(engine="vllm", model_path=str(checkpoint), **changes)
            )
            yield engine
            engine.close()

    def test_it_is_what_was_asked_for(self, engine: Engine) -> None:
        expected = engine.info.settings
        assert {name: expected[name] for name in self.options} == self.options
        assert engine.info.model["dtype"] == "bfloat16"


class TestBfloat16(OnGpu):
    options: dict[str, object] = {}  # noqa: RUF012


class TestFp8(OnGpu):
    options = FP8
