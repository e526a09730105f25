"""The kernels between the products of one layer: time, rate, and equal results.

    python -m benchmarks.small_kernels [TOKENS ...]

One layer of Llama-3.1-8B on one Hopper GPU, fp8 KV cache (NHD, pages of 16), for
16384, 7680 and 1024 tokens by default: the KV cache write, the gated
activation and both norms with quantization, each by vLLM, by Inductor as an engine uses
it, by Inductor tuned, and by `sut.engines.hopper.kernels`. The first of a part is what
vLLM uses by itself; others are compared with it. Several sets of buffers, 200 MB and
more, take turns, so that nothing comes from the L2 cache. Prints a Markdown table.
"""

import sys
from collections.abc import Callable
from itertools import cycle

import torch
from vllm import _custom_ops as ops
from vllm.v1.attention.ops.triton_reshape_and_cache_flash import (
    triton_reshape_and_cache_flash,
)

from sut.engines.hopper.kernels import silu_mul_fp8, write_cache

HIDDEN, INNER, HEADS, SIZE, PAGE = 4096, 14336, 8, 128, 16
FP8, BF16 = torch.float8_e4m3fn, torch.bfloat16
COLD_BYTES = 200 << 20
SLEEP_CYCLES = 20_000_000
EPSILON = 1e-5
Call = Callable[[int], torch.Tensor]
TUNED = {"coordinate_descent_tuning": True, "max_autotune_pointwise": True}


def seconds(call: Call, sets: int) -> float:
    """Return the time of a call, of 40 that a GPU does without waiting for Python."""
    for number in range(max(3, sets)):
        call(number % sets)
    turns = cycle(range(sets))
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda._sleep(SLEEP_CYCLES)  # meanwhile all calls are queued
    begin.record()
    for _ in range(40):
        call(next(turns))
    end.record()
    end.synchronize()
    return float(begin.elapsed_time(end)) / 1e3 / 40


