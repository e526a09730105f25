"""Lets vLLM's CPU build run fp8 checkpoints with static scales, to score answers.

    engine.options.worker_extension_cls=benchmarks.fp8_on_cpu.Fp8OnCpu

vLLM 0.32 loads such a checkpoint on a CPU and has an fp8 KV cache there, but some
parts are lacking or slow. Replaced are
- the operation that rounds to fp8 with a given scale, which loading needs: by torch;
- the activation fused with such rounding: vLLM does one after the other;
- products: `torch._scaled_mm` takes up to twenty times as long as a product in bf16 on
  a CPU without instructions for fp8. The same fp8 numbers, which bf16 holds exactly,
  are multiplied in bf16.

What is computed is what a GPU computes, but for the order of additions and for one
more rounding of a product to bf16, before it is scaled.
"""

import torch
from torch.nn import Parameter
from vllm import _custom_ops
from vllm.model_executor.kernels.linear import register_linear_kernel
from vllm.model_executor.kernels.linear.scaled_mm.pytorch import (
    PerTensorTorchFP8ScaledMMLinearKernel,
)
from vllm.platforms.interface import PlatformEnum


class CpuFp8ScaledMMLinearKernel(
    PerTensorTorchFP8ScaledMMLinearKernel  # type: ignore[misc]
):
    """vLLM's kernel over PyTorch, with products in bf16."""

    def input_quant_key(self) -> None:
        """Offer no fusion."""

    def get_output_padding(self) -> None:
        """Want no padding."""

    def process_weights_after_loading(self, layer: torch.nn.Module) -> None:
        """Keep the weights as bf16."""
        layer.weight = Parameter(layer.weight.to(torch.bfloat16), requires_grad=False)

    def apply_scaled_mm(
        self,
        *,
        A: torch.Tensor,  # noqa: N803
        B: torch.Tensor,  # noqa: N803
        out_dtype: torch.dtype,
        As: torch.Tensor,  # noqa: N803
        Bs: torch.Tensor,  # noqa: N803
        bias: torch.Tensor | None,
        output_shape: list[int],
    ) -> torch.Tensor:
        """Return A x B, scaled."""
        product = torch.mm(A.to(torch.bfloat16), B) * (As * Bs).to(torch.float32)
        if bias is not None:
            product += bias
        return product.to(out_dtype).view(*output_shape)


def _scaled_fp8_quant(
    input: torch.Tensor, scale: torch.Tensor | None = None, **others: object
) -> tuple[torch.Tensor, torch.Tensor]:
    """Round `input` / `scale` to fp8; saturates at the ends of its range."""
    if scale is None or scale.numel() != 1 or any(others.values()):
        raise NotImplementedError("only one given scale, and no padding")
    largest = torch.finfo(torch.float8_e4m3fn).max
    scaled = input.to(torch.float32) / scale.to(torch.float32)
    return scaled.clamp(-largest, largest).to(torch.float8_e4m3fn), scale


class Fp8OnCpu:
    """Has vLLM's workers import this module; adds nothing else to them."""


_custom_ops.scaled_fp8_quant = _scaled_fp8_quant
register_linear_kernel(CpuFp8ScaledMMLinearKernel, PlatformEnum.CPU, "fp8")
