"""Attention is planned from lengths that the host knows, and no plan is overwritten."""

import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from sut.telemetry import gpu_count
from tests.tiny_llama import write_tiny_llama

BACKEND = "vllm.v1.attention.backend"
FLASHINFER = "vllm.v1.attention.backends.flashinfer"
HOST = torch.tensor([3, 20])


class Metadata:
    """vLLM's, of two sequences."""

    _seq_lens_cpu: Any = None

    def __init__(self) -> None:
        self.seq_lens_cpu_upper_bound = HOST

    @property
    def seq_lens_cpu(self) -> Any:
        if self._seq_lens_cpu is None:
            raise AssertionError("read back from the GPU")
        return self._seq_lens_cpu


class Event:
    """CUDA's; tells what is done with it."""

    def __init__(self) -> None:
        self.record = partial(calls.append, "record")
        self.synchronize = partial(calls.append, "synchronize")


class Builder:
    """vLLM's, as far as ours uses it."""

    pin_memory = False
    use_dcp = False

    def __init__(self, speculates: bool = False) -> None:
        config = {"method": "ngram"} if speculates else None
        self.vllm_config = SimpleNamespace(speculative_config=config)
        self.wrapper = SimpleNamespace(plan=lambda **named: calls.append(named))
        self._make_buffer(4)

    def _make_buffer(self, size: int) -> None:
        calls.append(f"{size} page-locked: {self.pin_memory}")

    def _get_prefill_wrapper(self, causal: bool) -> Any:
        assert causal
        return self.wrapper

    def build(self, prefix: int, metadata: Any, fast: bool) -> Any:
        assert (prefix, fast) == (0, False)
        calls.append("build")
        wrapper = self._get_prefill_wrapper(causal=True)
        wrapper.plan(
            paged_kv_indptr=torch.tensor([0, 1, 3]),
            paged_kv_last_page_len=torch.tensor([3, 4]),
            page_size=16,
        )
        return metadata.seq_lens_cpu


calls: list[Any] = []


@pytest.fixture
def plan(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    calls.clear()
    backend, flashinfer = ModuleType(BACKEND), ModuleType("flashinfer")
    vllm = ModuleType(FLASHINFER)
    backend.CommonAttentionMetadata = Metadata  # type: ignore[attr-defined]
    vllm.FlashInferBackend = type("Backend", (), {})  # type: ignore[attr-defined]
    vllm.FlashInferMetadataBuilder = Builder  # type: ignore[attr-defined]
    flashinfer.get_seq_lens = (  # type: ignore[attr-defined]
        lambda pages, last, size: (pages[1:] - pages[:-1] - 1) * size + last
    )
    for module in (backend, flashinfer, vllm):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    # A host without a GPU has no page-locked memory.
    monkeypatch.setattr(torch.Tensor, "pin_memory", torch.Tensor.clone)
    monkeypatch.delitem(sys.modules, "sut.engines.hopper.plan", raising=False)
    module = import_module("sut.engines.hopper.plan")
    module.install()
    yield module
    # It holds the modules in place of vLLM's: no other test may find it.
    del sys.modules["sut.engines.hopper.plan"]
    delattr(import_module("sut.engines.hopper"), "plan")


def test_the_gpu_is_not_asked(plan: Any) -> None:
    builder = plan.FlashInferBackend.get_builder_cls()()
    assert builder.build(0, Metadata()) is HOST
    assert calls[0] == "4 page-locked: True"


def test_a_plan_waits_until_the_one_before_is_copied(plan: Any) -> None:
    builder = plan.AheadBuilder()
    del calls[:]
    for _ in range(2):
        builder.build(0, Metadata())
    order = [one if isinstance(one, str) else "plan" for one in calls]
    assert order == ["synchronize", "build", "plan", "record"] * 2


def test_flashinfer_is_given_the_lengths_that_it_would_compute(plan: Any) -> None:
    plan.AheadBuilder().build(0, Metadata())
    named = next(one for one in calls if isinstance(one, dict))
    assert named["seq_lens"].tolist() == [3, 20]
    assert named["page_size"] == 16


def test_lengths_that_are_told_already_stay(plan: Any) -> None:
    metadata = Metadata()
    metadata._seq_lens_cpu = torch.tensor([2, 2, 2])
    told_lengths = plan.AheadBuilder().build(0, metadata)
    assert told_lengths.tolist() == [2, 2, 2]


def test_where_tokens_are_speculated_vllm_does_it(plan: Any) -> None:
    with pytest.raises(AssertionError, match="read back"):
        plan.AheadBuilder(speculates=True).build(0, Metadata())
    named = next(one for one in calls if isinstance(one, dict))
    assert "seq_lens" not in named


def test_a_vllm_that_does_not_wait_is_left_alone(
    plan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "CommonAttentionMetadata", type("Later", (), {}))
    monkeypatch.delattr(plan.FlashInferBackend, "get_builder_cls")
    plan.install()
    assert not hasattr(plan.FlashInferBackend, "get_builder_cls")


# Kernels are registered for a whole process: a process of its own.
ON_GPU = """
import hashlib
import os
import sys

os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
import torch
from conf.load import load_config
from sut.engines.vllm import VllmEngine
from tests.sut.engines.contract import request, run, spec
from vllm.v1.attention.backends.flashinfer import FlashInferBackend

by_vllm = FlashInferBackend.get_builder_cls
config = load_config(["engine=vllm_hopper"]).engine
os.environ.update(config.env)
options = {
    # 1,920 tokens, too few for 16 sequences of up to 392.
    **config.options, "enforce_eager": True, "max_num_seqs": 16,
    "max_num_batched_tokens": 512, "num_gpu_blocks_override": 120,
    "gpu_memory_utilization": 0.2,
}

def answers():
    engine = VllmEngine(
        spec(engine="vllm", model_path=sys.argv[1], gpus=1, dtype="bfloat16",
             options=options, ignore_eos=True)
    )
    _, done = run(engine, *(request(n, 5 + 53 * n % 375) for n in range(150)))
    engine.close()
    assert len(done) == 150
    return {one.seq: one.tokens for one in done}

ours = answers()
from sut.engines.hopper.plan import AheadBuilder, FlashInferMetadataBuilder

assert FlashInferBackend.get_builder_cls() is AheadBuilder
build, steps = FlashInferMetadataBuilder.build, []

def compare(self, prefix, metadata, fast_build=False):
    assert metadata._seq_lens_cpu is not None
    assert torch.equal(metadata._seq_lens_cpu, metadata.seq_lens.cpu())
    steps.append(metadata.max_query_len > 1)
    return build(self, prefix, metadata, fast_build)

FlashInferMetadataBuilder.build = compare
assert answers() == ours
assert sum(steps) > 20 and not all(steps), steps
FlashInferMetadataBuilder.build = build
FlashInferBackend.get_builder_cls = by_vllm
assert answers() == ours
print("good")
"""


@pytest.mark.gpu
@pytest.mark.skipif(gpu_count() < 1, reason="needs a GPU")
def test_answers_are_those_of_a_plan_that_waited(tmp_path: Path) -> None:
    checkpoint = write_tiny_llama(tmp_path, heads=8, kv_heads=2, head_size=128)
    done = subprocess.run(
        [sys.executable, "-c", ON_GPU, str(checkpoint)], capture_output=True, text=True
    )
    assert done.stdout.strip().endswith("good"), done.stderr[-3000:]
