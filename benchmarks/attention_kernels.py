"""Attention of one Offline step, kernel by kernel: time, and error against float64.

    python -m benchmarks.attention_kernels [DECODING=1000] [PROMPT_TOKENS=7192]

One layer of Llama-3.1-8B on one Hopper GPU, fp8 KV cache of random data: DECODING
sequences of about 900 tokens, and chunks of prompts of about 800. Prints a Markdown
table. Bytes are those of the keys and values that decoding has to read.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass

import torch
from flashinfer.decode import trtllm_batch_decode_with_kv_cache
from vllm.vllm_flash_attn import (
    flash_attn_varlen_func,
    get_scheduler_metadata,
)

HEADS, KV_HEADS, SIZE = 32, 8, 128
SCALE = SIZE**-0.5
FP8 = torch.float8_e4m3fn
REPEATS = 20
CHECKED = 8


@dataclass(slots=True, kw_only=True)
class Batch:
    """Sequences in a paged cache; those that decode come first."""

    decoding: int
    lengths: torch.Tensor
    starts: torch.Tensor
    pages: torch.Tensor
    cache: torch.Tensor
    query: torch.Tensor
    page: int

    @property
    def keys(self) -> torch.Tensor:
        """Keys as pages x heads x tokens x size."""
        return self.cache[..., :SIZE]

    @property
    def values(self) -> torch.Tensor:
        """Values, in the same form."""
        return self.cache[..., SIZE:]


def make(decoding: int, prompt_tokens: int, page: int, layout: str) -> Batch:
    """Return a batch on random data."""
    torch.manual_seed(0)
    chunks = [800] * (prompt_tokens // 800)
    if prompt_tokens % 800:
        chunks.append(prompt_tokens % 800)
    lengths = torch.cat(
        [torch.randint(300, 1500, (decoding,)), torch.tensor(chunks, dtype=torch.int64)]
    )
    queries = torch.tensor([0] + [1] * decoding + chunks).cumsum(0)
    width = -(-2668 // page)
    needed = -(-lengths // page)
    order = torch.randperm(int(needed.sum()))
    pages = torch.zeros(len(lengths), width, dtype=torch.int32)
    at = 0
    for row, count in enumerate(needed.tolist()):
        pages[row, :count] = order[at : at + count].int()
        at += count
    shape = (
        (len(order), KV_HEADS, page, 2 * SIZE)
        if layout == "HND"
        else (len(order), page, KV_HEADS, 2 * SIZE)
    )
    cache = torch.randn(shape, device="cuda", dtype=torch.bfloat16).to(FP8)
    return Batch(
        decoding=decoding,
        lengths=lengths.int().cuda(),
        starts=queries.int().cuda(),
        pages=pages.cuda(),
        cache=cache if layout == "HND" else cache.transpose(1, 2),
        query=torch.randn(
            int(queries[-1]), HEADS, SIZE, device="cuda", dtype=torch.bfloat16
        ),
        page=page,
    )


def fa3(batch: Batch, rows: slice, longest_query: int) -> Callable[[], torch.Tensor]:
    """Return a call of FlashAttention 3 on some of the sequences."""
    first = int(batch.starts[rows.start or 0])
    starts = batch.starts[rows.start : None if rows.stop is None else rows.stop + 1]
    last = int(starts[-1])
    starts = starts - first
    lengths, pages = batch.lengths[rows], batch.pages[rows].contiguous()
    query = batch.query[first:last].to(FP8)
    out = torch.empty_like(query, dtype=torch.bfloat16)
    ones = torch.ones(len(lengths), KV_HEADS, device="cuda")
    keys, values = batch.keys.transpose(1, 2), batch.values.transpose(1, 2)
    plan = get_scheduler_metadata(
        batch_size=len(lengths),
        max_seqlen_q=longest_query,
        max_seqlen_k=2668,
        num_heads_q=HEADS,
        num_heads_kv=KV_HEADS,
        headdim=SIZE,
        cache_seqlens=lengths,
        qkv_dtype=FP8,
        cu_seqlens_q=starts,
        page_size=batch.page,
        causal=True,
    )

    def call() -> torch.Tensor:
        flash_attn_varlen_func(
            q=query,
            k=keys,
            v=values,
            out=out,
            cu_seqlens_q=starts,
            max_seqlen_q=longest_query,
            seqused_k=lengths,
            max_seqlen_k=2668,
            softmax_scale=SCALE,
            causal=True,
            block_table=pages,
            scheduler_metadata=plan,
            fa_version=3,
            q_descale=ones,
            k_descale=ones,
            v_descale=ones,
        )
        return out

    return call


def xqa(batch: Batch) -> Callable[[], torch.Tensor]:
    """Return a call of XQA on the sequences that decode."""
    count = batch.decoding
    query, out = batch.query[:count], torch.empty_like(batch.query[:count])
    space = torch.zeros(256 << 20, dtype=torch.uint8, device="cuda")

    def call() -> torch.Tensor:
        trtllm_batch_decode_with_kv_cache(
            query=query,
            kv_cache=(batch.keys, batch.values),
            workspace_buffer=space,
            block_tables=batch.pages[:count],
            seq_lens=batch.lengths[:count],
            max_seq_len=2668,
            bmm1_scale=SCALE,
            bmm2_scale=1.0,
            out=out,
            kv_layout="HND",
            backend="xqa",
        )
        return out

    return call


def reference(batch: Batch, row: int) -> torch.Tensor:
    """Return the attention of one sequence that decodes, in float64."""
    length = int(batch.lengths[row])
    pages = batch.pages[row, : -(-length // batch.page)].long()
    held = batch.cache.view(torch.uint8)[pages].view(FP8).float().double()
    both = held.transpose(0, 1).flatten(1, 2)[:, :length]
    query = batch.query[row].double().view(KV_HEADS, HEADS // KV_HEADS, SIZE)
    weights = (query @ both[..., :SIZE].transpose(1, 2) * SCALE).softmax(-1)
    return (weights @ both[..., SIZE:]).reshape(HEADS, SIZE)


def seconds(call: Callable[[], torch.Tensor]) -> float:
    """Return the median time of a call."""
    for _ in range(3):
        call()
    times = []
    for _ in range(REPEATS):
        begin = torch.cuda.Event(enable_timing=True)
        end = torch.cuda.Event(enable_timing=True)
        begin.record()
        call()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) / 1e3)
    return float(sorted(times)[len(times) // 2])


def error(batch: Batch, out: torch.Tensor) -> float:
    """Return the relative error of the first sequences."""
    wanted = torch.stack([reference(batch, row) for row in range(CHECKED)])
    got = out[:CHECKED].double()
    return float((got - wanted).norm() / wanted.norm())


def main(decoding: int, prompt_tokens: int) -> None:
    """Measure every kernel; print a table."""
    print("| part | kernel | layout | page | us | TB/s | relative error |")
    print("|---|---|---|---:|---:|---:|---:|")
    for layout in ("NHD", "HND"):
        for page in (16, 64):
            batch = make(decoding, prompt_tokens, page, layout)
            read = int(batch.lengths[:decoding].sum()) * KV_HEADS * 2 * SIZE
            whole, decode = slice(0, None), slice(0, decoding)
            cases: list[tuple[str, str, Callable[[], torch.Tensor]]] = [
                ("all", "FlashAttention 3", fa3(batch, whole, 800)),
                ("decoding", "FlashAttention 3", fa3(batch, decode, 1)),
                ("prompts", "FlashAttention 3", fa3(batch, slice(decoding, None), 800)),
                ("decoding", "XQA", xqa(batch)),
            ]
            for part, kernel, call in cases:
                took = seconds(call)
                wrong = "" if part == "prompts" else f"{error(batch, call()):.4f}"
                rate = f"{read / took / 1e12:.2f}" if part == "decoding" else ""
                print(
                    f"| {part} | {kernel} | {layout} | {page} | {took * 1e6:.0f}"
                    f" | {rate} | {wrong} |",
                    flush=True,
                )


if __name__ == "__main__":
    given = [int(argument) for argument in sys.argv[1:]]
    main(*(given + [1000, 7192][len(given) :]))
