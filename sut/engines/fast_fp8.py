"""Matrix products in fp8 by cuBLASLt with fast accumulation, for vLLM to choose.

vLLM multiplies fp8 by CUTLASS kernels that accumulate fast, or by cuBLASLt in
PyTorch without that. On Hopper cuBLASLt with it needs less energy for the same
product, and such products run at the card's power limit. For weights and activations
that each have one scale per tensor.

Give vLLM `worker_extension_cls=sut.engines.fast_fp8.FastFp8`, so that every worker
imports this module before it loads the model, and take the kernels that vLLM would
prefer away: `VLLM_DISABLED_KERNELS=CutlassFP8ScaledMMLinearKernel,
PerTensorTorchFP8ScaledMMLinearKernel`. A worker's log then names
`FastFp8ScaledMMLinearKernel`.
"""

import math
from typing import Any

import torch
from vllm.model_executor.kernels.linear import register_linear_kernel
from vllm.model_executor.kernels.linear.scaled_mm.pytorch import (
    PerTensorTorchFP8ScaledMMLinearKernel,
)
from vllm.platforms.interface import PlatformEnum


class FastFp8ScaledMMLinearKernel(
    PerTensorTorchFP8ScaledMMLinearKernel  # type: ignore[misc]
):
    """vLLM's kernel over PyTorch, with fast accumulation."""

    def apply_weights(
        self, layer: torch.nn.Module, x: Any, bias: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return x, tokens x in, by the layer's weights; x may be fp8 already."""
        if not isinstance(x, torch.Tensor) or x.dtype != torch.float8_e4m3fn:
            return super().apply_weights(layer, x, bias)
        weight, weight_scale, input_scale, _ = self._get_layer_params(layer)
        return self.apply_scaled_mm(
            A=x,
            B=weight,
            out_dtype=self.config.out_dtype,
            As=input_scale,
            Bs=weight_scale,
            bias=bias,
            output_shape=[*x.shape[:-1], weight.shape[1]],
        )

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
        """Return A x B, scaled; rows that were added as padding are left out."""
        product = torch._scaled_mm(
            A,
            B,
            scale_a=As.view(1),
            scale_b=Bs.view(1),
            bias=bias,
            out_dtype=out_dtype,
            use_fast_accum=True,
        )
        return product[: math.prod(output_shape[:-1])].view(*output_shape)


class FastFp8:
    """Has vLLM's workers import this module; adds nothing else to them."""


register_linear_kernel(FastFp8ScaledMMLinearKernel, PlatformEnum.CUDA, "fp8")
