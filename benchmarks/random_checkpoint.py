"""Writes Llama-3.1-8B's shape as a checkpoint of random weights: fp8, int8 or bf16.

    python -m benchmarks.random_checkpoint OUT [--scheme fp8|int8|bf16]
        [--activations static|dynamic]

Serve it with

    model=llama3_1-8b_dummy model.path=OUT engine.options.load_format=safetensors

vLLM's own dummy weights lie within 0.001 of zero. Cast to fp8, nearly all of them
become zero, and matrix units run faster on zeros than on data: a checkpoint with
static scales, which vLLM takes as it is, would be measured too fast. Here weights are
normal with the deviation that Llama is initialized with, scaled to fill fp8's range.
There is nothing to calibrate: activations of such a model are near normal, and its
static scales put six deviations at the end of the range. int8 is that of compressed
tensors: one scale per output channel, activations per tensor (static) or per token
(dynamic). `--activations` does nothing to bf16.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

SHAPE = Path(__file__).resolve().parents[1] / "sut" / "shapes" / "llama3_1-8b"
FP8_MAX = 448.0
INT8_MAX = 127.0
SCHEMES = ("fp8", "int8", "bf16")
DEVIATIONS = 6.0
LAYERS_A_FILE = 4


def quantized(
    weight: torch.Tensor, scheme: str
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return a float32 weight (out x in) as the scheme stores it, and its scale.

    One scale, of no dimension, for fp8; out x 1 for int8; none for bf16.
    """
    if scheme == "bf16":
        return weight.bfloat16(), None
    if scheme == "int8":
        scales = weight.abs().amax(dim=1, keepdim=True) / INT8_MAX
        return (weight / scales).round().to(torch.int8), scales
    scale = weight.abs().max() / FP8_MAX
    return (weight / scale).to(torch.float8_e4m3fn), scale


def input_scale(widest: float, scheme: str) -> torch.Tensor:
    """Return the scale of activations up to `widest`; int8's loader wants a vector."""
    if scheme == "int8":
        return torch.tensor([widest / INT8_MAX])
    return torch.tensor(widest / FP8_MAX)


def write(out: Path, static: bool, scheme: str = "fp8") -> None:
    """Write the checkpoint to `out`, a new folder."""
    shape = json.loads((SHAPE / "config.json").read_text())
    out.mkdir(parents=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    spread = float(shape["initializer_range"])
    hidden, inner = int(shape["hidden_size"]), int(shape["intermediate_size"])
    heads = int(shape["head_dim"])
    query = heads * int(shape["num_attention_heads"])
    key = heads * int(shape["num_key_value_heads"])
    products = {
        "self_attn.q_proj": (query, hidden),
        "self_attn.k_proj": (key, hidden),
        "self_attn.v_proj": (key, hidden),
        "self_attn.o_proj": (hidden, query),
        "mlp.gate_proj": (inner, hidden),
        "mlp.up_proj": (inner, hidden),
        "mlp.down_proj": (hidden, inner),
    }
    # Deviation of what enters a product: 1 behind a norm; values are at most as wide as
    # the projection makes them, and gating narrows what was projected.
    projected = spread * hidden**0.5
    inputs = {"self_attn.o_proj": projected, "mlp.down_proj": projected}

    def normal(*size: int) -> torch.Tensor:
        return torch.randn(size, device=device, dtype=torch.float32).mul_(spread)

    layers = int(shape["num_hidden_layers"])
    scales: dict[str, torch.Tensor] = {}
    for begin in range(0, layers, LAYERS_A_FILE):
        tensors: dict[str, torch.Tensor] = {}
        for layer in range(begin, min(layers, begin + LAYERS_A_FILE)):
            name = f"model.layers.{layer}."
            for norm in ("input_layernorm", "post_attention_layernorm"):
                tensors[f"{name}{norm}.weight"] = torch.ones(hidden).bfloat16()
            for product, size in products.items():
                weight, scale = quantized(normal(*size), scheme)
                tensors[f"{name}{product}.weight"] = weight.cpu()
                if scale is not None:
                    tensors[f"{name}{product}.weight_scale"] = scale.cpu()
                widest = DEVIATIONS * inputs.get(product, 1.0)
                scales[f"{name}{product}.input_scale"] = input_scale(widest, scheme)
        save_file(tensors, out / f"model-layers-{begin:02d}.safetensors")
    vocabulary = int(shape["vocab_size"])
    ends = {
        "model.embed_tokens.weight": normal(vocabulary, hidden).bfloat16().cpu(),
        "model.norm.weight": torch.ones(hidden).bfloat16(),
        "lm_head.weight": normal(vocabulary, hidden).bfloat16().cpu(),
    }
    save_file(ends, out / "model-ends.safetensors")
    if static and scheme != "bf16":
        save_file(scales, out / "input-scales.safetensors")
    # config.json last: a folder that has it is complete.
    (out / "config.json").write_text(
        json.dumps(config(shape, static, scheme), indent=1)
    )


def config(shape: dict[str, Any], static: bool, scheme: str) -> dict[str, Any]:
    """Return config.json: the model's shape, and how it is quantized."""
    if scheme == "bf16":
        return shape
    if scheme == "fp8":
        quantization: dict[str, Any] = {
            "quant_method": "fp8",
            "activation_scheme": "static" if static else "dynamic",
            "ignored_layers": ["lm_head"],
        }
        return shape | {"quantization_config": quantization}
    whole = {"num_bits": 8, "type": "int", "symmetric": True}
    activations = "tensor" if static else "token"
    quantization = {
        "quant_method": "compressed-tensors",
        "format": "int-quantized",
        "quantization_status": "compressed",
        "ignore": ["lm_head"],
        "config_groups": {
            "group_0": {
                "targets": ["Linear"],
                "weights": whole | {"strategy": "channel", "dynamic": False},
                "input_activations": whole
                | {"strategy": activations, "dynamic": not static},
            }
        },
    }
    return shape | {"quantization_config": quantization}


def main() -> None:
    """Write the checkpoint that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument(
        "--activations", choices=("static", "dynamic"), default="static"
    )
    parser.add_argument("--scheme", choices=SCHEMES, default="fp8")
    options = parser.parse_args()
    if options.out.exists():
        sys.exit(f"{options.out} exists; give a new folder")
    try:
        write(options.out, options.activations == "static", options.scheme)
    except BaseException:
        shutil.rmtree(options.out, ignore_errors=True)
        raise


if __name__ == "__main__":
    main()
