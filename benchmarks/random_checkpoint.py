"""Writes Llama-3.1-8B's shape as an fp8 checkpoint of random weights.

    python -m benchmarks.random_checkpoint OUT [--activations static|dynamic]

Serve it with

    model=llama3_1-8b_dummy model.path=OUT engine.options.load_format=safetensors

vLLM's own dummy weights lie within 0.001 of zero. Cast to fp8, nearly all of them
become zero, and matrix units run faster on zeros than on data: a checkpoint with
static scales, which vLLM takes as it is, would be measured too fast. Here weights are
normal with the deviation that Llama is initialised with, scaled to fill fp8's range.
There is nothing to calibrate: activations of such a model are near normal, and its
static scales put six deviations at the end of the range.
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
DEVIATIONS = 6.0
LAYERS_A_FILE = 4


def write(out: Path, static: bool) -> None:
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
                weight = normal(*size)
                scale = weight.abs().max() / FP8_MAX
                tensors[f"{name}{product}.weight"] = (
                    (weight / scale).to(torch.float8_e4m3fn).cpu()
                )
                tensors[f"{name}{product}.weight_scale"] = scale.cpu()
                widest = DEVIATIONS * inputs.get(product, 1.0)
                scales[f"{name}{product}.input_scale"] = torch.tensor(widest / FP8_MAX)
        save_file(tensors, out / f"model-layers-{begin:02d}.safetensors")
    vocabulary = int(shape["vocab_size"])
    ends = {
        "model.embed_tokens.weight": normal(vocabulary, hidden).bfloat16().cpu(),
        "model.norm.weight": torch.ones(hidden).bfloat16(),
        "lm_head.weight": normal(vocabulary, hidden).bfloat16().cpu(),
    }
    save_file(ends, out / "model-ends.safetensors")
    if static:
        save_file(scales, out / "input-scales.safetensors")
    # config.json last: a folder that has it is complete.
    (out / "config.json").write_text(json.dumps(_config(shape, static), indent=1))


def _config(shape: dict[str, Any], static: bool) -> dict[str, Any]:
    scheme = "static" if static else "dynamic"
    quantization = {
        "quant_method": "fp8",
        "activation_scheme": scheme,
        "ignored_layers": ["lm_head"],
    }
    return shape | {"quantization_config": quantization}


def main() -> None:
    """Write the checkpoint that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument(
        "--activations", choices=("static", "dynamic"), default="static"
    )
    options = parser.parse_args()
    if options.out.exists():
        sys.exit(f"{options.out} exists; give a new folder")
    try:
        write(options.out, options.activations == "static")
    except BaseException:
        shutil.rmtree(options.out, ignore_errors=True)
        raise


if __name__ == "__main__":
    main()
