"""Has vLLM's FlashInfer backend work out the calls of attention once a step.

Attention over prompts runs outside CUDA graphs, so the host makes two calls in every
layer of such a step: one for prompts, one for sequences that decode. Between layers
only the query, the output and the layer's own KV cache differ, but vLLM and FlashInfer
work out all arguments each time. On hosts where that takes longer than the GPU's work,
the GPU waits.

Here the first layer of a step runs as vLLM has it, and the two calls of kernels that
this ends in are kept. The other layers repeat these calls with their own tensors. What
is not exactly the known case (an output that is quantized, scales that differ between
layers, a call inside a CUDA graph's capture) runs as vLLM has it.
"""

import importlib
import inspect
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import torch
from vllm.v1.attention.backends.flashinfer import FlashInferImpl

log = logging.getLogger("vllm.sut.attention")
by_vllm = FlashInferImpl.forward
_STEP, _LAYER = "sut_step", "sut_caches"
FP8 = torch.float8_e4m3fn


@dataclass
class Call:
    """A call of a kernel, whose tensors of one layer are replaced by another's."""

    kernel: Callable[..., Any]
    arguments: list[Any]
    query: int
    """Position of the query; likewise below."""
    keys: int
    values: int
    output: int

    def caches(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the layer's keys and values, as the kernel wants them."""
        return self.arguments[self.keys], self.arguments[self.values]

    def repeat(
        self,
        query: torch.Tensor,
        caches: tuple[torch.Tensor, torch.Tensor],
        output: torch.Tensor,
    ) -> None:
        """Call the kernel with the tensors of another layer."""
        arguments = self.arguments
        arguments[self.query] = query
        arguments[self.keys], arguments[self.values] = caches
        arguments[self.output] = output
        self.kernel(*arguments)


@dataclass
class Step:
    """What the first layer of a step found out."""

    scales: tuple[float, ...]
    prompts: Call | None = None
    decoding: Call | None = None
    query: torch.Tensor | None = None
    """Prompts' queries in fp8, tokens x heads x size: written again by each layer."""


@dataclass
class Caches:
    """A layer's keys and values as both kernels want them, once each was called."""

    address: int
    prompts: tuple[torch.Tensor, torch.Tensor] | None = None
    decoding: tuple[torch.Tensor, torch.Tensor] | None = None


@dataclass
class _Seen:
    """The last call of either kernel."""

    prompts: Call | None = None
    decoding: Call | None = None
    logged: bool = False
    """Whether the log says that calls are repeated."""
    modules: dict[int, Any] = field(default_factory=dict)
    """By the identity of a module of FlashInfer's, one that keeps its calls."""


_seen = _Seen()


def _kept_prompts(module: Any) -> Any:
    """Return FlashInfer's module of kernels for prompts, with its calls kept."""
    if id(module) in _seen.modules:
        return _seen.modules[id(module)]
    names = list(inspect.signature(module.paged_run).parameters)
    positions = [names.index(n) for n in ("q", "paged_k_cache", "paged_v_cache", "o")]

    def paged_run(*arguments: Any) -> Any:
        _seen.prompts = Call(module.paged_run, list(arguments), *positions)
        return module.paged_run(*arguments)

    kept = SimpleNamespace(**{**vars(module), "paged_run": paged_run})
    _seen.modules[id(module)] = kept
    return kept


def _kept_decoding(module: Any) -> Any:
    """Return FlashInfer's XQA kernel, with its calls kept."""
    if id(module) in _seen.modules:
        return _seen.modules[id(module)]
    names = list(inspect.signature(module.xqa).parameters)
    positions = [names.index(n) for n in ("q", "k_cache", "v_cache", "output")]

    def xqa(*arguments: Any) -> None:
        _seen.decoding = Call(module.xqa, list(arguments), *positions)
        module.xqa(*arguments)

    kept = SimpleNamespace(xqa=xqa)
    _seen.modules[id(module)] = kept
    return kept


def forward(
    self: Any,
    layer: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    kv_cache: torch.Tensor,
    attn_metadata: Any,
    output: torch.Tensor,
    output_scale: torch.Tensor | None = None,
    output_block_scale: torch.Tensor | None = None,
) -> torch.Tensor:
    """Compute a layer's attention, in place of the backend's method.

    Args:
        self: The backend's object of the layer.
        layer: Has the scales.
        query: (tokens, padded) x heads x size.
        key: Not used: the KV cache holds it already. Nor is `value`.
        value: See `key`.
        kv_cache: blocks x heads x page x 2 size.
        attn_metadata: FlashInfer's, of the step.
        output: As `query`; written.
        output_scale: None, else vLLM's own method does it.
        output_block_scale: The same.
    """
    if attn_metadata is not None and output_scale is None:
        step = vars(attn_metadata).get(_STEP)
        if step is not None and _repeat(
            step, self, layer, query, kv_cache, attn_metadata, output
        ):
            return output
        if not torch.cuda.is_current_stream_capturing():
            return _keep(
                step, self, layer, query, key, value, kv_cache, attn_metadata, output
            )
    return by_vllm(
        self,
        layer,
        query,
        key,
        value,
        kv_cache,
        attn_metadata,
        output,
        output_scale,
        output_block_scale,
    )


def _repeat(
    step: Step,
    impl: Any,
    layer: Any,
    query: torch.Tensor,
    kv_cache: torch.Tensor,
    metadata: Any,
    output: torch.Tensor,
) -> bool:
    """Repeat the step's calls for a layer; False: too little is known of the layer."""
    caches = vars(impl).get(_LAYER)
    if (
        caches is None
        or caches.address != kv_cache.data_ptr()
        or step.scales != _scales(impl, layer)
        or not query.is_contiguous()
    ):
        return False
    decoding, end = metadata.num_decode_tokens, metadata.num_actual_tokens
    if end > decoding and (step.prompts is None or caches.prompts is None):
        return False
    if decoding and (step.decoding is None or caches.decoding is None):
        return False
    if end > decoding:
        prompts = query[decoding:end]
        if step.query is not None:
            to_fp8(step.query, prompts, layer._q_scale)
            prompts = step.query
        step.prompts.repeat(prompts, caches.prompts, output[decoding:end])  # type: ignore[union-attr]
    if decoding:
        step.decoding.repeat(  # type: ignore[union-attr]
            query[:decoding].unsqueeze(1),
            caches.decoding,
            output[:decoding].unsqueeze(1),
        )
    return True


def to_fp8(out: torch.Tensor, query: torch.Tensor, scale: torch.Tensor) -> None:
    """Divide `query` by a scale and round it into `out`, as vLLM does; same shapes."""
    rows = len(query)
    torch.ops._C.static_scaled_fp8_quant(
        out.view(rows, -1), query.view(rows, -1), scale, None
    )


def _keep(
    step: Step | None,
    impl: Any,
    layer: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    kv_cache: torch.Tensor,
    metadata: Any,
    output: torch.Tensor,
) -> torch.Tensor:
    """Have vLLM compute a layer's attention, and keep what it called."""
    _seen.prompts = _seen.decoding = None
    prompts: Any = getattr(metadata.prefill, "wrapper", None)
    module = getattr(prompts, "_cached_module", None)
    if module is not None:
        prompts._cached_module = _kept_prompts(module)
    try:
        by_vllm(impl, layer, query, key, value, kv_cache, metadata, output)
    finally:
        if module is not None:
            prompts._cached_module = module
    scales = _scales(impl, layer)
    # A scale of the values is applied to the output by a kernel of its own.
    known = scales[-1] == 1.0 and output.dtype == query.dtype
    if not known or metadata.use_cascade:
        return output
    address = kv_cache.data_ptr()
    caches = vars(impl).get(_LAYER)
    if caches is None or caches.address != address:
        caches = Caches(address)
        setattr(impl, _LAYER, caches)
    if _seen.prompts is not None:
        caches.prompts = _seen.prompts.caches()
    if _seen.decoding is not None:
        caches.decoding = _seen.decoding.caches()
    if step is None:
        step = Step(scales, _seen.prompts, _seen.decoding)
        if step.prompts is not None:
            used = step.prompts.arguments[step.prompts.query]
            step.query = used if used.dtype == FP8 else None
        setattr(metadata, _STEP, step)
        if not _seen.logged:
            _seen.logged = True
            log.info("attention's calls are worked out once a step")
    return output


def _scales(impl: Any, layer: Any) -> tuple[float, ...]:
    return (
        impl.scale,
        layer._q_scale_float,
        layer._k_scale_float,
        layer._v_scale_float,
    )


def install() -> None:
    """Have every layer's backend call `forward`."""
    # By its name: the package has a function of the same name.
    xqa: Any = importlib.import_module("flashinfer.xqa")
    by_flashinfer = xqa.get_xqa_module
    xqa.get_xqa_module = lambda *key: _kept_decoding(by_flashinfer(*key))
    FlashInferImpl.forward = forward
