"""Quantizes with llm-compressor, which only the calibration environment has."""

import contextlib
import importlib.metadata
import io
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from llmcompressor import oneshot
from llmcompressor.modifiers.quantization import QuantizationModifier
from tokenizers import Tokenizer
from torch.utils.data import DataLoader
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from base.errors import UserError
from base.log import announce, track
from calibration.result import scale_names
from calibration.source import FUSED, layer_name

# The largest magnitude that was seen, not llm-compressor's moving average of largest
# ones, which depends on the order of samples and clips what lies above it.
_OBSERVER = "static_minmax"
_KV_CACHE = {
    "num_bits": 8,
    "type": "float",
    "strategy": "tensor",
    "dynamic": False,
    "symmetric": True,
    "observer": _OBSERVER,
}
_PACKAGES = ("llmcompressor", "compressed-tensors", "transformers", "torch")


@dataclass(frozen=True, slots=True, kw_only=True)
class Compressed:
    """What was done."""

    scales: dict[str, float]
    """By the names of their tensors."""
    device: str
    versions: dict[str, str]


class _Shown(DataLoader):  # type: ignore[misc]
    """Shows how far the calibration is."""

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        yield from track(super().__iter__(), len(self), "calibrating")


def compress(
    source: Path, prompts: Sequence[list[int]], encoder: Tokenizer, target: Path
) -> Compressed:
    """Write the bf16 checkpoint `source` to the folder `target`, in fp8.

    Calibrates on the first GPU where there is one. Each prompt is one forward pass of
    the unquantized model.

    Raises:
        UserError: the model cannot be loaded, or does not fit on the GPU.
        OSError, SafetensorError: the target cannot be written.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        announce("loading the model")
        model = _load(source, device)
        oneshot(
            model=model,
            # Only asked for, never used: the prompts are token ids already.
            processor=PreTrainedTokenizerFast(tokenizer_object=encoder),
            dataset=_Shown(_batches(prompts), batch_size=None),
            recipe=QuantizationModifier(
                targets=["Linear"],
                scheme="FP8",
                ignore=["lm_head"],
                input_observer=_OBSERVER,
                kv_cache_scheme=_KV_CACHE,
            ),
            pipeline="basic",
        )
    except torch.OutOfMemoryError as error:
        raise UserError(
            f"{source}: does not fit on the GPU; CUDA_VISIBLE_DEVICES= calibrates on"
            " the CPU"
        ) from error
    _share_scales(model)
    scales = _scales(model, int(model.config.num_hidden_layers))
    announce("writing the checkpoint")
    # It shows bars of its own and warns of offloaded weights, where there are none.
    with contextlib.redirect_stderr(io.StringIO()):
        model.save_pretrained(target, max_shard_size="5GB")
    return Compressed(
        scales=scales,
        device=torch.cuda.get_device_name() if device == "cuda" else "CPU",
        versions={name: importlib.metadata.version(name) for name in _PACKAGES}
        | {"python": platform.python_version()},
    )


def _load(source: Path, device: str) -> torch.nn.Module:
    try:
        model = AutoModelForCausalLM.from_pretrained(
            source, dtype=torch.bfloat16, local_files_only=True
        )
    except (OSError, ValueError, KeyError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"{source}: transformers cannot load it: {reason}") from error
    return model.to(device)


def _batches(prompts: Sequence[list[int]]) -> list[dict[str, torch.Tensor]]:
    tensors = (torch.tensor([tokens]) for tokens in prompts)
    return [
        {"input_ids": ids, "attention_mask": torch.ones_like(ids)} for ids in tensors
    ]


def _share_scales(model: torch.nn.Module) -> None:
    """Give the weights of what vLLM multiplies at once the largest of their scales.

    vLLM takes that one in any case. Weights stored with another scale it would round a
    second time.
    """
    for layer in range(int(model.config.num_hidden_layers)):
        for products in FUSED:
            parts = [
                model.get_submodule(f"{layer_name(layer)}.{product}")
                for product in products
            ]
            scales = torch.stack([part.weight_scale.detach() for part in parts])
            for part in parts:
                part.weight_scale.data.copy_(scales.amax(0))


def _scales(model: torch.nn.Module, layers: int) -> dict[str, float]:
    found = {}
    for layer in range(layers):
        for name in scale_names(layer):
            module, _, kind = name.rpartition(".")
            scale = getattr(model.get_submodule(module), kind, None)
            if scale is not None and scale.numel() == 1:
                found[name] = float(scale)
    return found
