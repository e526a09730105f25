"""Which part of an fp8 checkpoint with static scales changes a model's predictions.

    python -m benchmarks.fp8_parts BF16 FP8 DATASET [--samples N]

Reads N prompts with the bf16 checkpoint, and again with parts of it rounded as the
checkpoint by `python -m calibration` says. Prints the mean Kullback-Leibler divergence
of the next token's distribution from bf16's, and the share of positions with the same
most likely token.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM
from transformers.models.llama import modeling_llama

from calibration.source import PRODUCTS, layer_name
from qsl.cnn_eval import read_rows

PARTS = ("weights", "activations", "KV cache")
_LARGEST = torch.finfo(torch.float8_e4m3fn).max
_rotate = modeling_llama.apply_rotary_pos_emb


def rounded(values: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Return `values` as fp8 with this scale would keep them."""
    scaled = (values.float() / scale.float()).clamp(-_LARGEST, _LARGEST)
    return (scaled.to(torch.float8_e4m3fn).float() * scale.float()).to(values.dtype)


def quantize(model: Any, fp8: dict[str, torch.Tensor], parts: tuple[str, ...]) -> None:
    """Have `model` round these parts as the checkpoint `fp8` does."""
    key_scale: list[torch.Tensor] = []

    def at_input(scale: torch.Tensor) -> Callable[..., Any]:
        return lambda _module, given: (rounded(given[0], scale), *given[1:])

    def at_output(scale: torch.Tensor) -> Callable[..., Any]:
        return lambda _module, _given, made: rounded(made, scale)

    def rotate(*given: Any, **named: Any) -> tuple[torch.Tensor, torch.Tensor]:
        query, key = _rotate(*given, **named)
        return query, rounded(key, key_scale[0])

    for layer in range(model.config.num_hidden_layers):
        attention = f"{layer_name(layer)}.self_attn"
        for product in PRODUCTS:
            name = f"{layer_name(layer)}.{product}"
            module = model.get_submodule(name)
            if "weights" in parts:
                weight = fp8[f"{name}.weight"].float() * fp8[f"{name}.weight_scale"]
                module.weight.data.copy_(weight)
            if "activations" in parts:
                module.register_forward_pre_hook(at_input(fp8[f"{name}.input_scale"]))
        if "KV cache" in parts:
            values = model.get_submodule(f"{attention}.v_proj")
            values.register_forward_hook(at_output(fp8[f"{attention}.v_scale"]))
            # Keys are kept as they are after the rotation, which is no module.
            model.get_submodule(attention).register_forward_pre_hook(
                lambda _m, _g, scale=fp8[f"{attention}.k_scale"]: key_scale.__setitem__(
                    slice(None), [scale]
                )
            )
    modeling_llama.apply_rotary_pos_emb = rotate if "KV cache" in parts else _rotate


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bf16", type=Path)
    parser.add_argument("fp8", type=Path)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--samples", type=int, default=16)
    options = parser.parse_args()
    fp8 = load_file(options.fp8 / "model.safetensors")
    rows, _ = read_rows(options.dataset)
    prompts = [row.tok_input for row in rows[: options.samples]]
    print(f"{len(prompts)} prompts, {sum(map(len, prompts))} tokens")
    kept: list[torch.Tensor] = []
    for parts in ((), *((part,) for part in PARTS), PARTS):
        model = AutoModelForCausalLM.from_pretrained(options.bf16, dtype=torch.bfloat16)
        quantize(model, fp8, parts)
        divergence, same, count = 0.0, 0, 0
        for number, ids in enumerate(prompts):
            with torch.no_grad():
                logits = model(torch.tensor([ids])).logits[0].float()
            logs = logits.log_softmax(-1)
            if not parts:
                kept.append(logs)
                continue
            before = kept[number]
            divergence += float((before.exp() * (before - logs)).sum())
            same += int((before.argmax(-1) == logs.argmax(-1)).sum())
            count += len(ids)
        if parts:
            print(
                f"| {' and '.join(parts)} | {divergence / count:.4f}"
                f" | {100 * same / count:.1f}% |",
                flush=True,
            )


if __name__ == "__main__":
    main()
