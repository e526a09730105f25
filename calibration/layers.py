"""What of a Llama checkpoint is quantized, and which parts share a scale."""

FUSED = (
    ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    ("mlp.gate_proj", "mlp.up_proj"),
)
"""Products that vLLM makes in one call, so with one scale."""
PRODUCTS = (*FUSED[0], "self_attn.o_proj", *FUSED[1], "mlp.down_proj")
"""The linear layers of a decoder layer. The output layer stays as it is."""


def layer_name(layer: int) -> str:
    """Return the prefix of the names of tensors in a decoder layer."""
    return f"model.layers.{layer}"
