"""Has vLLM's FlashInfer backend plan attention without waiting for the GPU.

FlashInfer plans the attention of a step with prompts from its sequences' lengths. vLLM
0.26 reads them back from the GPU, and so waits for the step before; the GPU then waits
for the plan and the step's first kernels. The host knows the lengths without asking:
what vLLM calls their upper bound is exact where nothing speculates on tokens. Later
releases of vLLM take them from there themselves, and are left alone.

What a plan copies to the GPU is page-locked here, so that no copy waits either. Only
that it is copied is waited for, before the next plan overwrites it.
"""

import logging
from functools import partial
from typing import Any

import torch
from flashinfer import get_seq_lens
from vllm.v1.attention.backend import CommonAttentionMetadata
from vllm.v1.attention.backends.flashinfer import (
    FlashInferBackend,
    FlashInferMetadataBuilder,
)

log = logging.getLogger("vllm.sut.plan")


class AheadBuilder(FlashInferMetadataBuilder):  # type: ignore[misc]
    """Builds what a step's attention needs from lengths that the host knows."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        """Take what vLLM's builder takes."""
        self._copied = torch.cuda.Event()
        super().__init__(*arguments, **named)
        self._exact = self.vllm_config.speculative_config is None and not self.use_dcp
        if self._exact:
            log.info("attention is planned by lengths that the host knows")

    def build(
        self,
        common_prefix_len: int,
        common_attn_metadata: Any,
        fast_build: bool = False,
    ) -> Any:
        """Return FlashInfer's metadata of a step, whose plan is on its way to the GPU.

        Args:
            common_prefix_len: Tokens that all sequences share.
            common_attn_metadata: Lengths and block tables, by sequence.
            fast_build: Whether the step is one of a draft model.
        """
        self._copied.synchronize()
        # Some attention backends set other lengths than those of the requests.
        known_lengths = common_attn_metadata._seq_lens_cpu is not None
        known = common_attn_metadata.seq_lens_cpu_upper_bound
        if self._exact and known is not None and not known_lengths:
            common_attn_metadata._seq_lens_cpu = known
        built = super().build(common_prefix_len, common_attn_metadata, fast_build)
        self._copied.record()
        return built

    def _make_buffer(self, *size: Any, **named: Any) -> Any:
        self.pin_memory = True
        return super()._make_buffer(*size, **named)

    def _get_prefill_wrapper(self, *arguments: Any, **named: Any) -> Any:
        wrapper = super()._get_prefill_wrapper(*arguments, **named)
        if self._exact and not isinstance(wrapper.plan, partial):
            wrapper.plan = partial(plan, wrapper.plan)
        return wrapper


def plan(by_flashinfer: Any, **named: Any) -> None:
    """Call FlashInfer's `plan` with all that it copies page-locked."""
    named["seq_lens"] = get_seq_lens(
        named["paged_kv_indptr"], named["paged_kv_last_page_len"], named["page_size"]
    )
    by_flashinfer(**{name: locked(value) for name, value in named.items()})


def locked(value: Any) -> Any:
    """Return a tensor of the host page-locked, anything else as it is.

    What is page-locked already is not copied: `AheadBuilder` waits before it is
    written again.
    """
    if isinstance(value, torch.Tensor) and value.device.type == "cpu":
        return value.pin_memory()
    return value


def install() -> None:
    """Have every engine of this process plan so, where vLLM would wait."""
    if hasattr(CommonAttentionMetadata, "seq_lens_cpu"):
        FlashInferBackend.get_builder_cls = staticmethod(lambda: AheadBuilder)
