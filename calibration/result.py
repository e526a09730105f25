"""Whether what was made is what vLLM takes as fp8 with static scales."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from base.decode import DecodeError, decode_json
from base.errors import NotGood
from calibration.source import FUSED, PRODUCTS, LayerCount, layer_name, read_headers

Scales = Mapping[str, float]
"""Scales by the names of their tensors."""


class UnexpectedResult(NotGood):
    """llm-compressor made another result than was requested."""


class _Arguments(msgspec.Struct):
    num_bits: int
    type: str
    strategy: str
    dynamic: bool | str
    symmetric: bool


class _Group(msgspec.Struct):
    targets: list[str]
    weights: _Arguments
    input_activations: _Arguments


class _Quantization(msgspec.Struct):
    quant_method: str
    format: str
    ignore: list[str]
    config_groups: dict[str, _Group]
    kv_cache_scheme: _Arguments


class _HfConfig(msgspec.Struct):
    num_hidden_layers: LayerCount
    quantization_config: _Quantization


_STATIC_FP8 = _Arguments(
    num_bits=8, type="float", strategy="tensor", dynamic=False, symmetric=True
)


def check_result(folder: Path, scales: Scales) -> None:
    """Check the checkpoint in `folder`, made with `scales`.

    vLLM would run a checkpoint with other scales as well, only by other, slower
    kernels, or by quantizing again what shares a product: nobody would notice.

    Raises:
        UnexpectedResult: it is something else than fp8 with static scales, one for
            each tensor.
        UserError: a file cannot be read.
    """
    try:
        text = (folder / "config.json").read_bytes()
        config = decode_json(text, _HfConfig)
    except DecodeError as error:
        raise UnexpectedResult(
            f"not what vLLM takes as static: config.json: {error}"
        ) from error
    problems = [
        *_of_config(config.quantization_config),
        *_of_scales(config.num_hidden_layers, scales),
        *_of_tensors(folder, config.num_hidden_layers, scales),
    ]
    if problems:
        raise UnexpectedResult(
            f"not what vLLM takes as static: {problems[0]} ({len(problems)} such)"
        )


def _of_config(found: _Quantization) -> Iterator[str]:
    if (found.quant_method, found.format) != ("compressed-tensors", "float-quantized"):
        yield f"format {found.quant_method}, {found.format}"
    if found.ignore != ["lm_head"]:
        yield f"left out: {found.ignore}, not the output layer alone"
    groups = list(found.config_groups.values())
    if len(groups) != 1 or groups[0].targets != ["Linear"]:
        yield f"{len(groups)} groups of layers, not one of all linear layers"
    for group in groups:
        for name in ("weights", "input_activations"):
            if getattr(group, name) != _STATIC_FP8:
                yield f"{name}: {getattr(group, name)}"
    if found.kv_cache_scheme != _STATIC_FP8:
        yield f"KV cache: {found.kv_cache_scheme}"


def scale_names(layer: int) -> Iterator[str]:
    """Yield the names of a layer's scales."""
    for product in PRODUCTS:
        yield f"{layer_name(layer)}.{product}.weight_scale"
        yield f"{layer_name(layer)}.{product}.input_scale"
    yield f"{layer_name(layer)}.self_attn.k_scale"
    yield f"{layer_name(layer)}.self_attn.v_scale"


def _of_scales(layers: int, scales: Scales) -> Iterator[str]:
    for layer in range(layers):
        for name in scale_names(layer):
            value = scales.get(name, math.nan)
            if not (math.isfinite(value) and value > 0):
                yield f"{name} is {value}"
        for products in FUSED:
            for kind in ("weight_scale", "input_scale"):
                names = [f"{layer_name(layer)}.{x}.{kind}" for x in products]
                if len({scales.get(name) for name in names}) != 1:
                    yield f"{names[0]} differs from what shares its product"


def _of_tensors(folder: Path, layers: int, scales: Scales) -> Iterator[str]:
    tensors = read_headers(sorted(folder.glob("*.safetensors")))
    for layer in range(layers):
        for product in PRODUCTS:
            name = f"{layer_name(layer)}.{product}.weight"
            if name not in tensors or tensors[name].dtype != "F8_E4M3":
                yield f"{name} is {tensors.get(name)}"
    for name in scales:
        if name not in tensors or tensors[name].size != 1:
            yield f"{name} is {tensors.get(name)}"
