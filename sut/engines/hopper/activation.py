"""Has Llama's gated activation and its quantization done by one kernel of our own.

Layers without a static scale, and without our product, stay as they are.
"""

from typing import Any

import torch
from vllm.model_executor.models.llama import LlamaMLP
from vllm.utils.torch_utils import direct_register_custom_op

from sut.engines.hopper.kernels import silu_mul_fp8
from sut.engines.hopper.products import FastFp8ScaledMMLinearKernel

by_vllm = LlamaMLP.forward


def quantized(both: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Return silu(gate) x up / scale, tokens x width in fp8, of tokens x 2 width."""
    return silu_mul_fp8(both, scale)


def shaped(both: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Return an empty tensor like `quantized`'s, for tracing."""
    del scale
    width = both.shape[1] // 2
    return torch.empty(
        both.shape[0], width, dtype=torch.float8_e4m3fn, device=both.device
    )


def forward(self: Any, x: torch.Tensor) -> torch.Tensor:
    """Do what `LlamaMLP.forward` does; x is tokens x hidden size."""
    down = self.down_proj
    # Fp8LinearMethod has the product itself, compressed tensors have it in a scheme.
    method = down.scheme if hasattr(down, "scheme") else down.quant_method
    product = getattr(method, "fp8_linear", None)
    scale = getattr(down, "input_scale", None)
    if scale is None or not isinstance(product, FastFp8ScaledMMLinearKernel):
        return by_vllm(self, x)
    both, _ = self.gate_up_proj(x)
    out, _ = down(torch.ops.vllm.sut_silu_mul_fp8(both, scale))
    return out


def install() -> None:
    """Have Llama's layers call `forward`."""
    direct_register_custom_op(
        op_name="sut_silu_mul_fp8",
        op_func=quantized,
        fake_impl=shaped,
        mutates_args=[],
    )
    LlamaMLP.forward = forward
