"""Products in fp8 by cuBLASLt with fast accumulation, for vLLM to choose.

vLLM multiplies fp8 by CUTLASS kernels that accumulate fast, or by cuBLASLt in PyTorch
without that. On Hopper cuBLASLt with it needs less energy for the same product, and
such products run at the card's power limit. For long batches and Llama-3.1-8B's shapes
it gets an algorithm of our choice, too.
"""

import logging
import math
from functools import cache
from typing import NamedTuple

import torch
from vllm.model_executor.kernels import linear
from vllm.model_executor.kernels.linear.scaled_mm.pytorch import (
    PerTensorTorchFP8ScaledMMLinearKernel,
)
from vllm.platforms.interface import PlatformEnum
from vllm.utils.torch_utils import direct_register_custom_op

from sut.engines.hopper.cublaslt import Algorithm, CublasLt

LONG = 2049
"""Rows of a batch that no CUDA graph holds.

Shorter ones may be captured. Before that, an engine runs one batch of
max_num_batched_tokens, and with it the library makes its handle and workspace: outside
the graphs' memory.
"""


class Choice(NamedTuple):
    """An algorithm, by what distinguishes it from others that cuBLASLt offers."""

    rows_from: int
    tile: int
    custom: int
    cluster: int
    asked: int = 8192
    """Rows at which cuBLASLt is asked for it: what it offers depends on them."""


CHOSEN = {  # (N, K): by rows, the fewest first
    (28672, 4096): (
        Choice(1281, 201, 2, 5, asked=1536),
        Choice(LONG, 201, 2, 5),
    ),
    (4096, 14336): (Choice(12288, 24, 7, 5, asked=12288),),
    (4096, 4096): (Choice(3073, 201, 2, 5, asked=4096), Choice(6145, 29, 1, 3)),
    (6144, 4096): (Choice(LONG, 197, 2, 5),),
}
"""The fastest at the card's power limit: on H200 from 7,680 rows on
(benchmarks/2026-11_h200_kernels.md), on H100 up to 4,096 (2026-11_h100_products.md)."""
log = logging.getLogger("vllm.sut.products")
library = cache(CublasLt)


@cache
def algorithm(n: int, k: int, choice: Choice) -> Algorithm | None:
    """Return the chosen algorithm for N x K; None where cuBLASLt does not offer it."""
    a, b = (
        torch.empty(i, k, dtype=torch.float8_e4m3fn, device="cuda")
        for i in (choice.asked, n)
    )
    for offered in library().algorithms(a, b, torch.ones(1, device="cuda")):
        has = offered.configuration
        wanted = (choice.tile, choice.custom, choice.cluster)
        if tuple(has.get(name, 0) for name in ("tile", "custom", "cluster")) == wanted:
            log.info("%d x %d from %d rows: %s", n, k, choice.rows_from, offered)
            return offered
    log.warning("%d x %d: cuBLASLt does not offer %s", n, k, choice)
    return None


def chosen(n: int, k: int, rows: int) -> Choice | None:
    """Return the choice for so many rows of N x K, if there is one."""
    fitting = [each for each in CHOSEN.get((n, k), ()) if each.rows_from <= rows]
    return fitting[-1] if fitting else None


def multiply(
    a: torch.Tensor,
    b: torch.Tensor,
    a_scale: torch.Tensor,
    b_scale: torch.Tensor,
    out_dtype: torch.dtype,
) -> torch.Tensor:
    """Return a (M x K) by b (K x N), scaled, M x N; both fp8, b in columns."""
    m, (k, n) = a.shape[0], b.shape
    choice = chosen(n, k, m)
    if choice and out_dtype is torch.bfloat16 and a.is_cuda:
        way = algorithm(n, k, choice)
        if way is not None:
            return library().multiply(a, b.t(), a_scale, b_scale, way)
    return torch._scaled_mm(
        a,
        b,
        scale_a=a_scale.view(1),
        scale_b=b_scale.view(1),
        out_dtype=out_dtype,
        use_fast_accum=True,
    )


def shaped(
    a: torch.Tensor,
    b: torch.Tensor,
    a_scale: torch.Tensor,
    b_scale: torch.Tensor,
    out_dtype: torch.dtype,
) -> torch.Tensor:
    """Return an empty tensor like `multiply`'s, for tracing."""
    del a_scale, b_scale
    return torch.empty(a.shape[0], b.shape[1], dtype=out_dtype, device=a.device)


class FastFp8ScaledMMLinearKernel(
    PerTensorTorchFP8ScaledMMLinearKernel  # type: ignore[misc]
):
    """vLLM's kernel over PyTorch, with fast accumulation."""

    def apply_weights(
        self, layer: torch.nn.Module, x: torch.Tensor, bias: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return x (tokens x in) by the layer's weights; x may be quantized already."""
        if x.dtype != torch.float8_e4m3fn:
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
        product = torch.ops.vllm.sut_fp8_product(A, B, As, Bs, out_dtype)
        if bias is not None:
            product = product + bias
        return product[: math.prod(output_shape[:-1])].view(*output_shape)


def install() -> None:
    """Have vLLM prefer this kernel wherever it can serve."""
    direct_register_custom_op(
        op_name="sut_fp8_product",
        op_func=multiply,
        fake_impl=shaped,
        mutates_args=[],
    )
    linear.register_linear_kernel(FastFp8ScaledMMLinearKernel, PlatformEnum.CUDA, "fp8")
    # Registered ones come last, behind others that serve any scale.
    candidates = linear._POSSIBLE_FP8_KERNELS[PlatformEnum.CUDA]
    candidates.insert(0, candidates.pop())
