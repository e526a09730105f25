"""A Llama checkpoint of random weights, small enough to write in a test."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

VOCABULARY = 32_000
_LAYERS = 2


def write_tiny_llama(
    folder: Path,
    *,
    heads: int = 4,
    kv_heads: int = 2,
    head_size: int = 64,
    hidden: int = 256,
    vocabulary: int = VOCABULARY,
) -> Path:
    """Write the checkpoint to `folder` and return it."""
    inner = 2 * hidden
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return rng.normal(0, 0.05, shape).astype(np.float32)

    tensors = {
        "model.embed_tokens.weight": normal(vocabulary, hidden),
        "model.norm.weight": np.ones(hidden, np.float32),
        "lm_head.weight": normal(vocabulary, hidden),
    }
    for layer in range(_LAYERS):
        name = f"model.layers.{layer}."
        tensors |= {
            f"{name}input_layernorm.weight": np.ones(hidden, np.float32),
            f"{name}post_attention_layernorm.weight": np.ones(hidden, np.float32),
            f"{name}self_attn.q_proj.weight": normal(heads * head_size, hidden),
            f"{name}self_attn.k_proj.weight": normal(kv_heads * head_size, hidden),
            f"{name}self_attn.v_proj.weight": normal(kv_heads * head_size, hidden),
            f"{name}self_attn.o_proj.weight": normal(hidden, heads * head_size),
            f"{name}mlp.gate_proj.weight": normal(inner, hidden),
            f"{name}mlp.up_proj.weight": normal(inner, hidden),
            f"{name}mlp.down_proj.weight": normal(hidden, inner),
        }
    save_file(tensors, folder / "model.safetensors")
    shape = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": _LAYERS,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": head_size,
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10_000.0,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "bos_token_id": 1,
        "eos_token_id": 2,
        "vocab_size": vocabulary,
    }
    (folder / "config.json").write_text(json.dumps(shape))
    return folder
