"""Has vLLM's FlashInfer backend write its fp8 KV cache by a kernel of our own.

Its cache holds keys and values of a head side by side. On an H200 vLLM's CUDA kernel
writes them at an eighth of the rate at which the card copies.

A worker's log says that the kernel is in use. Caches that are not fp8, and keys that
lie in another way, go to vLLM's.
"""

import logging
from typing import Any

import torch
from vllm.v1.attention.backends.flashinfer import FlashInferImpl

from sut.engines.hopper.kernels import takes, write_cache

FORMATS = ("fp8", "fp8_e4m3")
log = logging.getLogger("vllm.sut.cache")
by_vllm = FlashInferImpl.do_kv_cache_update
used: set[bool] = set()


def update(
    self: Any,
    layer: torch.nn.Module,
    key: torch.Tensor,
    value: torch.Tensor,
    kv_cache: torch.Tensor,
    slot_mapping: torch.Tensor,
) -> None:
    """Store what a step computed, in place of the backend's method.

    Args:
        self: The backend's object of a layer.
        layer: Has the scales.
        key: (tokens, padded) x heads x size.
        value: The same.
        kv_cache: blocks x heads x page x 2 size.
        slot_mapping: Tokens, not padded or padded with -1.
    """
    ours = (
        self.kv_sharing_target_layer_name is None
        and self.kv_cache_dtype in FORMATS
        and kv_cache.dim() == 4
        and takes(key, value, kv_cache)
        # A kernel's first call loads it, which a graph cannot hold.
        and (True in used or not torch.cuda.is_current_stream_capturing())
    )
    if ours not in used:
        used.add(ours)
        log.info("KV cache is written by %s", "sut.engines" if ours else "vLLM")
    if ours:
        write_cache(key, value, kv_cache, slot_mapping, layer._k_scale, layer._v_scale)
    else:
        by_vllm(self, layer, key, value, kv_cache, slot_mapping)


def install() -> None:
    """Have every layer's backend call `update`."""
    FlashInferImpl.do_kv_cache_update = update
