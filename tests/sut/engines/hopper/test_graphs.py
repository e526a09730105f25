"""CUDA graphs hold the writes to the KV cache, in engines with our kernels alone."""

from types import SimpleNamespace
from typing import Any

from sut.engines.hopper.graphs import hold_cache_writes

ATTENTION = "vllm::unified_attention_with_output"
SPLIT = [
    ATTENTION,
    "vllm::unified_kv_cache_update",
    "vllm::unified_mla_kv_cache_update",
]


def config(extension: str, split: list[str] | None) -> Any:
    return SimpleNamespace(
        parallel_config=SimpleNamespace(worker_extension_cls=extension),
        compilation_config=SimpleNamespace(splitting_ops=split),
    )


def test_attention_alone_splits_a_model() -> None:
    ours = config("sut.engines.hopper.extension.HopperKernels", list(SPLIT))
    hold_cache_writes(ours)
    assert ours.compilation_config.splitting_ops == [ATTENTION]


def test_a_model_that_is_not_split_is_left_alone() -> None:
    ours = config("sut.engines.hopper.extension.HopperKernels", None)
    hold_cache_writes(ours)
    assert ours.compilation_config.splitting_ops is None


def test_other_engines_are_left_alone() -> None:
    other = config("", list(SPLIT))
    hold_cache_writes(other)
    assert other.compilation_config.splitting_ops == SPLIT
