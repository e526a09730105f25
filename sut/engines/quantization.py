"""What a checkpoint's own configuration says of its precision."""

from collections.abc import Mapping
from typing import Any

from record.json_types import Json

_COMPRESSED_TENSORS = "compressed-tensors"


def told_by_checkpoint(
    method: str, config: Mapping[str, Any] | None, kv_cache_dtype: str
) -> dict[str, Json]:
    """Return the settings `quantization` and, where it decides, `kv_cache_dtype`.

    compressed-tensors is a file format: the bits are in its configuration, and vLLM
    obeys its scheme for the KV cache where `kv_cache_dtype` is `auto`.

    Args:
        method: vLLM's name of the method.
        config: `quantization_config` of the checkpoint.
        kv_cache_dtype: what vLLM was asked for.
    """
    told: dict[str, Json] = {"quantization": method}
    if method != _COMPRESSED_TENSORS or config is None:
        return told
    groups = list((config.get("config_groups") or {}).values())
    if len(groups) == 1 and (kind := _kind(groups[0].get("weights"))):
        told["quantization"] = f"{method} {kind}"
    cache = _kind(config.get("kv_cache_scheme"))
    if kv_cache_dtype == "auto" and cache:
        told["kv_cache_dtype"] = cache
    return told


def _kind(arguments: Mapping[str, Any] | None) -> str | None:
    """Return e.g. `fp8` or `int4`."""
    if not arguments:
        return None
    letters = {"float": "fp", "int": "int"}.get(str(arguments.get("type")))
    return f"{letters}{arguments.get('num_bits')}" if letters else None