def cache_write(tokens: int, sets: int) -> dict[str, Call]:
    """Ways to write keys and values of some tokens; they return the cache."""
    blocks = -(-tokens // PAGE) + 64
    products = torch.randn(sets, tokens, 6144, device="cuda", dtype=BF16)
    caches = torch.zeros(
        sets, blocks, PAGE, HEADS, 2 * SIZE, dtype=torch.uint8, device="cuda"
    )
    keys = [p[:, 4096:5120].contiguous().view(-1, HEADS, SIZE) for p in products]
    values = [p[:, 5120:].view(-1, HEADS, SIZE) for p in products]
    # Prompts take whole pages, in any order.
    slots = torch.randperm(blocks, device="cuda")[:, None] * PAGE
    slots = (slots + torch.arange(PAGE, device="cuda")).flatten()[:tokens].contiguous()
    one = torch.ones((), device="cuda")

    def halves(n: int) -> tuple[torch.Tensor, torch.Tensor]:
        key, value = caches[n].split(SIZE, dim=-1)
        return key, value

    def by_vllm(n: int) -> torch.Tensor:
        ops.reshape_and_cache_flash(
            keys[n], values[n], *halves(n), slots, "fp8", one, one
        )
        return caches[n]

    def by_vllm_triton(n: int) -> torch.Tensor:
        triton_reshape_and_cache_flash(
            keys[n], values[n], *halves(n), slots, "fp8", one, one
        )
        return caches[n]

    def ours(rows: int, warps: int) -> Call:
        def call(n: int) -> torch.Tensor:
            cache = caches[n].transpose(1, 2)
            write_cache(keys[n], values[n], cache, slots, one, one, rows, warps)
            return caches[n]

        return call

    own = {
        f"ours, {rows} tokens, {warps} warps": ours(rows, warps)
        for rows, warps in ((1, 4), (1, 2), (2, 4), (4, 4), (4, 8))
    }
    calls = {"vLLM, CUDA": by_vllm, "vLLM, Triton": by_vllm_triton} | own
    return {name: emptied(call, caches) for name, call in calls.items()}


def emptied(call: Call, caches: torch.Tensor) -> Call:
    """Return a call that empties the caches when it is first called."""
    first = True

    def wrapped(n: int) -> torch.Tensor:
        nonlocal first
        if first:
            caches.zero_()
            first = False
        return call(n)

    return wrapped


def quantized(x: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Quantize as vLLM's layer does it in PyTorch."""
    return (x.float() * scale.reciprocal()).clamp(-448, 448).to(FP8)


def silu(both: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Gate, multiply and quantize in PyTorch: tokens x 2 INNER to tokens x INNER."""
    gate, up = both[..., :INNER], both[..., INNER:]
    return quantized(torch.nn.functional.silu(gate) * up, scale)


def normed(
    x: torch.Tensor, residual: torch.Tensor, weight: torch.Tensor, scale: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Add, norm and quantize in PyTorch; return that and the new residual."""
    both = x.float() + residual.float()
    width = both.pow(2).mean(dim=-1, keepdim=True)
    narrow = (both * torch.rsqrt(width + EPSILON)).to(BF16) * weight
    return quantized(narrow, scale), both.to(BF16)


silu_plain = torch.compile(silu, dynamic=True)
silu_tuned = torch.compile(silu, dynamic=True, options=TUNED)
norm_plain = torch.compile(normed, dynamic=True)
norm_tuned = torch.compile(normed, dynamic=True, options=TUNED)


def activation(tokens: int, sets: int) -> dict[str, Call]:
    """Ways from gate and up to fp8."""
    data = torch.randn(sets, tokens, 2 * INNER, device="cuda", dtype=BF16)
    scale = torch.tensor(6 / 448, device="cuda")

    def by_vllm(n: int) -> torch.Tensor:
        out = torch.empty(tokens, INNER, dtype=FP8, device="cuda")
        torch.ops._C.silu_and_mul_quant(out, data[n], scale)
        return out

    def ours(block: int, warps: int) -> Call:
        return lambda n: silu_mul_fp8(data[n], scale, block, warps)

    own = {
        f"ours, {block} columns, {warps} warps": ours(block, warps)
        for block, warps in ((2048, 8), (2048, 4), (1024, 4), (1024, 2), (4096, 8))
    }
    return {
        "Inductor": lambda n: silu_plain(data[n], scale),
        "Inductor, tuned": lambda n: silu_tuned(data[n], scale),
        "vLLM, fuse_act_quant": by_vllm,
    } | own


def norm(tokens: int, sets: int) -> dict[str, Call]:
    """Ways from an output and the residual to the next product's input.

    The residual is written, too, and not compared.
    """
    data = torch.randn(sets, 2, tokens, HIDDEN, device="cuda", dtype=BF16)
    weight = torch.ones(HIDDEN, device="cuda", dtype=BF16)
    scale = torch.tensor(6 / 448, device="cuda")

    def by_vllm(n: int) -> torch.Tensor:
        # It adds to the residual in place; what is timed does not depend on the data.
        out = torch.empty(tokens, HIDDEN, dtype=FP8, device="cuda")
        torch.ops._C.fused_add_rms_norm_static_fp8_quant(
            out, data[n, 0], data[n, 1], weight, scale, EPSILON
        )
        return out

    return {
        "Inductor": lambda n: norm_plain(data[n, 0], data[n, 1], weight, scale)[0],
        "Inductor, tuned": lambda n: norm_tuned(data[n, 0], data[n, 1], weight, scale)[
            0
        ],
        "vLLM, fuse_norm_quant": by_vllm,
    }


PARTS: dict[str, tuple[Callable[[int, int], dict[str, Call]], int]] = {
    "KV cache": (cache_write, HEADS * SIZE * 2 * 3),
    "activation": (activation, INNER * 5),
    "norm": (norm, HIDDEN * 7),
}


def main(sizes: list[int]) -> None:
    """Measure all parts; print a table."""
    print("| part | tokens | kernel | us | TB/s | result |")
    print("|---|---:|---|---:|---:|---|")
    for part, (make, bytes_a_token) in PARTS.items():
        for tokens in sizes:
            moved = tokens * bytes_a_token
            sets = max(2, -(-COLD_BYTES // moved))
            torch.manual_seed(0)
            wanted: torch.Tensor | None = None
            for name, call in make(tokens, sets).items():
                try:
                    got = call(0).view(torch.uint8).clone()
                    took = seconds(call, sets)
                except Exception as error:  # noqa: BLE001  (the others still count)
                    print(f"| {part} | {tokens} | {name} | {error!r:.120} | | |")
                    continue
                if wanted is None:
                    verdict, wanted = "in use", got
                else:
                    share = float((got != wanted).float().mean())
                    most = (got.view(FP8).float() - wanted.view(FP8).float()).abs()
                    verdict = f"{share:.2%} differ, by {float(most.max()):g} at most"
                    verdict = verdict if share else "equal"
                print(
                    f"| {part} | {tokens} | {name} | {took * 1e6:.1f}"
                    f" | {moved / took / 1e12:.2f} | {verdict} |",
                    flush=True,
                )
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main([int(given) for given in sys.argv[1:]] or [16384, 7680, 1024])
