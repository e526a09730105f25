import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from calibration.result import UnexpectedResult, check_result, scale_names
from calibration.source import PRODUCTS, layer_name
from tests.calibration.made_up import Stored, write_safetensors

LAYERS = 2
STATIC = {
    "num_bits": 8,
    "type": "float",
    "strategy": "tensor",
    "dynamic": False,
    "symmetric": True,
    "observer": "static_minmax",
}


def _write(folder: Path, change: Callable[[Any], None] = lambda _config: None) -> Path:
    config = {
        "num_hidden_layers": LAYERS,
        "quantization_config": {
            "quant_method": "compressed-tensors",
            "format": "float-quantized",
            "ignore": ["lm_head"],
            "config_groups": {
                "group_0": {
                    "targets": ["Linear"],
                    "weights": dict(STATIC),
                    "input_activations": dict(STATIC),
                }
            },
            "kv_cache_scheme": dict(STATIC),
        },
    }
    change(config["quantization_config"])
    (folder / "config.json").write_text(json.dumps(config))
    tensors: dict[str, Stored] = dict.fromkeys(_scales(), ("BF16", (1,), bytes(2)))
    weight = ("F8_E4M3", (2, 2), bytes(4))
    for layer in range(LAYERS):
        for product in PRODUCTS:
            tensors[f"{layer_name(layer)}.{product}.weight"] = weight
    write_safetensors(folder / "model.safetensors", tensors)
    return folder


def _scales() -> dict[str, float]:
    return {name: 0.5 for layer in range(LAYERS) for name in scale_names(layer)}


def test_static_fp8_passes(tmp_path: Path) -> None:
    assert len(_scales()) == LAYERS * 16
    check_result(_write(tmp_path), _scales())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda q: q["config_groups"]["group_0"]["weights"].update(
                strategy="channel"
            ),
            "weights: .*channel",
        ),
        (
            lambda q: q["config_groups"]["group_0"]["input_activations"].update(
                dynamic=True
            ),
            "input_activations: .*dynamic=True",
        ),
        (lambda q: q["kv_cache_scheme"].update(strategy="attn_head"), "KV cache: "),
        (lambda q: q.pop("kv_cache_scheme"), r"config\.json: .*kv_cache_scheme"),
        (lambda q: q.update(ignore=[]), "left out"),
        (
            lambda q: q.update(format="pack-quantized"),
            "format .*, pack",
        ),
        (lambda q: q["config_groups"].clear(), "0 groups"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_another_scheme_is_found(
    tmp_path: Path, change: Callable[[Any], None], message: str
) -> None:
    with pytest.raises(UnexpectedResult, match=message):
        check_result(_write(tmp_path, change), _scales())


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf"), -1.0])
def test_scales_that_cannot_be(tmp_path: Path, value: float) -> None:
    scales = _scales() | {"model.layers.1.self_attn.k_scale": value}
    with pytest.raises(UnexpectedResult, match=r"layers\.1\.self_attn\.k_scale is "):
        check_result(_write(tmp_path), scales)


def test_missing_and_unequal_scales(tmp_path: Path) -> None:
    folder = _write(tmp_path)
    scales = _scales()
    scales.pop("model.layers.0.mlp.down_proj.input_scale")
    with pytest.raises(UnexpectedResult, match=r"down_proj\.input_scale is nan"):
        check_result(folder, scales)
    scales = _scales() | {"model.layers.0.mlp.up_proj.weight_scale": 0.25}
    with pytest.raises(UnexpectedResult, match=r"gate_proj\.weight_scale differs"):
        check_result(folder, scales)


def test_tensors_are_looked_at(tmp_path: Path) -> None:
    folder = _write(tmp_path)
    write_safetensors(folder / "model.safetensors", {})
    with pytest.raises(UnexpectedResult, match=r"q_proj\.weight is None \(46 such\)"):
        check_result(folder, _scales())
