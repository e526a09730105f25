"""Triton kernels for what lies between the products of an fp8 model on Hopper.

Both are bound by memory alone; each thread moves 16 bytes at a time, in the order in
which they lie. What they compute is what vLLM's own kernels do.
"""

import torch
import triton
import triton.language as tl

FP8 = torch.float8_e4m3fn
FP8_MAX = tl.constexpr(448.0)


@triton.jit(do_not_specialize=["tokens"])  # type: ignore[untyped-decorator]
def _cache_kernel(  # type: ignore[no-untyped-def]
    key,  # noqa: ANN001
    value,  # noqa: ANN001
    cache,  # noqa: ANN001
    slots,  # noqa: ANN001
    key_scale,  # noqa: ANN001
    value_scale,  # noqa: ANN001
    tokens,  # noqa: ANN001
    key_token,  # noqa: ANN001
    value_token,  # noqa: ANN001
    cache_block,  # noqa: ANN001
    cache_page,  # noqa: ANN001
    cache_head,  # noqa: ANN001
    PAGE: tl.constexpr,  # noqa: N803
    HEADS: tl.constexpr,  # noqa: N803
    SIZE: tl.constexpr,  # noqa: N803
    TOKENS: tl.constexpr,  # noqa: N803
) -> None:
    token = tl.program_id(0) * TOKENS + tl.arange(0, TOKENS)
    slot = tl.load(slots + token, mask=token < tokens, other=-1).to(tl.int64)
    # A slot below zero marks a row that only fills up the batch.
    kept = (slot >= 0)[:, None]
    row = token.to(tl.int64)[:, None]
    within = tl.arange(0, HEADS * SIZE)[None, :]
    to = (slot // PAGE) * cache_block + (slot % PAGE) * cache_page
    to = to[:, None] + (within // SIZE) * cache_head + within % SIZE
    keys = tl.load(key + row * key_token + within, mask=kept, other=0.0)
    values = tl.load(value + row * value_token + within, mask=kept, other=0.0)
    # Rounded division, as vLLM divides; casting saturates on NVIDIA GPUs, but not in
    # Triton's interpreter, and a clamp costs nothing here. It keeps NaN.
    keys = tl.div_rn(keys.to(tl.float32), tl.load(key_scale))
    values = tl.div_rn(values.to(tl.float32), tl.load(value_scale))
    keys = tl.clamp(keys, -FP8_MAX, FP8_MAX, tl.PropagateNan.ALL)
    values = tl.clamp(values, -FP8_MAX, FP8_MAX, tl.PropagateNan.ALL)
    tl.store(cache + to, keys.to(tl.float8e4nv), mask=kept)
    tl.store(cache + to + SIZE, values.to(tl.float8e4nv), mask=kept)


def write_cache(
    key: torch.Tensor,
    value: torch.Tensor,
    cache: torch.Tensor,
    slots: torch.Tensor,
    key_scale: torch.Tensor,
    value_scale: torch.Tensor,
    rows: int = 1,
    warps: int = 4,
) -> None:
    """Store keys and values in a paged fp8 cache.

    Args:
        key: (tokens or more) x heads x size; a token's heads lie side by side.
        value: The same shape; strides between tokens may differ.
        cache: blocks x heads x page x 2 size, of bytes or fp8, in any order of strides;
            keys in the first half of the last dimension.
        slots: Where each token goes, block x page + place; below zero: nowhere. Rows
            of `key` beyond its length are left out.
        key_scale: What keys are divided by, one float32.
        value_scale: What values are divided by, one float32.
        rows: Tokens of one program, a power of two.
        warps: Warps of one program.
    """
    tokens = slots.shape[0]
    if tokens == 0:
        return
    _cache_kernel[(triton.cdiv(tokens, rows),)](
        key,
        value,
        cache.view(FP8),
        slots,
        key_scale,
        value_scale,
        tokens,
        key.stride(0),
        value.stride(0),
        cache.stride(0),
        cache.stride(2),
        cache.stride(1),
        PAGE=cache.shape[2],
        HEADS=key.shape[1],
        SIZE=key.shape[2],
        TOKENS=rows,
        num_warps=warps,
    )


def takes(key: torch.Tensor, value: torch.Tensor, cache: torch.Tensor) -> bool:
    """Whether `write_cache` can do it: 16 bits, a power of two a token, dense heads."""
    heads, size = key.shape[1:]
    wide = heads * size
    return (
        key.dtype in (torch.bfloat16, torch.float16)
        and value.shape[1:] == key.shape[1:]
        and wide & (wide - 1) == 0
        and key.stride()[1:] == value.stride()[1:] == (size, 1)
        and cache.shape[-1] == 2 * size
        and cache.stride(-1) == 1
        and cache.element_size() == 1
    )


@triton.jit  # type: ignore[untyped-decorator]
def _silu_kernel(  # type: ignore[no-untyped-def]
    both,  # noqa: ANN001
    out,  # noqa: ANN001
    scale,  # noqa: ANN001
    WIDTH: tl.constexpr,  # noqa: N803
    BLOCK: tl.constexpr,  # noqa: N803
) -> None:
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = column < WIDTH
    gate = tl.load(both + row * 2 * WIDTH + column, mask=inside, other=0.0)
    up = tl.load(both + row * 2 * WIDTH + WIDTH + column, mask=inside, other=0.0)
    gate = gate.to(tl.float32)
    factor = tl.div_rn(1.0, tl.load(scale))
    product = gate * tl.sigmoid(gate) * up.to(tl.float32) * factor
    product = tl.clamp(product, -FP8_MAX, FP8_MAX, tl.PropagateNan.ALL)
    tl.store(out + row * WIDTH + column, product.to(tl.float8e4nv), mask=inside)


def silu_mul_fp8(
    both: torch.Tensor, scale: torch.Tensor, block: int = 2048, warps: int = 8
) -> torch.Tensor:
    """Return silu(gate) x up / scale in fp8.

    Args:
        both: tokens x 2 width, contiguous: gate, then up.
        scale: One float32.
        block: Columns of one program, a power of two.
        warps: Warps of one program.
    """
    tokens, width = both.shape[0], both.shape[1] // 2
    out = torch.empty(tokens, width, dtype=FP8, device=both.device)
    if tokens:
        _silu_kernel[(tokens, triton.cdiv(width, block))](
            both, out, scale, WIDTH=width, BLOCK=block, num_warps=warps
        )
    return out
