"""Checkpoints and calibration files that are small enough for a test."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file
from tokenizers import Tokenizer, models, pre_tokenizers

from calibration.source import PRODUCTS, layer_name
from qsl.cnn_eval import prompt
from tests.tiny_llama import write_tiny_llama

LAYERS, WIDTH, VOCABULARY = 2, 4, 100
Stored = tuple[str, tuple[int, ...], bytes]
"""A tensor's type as safetensors names it, its shape, and its content."""
WORDS = ("[UNK]", "Summarize", "article", "tokens", "alpha", "beta", "gamma", "delta")


def write_checkpoint(folder: Path, dtype: str = "BF16", **config: object) -> Path:
    """Write a checkpoint of Llama's form, with weights of zero, to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    size = {"BF16": 2, "F32": 4}[dtype]
    matrices = ["model.embed_tokens.weight", "lm_head.weight"]
    for layer in range(LAYERS):
        matrices += [f"{layer_name(layer)}.{product}.weight" for product in PRODUCTS]
    matrix = (dtype, (WIDTH, WIDTH), bytes(WIDTH * WIDTH * size))
    tensors: dict[str, Stored] = dict.fromkeys(matrices, matrix)
    tensors["model.norm.weight"] = ("F32", (WIDTH,), bytes(WIDTH * 4))
    write_safetensors(folder / "model.safetensors", tensors)
    values = {
        "architectures": ["LlamaForCausalLM"],
        "vocab_size": VOCABULARY,
        "max_position_embeddings": 4096,
        "num_hidden_layers": LAYERS,
    }
    (folder / "config.json").write_text(json.dumps(values | config))
    write_tokenizer(folder)
    return folder


def write_safetensors(path: Path, tensors: dict[str, Stored]) -> None:
    """Write a safetensors file, also of types that numpy lacks."""
    header, content = {}, b""
    for name, (dtype, shape, data) in tensors.items():
        offsets = [len(content), len(content) + len(data)]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
        content += data
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + content)


def write_tokenizer(folder: Path) -> Tokenizer:
    """Write a tokenizer that knows a few words to `folder`, and return it."""
    made = Tokenizer(
        models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]")
    )
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.save(str(folder / "tokenizer.json"))
    return made


def write_calibration(path: Path, encoder: Tokenizer, count: int) -> Path:
    """Write a calibration file of `count` rows as `qsl.prepare` does."""
    rows = []
    for i in range(count):
        article = " ".join(WORDS[4 + (i + k) % 4] for k in range(20 + i))
        rows.append(
            {
                "input": article,
                "instruction": "",
                "output": "alpha",
                "tok_input": encoder.encode(prompt(article)).ids,
            }
        )
    path.write_text(json.dumps(rows))
    return path


def write_bf16_tiny_llama(folder: Path) -> Path:
    """Write the tiny Llama of random weights in bf16, with a tokenizer."""
    write_tiny_llama(folder)
    weights = folder / "model.safetensors"
    tensors: dict[str, Stored] = {}
    for name, values in load_file(weights).items():
        # The upper half of a float32 is the bf16 next to zero.
        upper = (values.view(np.uint32) >> 16).astype(np.uint16)
        tensors[name] = ("BF16", values.shape, upper.tobytes())
    write_safetensors(weights, tensors)
    write_tokenizer(folder)
    return folder
