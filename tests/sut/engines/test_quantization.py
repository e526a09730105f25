from typing import Any

import pytest

from sut.engines.quantization import told_by_checkpoint

FP8 = {"num_bits": 8, "type": "float"}
STATIC = {"config_groups": {"group_0": {"weights": FP8}}, "kv_cache_scheme": FP8}


@pytest.mark.parametrize(
    ("method", "config", "asked", "told"),
    [
        (
            "compressed-tensors",
            STATIC,
            "auto",
            {"quantization": "compressed-tensors fp8", "kv_cache_dtype": "fp8"},
        ),
        # An explicit choice wins in vLLM, too.
        (
            "compressed-tensors",
            STATIC,
            "bfloat16",
            {"quantization": "compressed-tensors fp8"},
        ),
        (
            "compressed-tensors",
            {"config_groups": {"a": {"weights": {"num_bits": 4, "type": "int"}}}},
            "auto",
            {"quantization": "compressed-tensors int4"},
        ),
        # Layers of several kinds have no one precision.
        (
            "compressed-tensors",
            {"config_groups": {"a": {"weights": FP8}, "b": {"weights": FP8}}},
            "auto",
            {"quantization": "compressed-tensors"},
        ),
        ("compressed-tensors", None, "auto", {"quantization": "compressed-tensors"}),
        ("fp8", {"activation_scheme": "static"}, "auto", {"quantization": "fp8"}),
    ],
)
def test_what_a_checkpoint_says(
    method: str, config: dict[str, Any] | None, asked: str, told: dict[str, str]
) -> None:
    assert told_by_checkpoint(method, config, asked) == told
