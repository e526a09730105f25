"""Attention's calls are worked out once a step, and give what vLLM's own give."""

import sys
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

FLASHINFER = "vllm.v1.attention.backends.flashinfer"
HEADS, SIZE, DECODING, PROMPTS = 2, 4, 3, 5
TOKENS, PADDED = DECODING + PROMPTS, 10
FP8 = torch.float8_e4m3fn
worked_out: list[int] = []
"""Layers whose calls vLLM and FlashInfer worked out, in order."""


def paged_run(
    plan: float, q: Any, paged_k_cache: Any, paged_v_cache: Any, o: Any
) -> None:
    assert q.dtype == FP8
    o.copy_(q.bfloat16() * paged_k_cache[0] + paged_v_cache[0] + plan)


def xqa(output: Any, q: Any, k_cache: Any, v_cache: Any, lengths: float) -> None:
    output.copy_(q * k_cache[0] - v_cache[0] + lengths)


def to_fp8(out: Any, query: Any, scale: Any) -> None:
    out.copy_((query / scale).to(FP8))


class Wrapper:
    """FlashInfer's, of prompts: looks its kernel up and calls it."""

    def __init__(self, plan: float) -> None:
        self._cached_module = SimpleNamespace(paged_run=paged_run, plan=None)
        self.planned = plan

    def run(self, q: Any, cache: Any, out: Any) -> None:
        self._cached_module.paged_run(self.planned, q, *cache, out)


class Impl:
    """vLLM's backend of one layer."""

    def __init__(self, number: int) -> None:
        self.number, self.scale = number, 0.5

    def forward(
        self,
        layer: Any,
        query: Any,
        key: Any,
        value: Any,
        kv_cache: Any,
        attn_metadata: Any,
        output: Any,
        output_scale: Any = None,
        output_block_scale: Any = None,
    ) -> Any:
        worked_out.append(self.number)
        start, end = attn_metadata.num_decode_tokens, attn_metadata.num_actual_tokens
        if end > start:
            narrow = torch.empty((end - start, HEADS, SIZE), dtype=FP8)
            to_fp8(narrow, query[start:end], layer._q_scale)
            cache = (kv_cache[0], kv_cache[1])
            attn_metadata.prefill.wrapper.run(narrow, cache, output[start:end])
            output[start:end] *= layer._v_scale_float
        if start:
            kernel = sys.modules["flashinfer.xqa"].get_xqa_module("bf16")
            out, q = output[:start].unsqueeze(1), query[:start].unsqueeze(1)
            kernel.xqa(out, q, kv_cache[0], kv_cache[1], attn_metadata.lengths)
        return output


def layers(count: int = 3) -> list[Any]:
    return [
        SimpleNamespace(
            impl=Impl(number),
            kv_cache=torch.randn(2, 1, SIZE, dtype=torch.bfloat16),
            _q_scale=torch.tensor(0.5),
            _q_scale_float=0.5,
            _k_scale_float=1.0,
            _v_scale_float=1.0,
        )
        for number in range(count)
    ]


def step(model: list[Any], seed: int, decoding: int = DECODING, **more: Any) -> Any:
    """Return the outputs of all layers in a step of its own."""
    generator = torch.Generator().manual_seed(seed)
    metadata = SimpleNamespace(
        num_decode_tokens=decoding,
        num_actual_tokens=more.get("tokens", TOKENS),
        prefill=SimpleNamespace(wrapper=Wrapper(float(seed))),
        lengths=float(seed) * 10,
        use_cascade=False,
    )
    outputs = []
    for layer in model:
        query = torch.randn(PADDED, HEADS, SIZE, generator=generator).bfloat16()
        output = torch.full_like(query, 7)
        layer.impl.forward(layer, query, query, query, layer.kv_cache, metadata, output)
        outputs.append(output)
    return torch.stack(outputs)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return what puts our method in place, with vLLM's and FlashInfer's modules."""
    by_vllm = Impl.forward
    vllm, flashinfer = ModuleType(FLASHINFER), ModuleType("flashinfer.xqa")
    vllm.FlashInferImpl = Impl  # type: ignore[attr-defined]
    kernel = SimpleNamespace(xqa=xqa)
    flashinfer.get_xqa_module = lambda *_: kernel  # type: ignore[attr-defined]
    for module in (flashinfer, vllm):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    monkeypatch.delitem(sys.modules, "sut.engines.hopper.attention", raising=False)
    module = import_module("sut.engines.hopper.attention")
    monkeypatch.setattr(module, "to_fp8", to_fp8)
    worked_out.clear()
    yield module
    Impl.forward = by_vllm  # type: ignore[method-assign]
    # It holds the modules in place of vLLM's: no other test may find it.
    del sys.modules["sut.engines.hopper.attention"]
    delattr(import_module("sut.engines.hopper"), "attention")


def test_only_the_first_layer_of_a_step_works_its_calls_out(installed: Any) -> None:
    model = layers()
    wanted = [step(model, seed) for seed in range(4)]
    installed.install()
    worked_out.clear()
    assert torch.equal(step(model, 0), wanted[0])
    assert worked_out == [0, 1, 2]  # each layer's caches are not known yet
    del worked_out[:]
    for seed in (1, 2, 3):
        assert torch.equal(step(model, seed), wanted[seed])
    assert worked_out == [0, 0, 0]


@pytest.mark.parametrize(("decoding", "tokens"), [(0, 5), (4, 4), (2, 9)])
def test_steps_of_one_kind(installed: Any, decoding: int, tokens: int) -> None:
    model = layers()
    wanted = step(model, 5, decoding, tokens=tokens)
    installed.install()
    step(model, 1)
    del worked_out[:]
    assert torch.equal(step(model, 5, decoding, tokens=tokens), wanted)
    assert worked_out == [0]


def test_a_layer_that_is_not_known_in_a_kind_of_step_is_left_to_vllm(
    installed: Any,
) -> None:
    model = layers()
    wanted = step(model, 2)
    installed.install()
    step(model, 1, PROMPTS, tokens=PROMPTS)
    del worked_out[:]
    assert torch.equal(step(model, 2), wanted)
    assert worked_out == [0, 1, 2]


def test_scales_that_differ_between_layers_are_left_to_vllm(installed: Any) -> None:
    model = layers()
    model[1]._q_scale_float = 0.25
    model[1]._q_scale = torch.tensor(0.25)
    wanted = step(model, 2)
    installed.install()
    step(model, 1)
    del worked_out[:]
    assert torch.equal(step(model, 2), wanted)
    assert worked_out == [0, 1]


def test_values_with_a_scale_are_left_to_vllm(installed: Any) -> None:
    model = layers()
    for layer in model:
        layer._v_scale_float = 2.0
    wanted = step(model, 2)
    installed.install()
    step(model, 1)
    del worked_out[:]
    assert torch.equal(step(model, 2), wanted)
    assert worked_out == [0, 1, 2]


def test_a_cache_that_moved_is_learned_again(installed: Any) -> None:
    model = layers()
    installed.install()
    step(model, 1)
    model[2].kv_cache = torch.randn(2, 1, SIZE, dtype=torch.bfloat16)
    del worked_out[:]
    moved = step(model, 2)
    assert worked_out == [0, 2]
    del worked_out[:]
    assert torch.equal(step(model, 2), moved)
    assert worked_out == [0]


def test_nothing_is_kept_while_a_graph_is_captured(
    installed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = layers()
    installed.install()
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    step(model, 1)
    assert all("sut_caches" not in vars(layer.impl) for layer in model)
