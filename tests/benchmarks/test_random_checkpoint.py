"""Random checkpoints hold what vLLM reads of their scheme."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from benchmarks import random_checkpoint

pytestmark = pytest.mark.integration
SMALL = {
    "initializer_range": 0.02,
    "hidden_size": 64,
    "intermediate_size": 96,
    "head_dim": 16,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_hidden_layers": 2,
    "vocab_size": 128,
}
DOWN = "model.layers.1.mlp.down_proj"


@pytest.fixture(autouse=True)
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.json").write_text(json.dumps(SMALL))
    monkeypatch.setattr(random_checkpoint, "SHAPE", tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def written(out: Path, static: bool, scheme: str) -> tuple[dict[str, Any], Any]:
    random_checkpoint.write(out, static, scheme)
    tensors: dict[str, Any] = {}
    for file in out.glob("*.safetensors"):
        tensors |= load_file(file)
    config = json.loads((out / "config.json").read_text())
    return tensors, config.get("quantization_config")


def test_fp8_has_one_scale_a_tensor(tmp_path: Path) -> None:
    tensors, how = written(tmp_path / "out", True, "fp8")
    assert how["quant_method"] == "fp8"
    assert how["activation_scheme"] == "static"
    assert tensors[f"{DOWN}.weight"].dtype == torch.float8_e4m3fn
    assert tensors[f"{DOWN}.weight"].float().abs().max() == 448
    assert tensors[f"{DOWN}.weight_scale"].shape == ()
    assert tensors[f"{DOWN}.input_scale"].shape == ()


@pytest.mark.parametrize("static", [True, False])
def test_int8_has_a_scale_a_channel(tmp_path: Path, static: bool) -> None:
    tensors, how = written(tmp_path / "out", static, "int8")
    group = how["config_groups"]["group_0"]
    assert how["quant_method"] == "compressed-tensors"
    assert group["weights"]["strategy"] == "channel"
    assert group["input_activations"]["dynamic"] is not static
    weight, scale = tensors[f"{DOWN}.weight"], tensors[f"{DOWN}.weight_scale"]
    assert weight.dtype == torch.int8
    assert scale.shape == (64, 1)
    assert (weight.int().abs().amax(dim=1) == 127).all()
    assert (f"{DOWN}.input_scale" in tensors) is static
    if static:
        assert tensors[f"{DOWN}.input_scale"].shape == (1,)


def test_all_schemes_hold_the_same_weights(tmp_path: Path) -> None:
    exact, how = written(tmp_path / "bf16", True, "bf16")
    assert how is None
    assert not [name for name in exact if name.endswith("scale")]
    for scheme in ("fp8", "int8"):
        tensors, _ = written(tmp_path / scheme, True, scheme)
        back = tensors[f"{DOWN}.weight"].float() * tensors[f"{DOWN}.weight_scale"]
        wanted = exact[f"{DOWN}.weight"].float()
        assert (back - wanted).norm() / wanted.norm() < 0.05


def test_a_run_repeats_itself(tmp_path: Path) -> None:
    digests = []
    for name in ("a", "b"):
        random_checkpoint.write(tmp_path / name, True)
        held = (tmp_path / name / "model-layers-00.safetensors").read_bytes()
        digests.append(hashlib.sha256(held).digest())
    assert digests[0] == digests[1]
