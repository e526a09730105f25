"""vLLM alone: `LLM.generate` on what a run of the SUT was given.

    python -m benchmarks.bare_engine --order RUN [--profile STEPS] [OVERRIDE ...]
    python -m benchmarks.bare_engine --samples N [--profile STEPS] [OVERRIDE ...]

OVERRIDEs are those of `sut.main`: model, data and engine options are built from them
as a replica builds its own. With --order the prompts are those that LoadGen issued in
that run, in its order. Prints one JSON object. --profile instead runs the engine step
by step until every sequence slot is in use, and shows where the GPU's time goes.
"""

import argparse
import json
import os
import re
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from conf.engines import VllmConfig
from conf.load import load_config
from qsl.dataset import Dataset, load_dataset
from record.folder import RunFolder, read_lines
from record.structs import SampleRecord
from sut.launch import engine_spec, model_for
from sut.wire.messages import EngineSpec

KINDS = {  # the first pattern that a kernel's name matches
    "KV cache write": r"reshape_and_cache|kv_cache|^_cache_kernel",
    # Inductor names a fused kernel after all that it feeds, products included.
    "norm, activation, quantization": r"^triton_|norm|silu|act_and_mul|quant|rotary",
    "attention": r"flash|fmha|kernel_mha|attention|BatchPrefill|BatchDecode",
    "matrix products": r"gemm|nvjet|cutlass|xmma|scaled_mm|cublas|splitK",
    "copies": r"Memcpy|Memset",
}
TOP = 25


def order(arguments: argparse.Namespace, dataset: Dataset) -> list[int]:
    """Return the indices of the samples to answer."""
    if arguments.order is None:
        return [seq % len(dataset) for seq in range(arguments.samples)]
    folder = RunFolder(arguments.order)
    samples: Iterator[SampleRecord] = read_lines(folder.samples, SampleRecord)
    issued = {sample.seq: sample.qsl_index for sample in samples}
    return [issued[seq] for seq in sorted(issued)]


def build(spec: EngineSpec) -> tuple[Any, Any]:
    """Return vLLM's `LLM` and the sampling parameters of a replica."""
    from vllm import LLM, SamplingParams
    from vllm.sampling_params import RequestOutputKind

    from sut.engines.vllm import engine_arguments

    engine = engine_arguments(spec)
    # A replica needs the scheduler's statistics; `LLM` by itself keeps none.
    for ours in ("disable_log_stats", "stream_interval"):
        engine.pop(ours)
    params = SamplingParams(
        temperature=0.0,
        max_tokens=spec.max_tokens,
        min_tokens=spec.min_tokens,
        ignore_eos=spec.ignore_eos,
        stop_token_ids=None if spec.ignore_eos else spec.stop_token_ids,
        detokenize=False,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )
    return LLM(**engine), params


def measure(llm: Any, params: Any, prompts: list[Any]) -> dict[str, object]:
    """Answer all prompts; return the rates."""
    started = time.perf_counter()
    outputs = llm.generate(prompts, params, use_tqdm=False)
    seconds = time.perf_counter() - started
    tokens = sum(len(output.outputs[0].token_ids) for output in outputs)
    return {
        "samples": len(outputs),
        "seconds": round(seconds, 3),
        "samples_per_s": round(len(outputs) / seconds, 3),
        "tokens_per_s": round(tokens / seconds, 1),
        "tokens_per_sample": tokens / len(outputs),
    }


def profile(llm: Any, params: Any, prompts: list[Any], steps: int) -> str:
    """Return where the GPU's time goes in `steps` steps with every slot in use."""
    import torch
    from torch.profiler import ProfilerActivity

    engine = llm.llm_engine
    for number, prompt in enumerate(prompts):
        engine.add_request(str(number), prompt, params)
    done = 0
    # From the first answers on, as many sequences end as begin.
    while done < len(prompts) // 3:
        done += sum(output.finished for output in engine.step())
    torch.cuda.synchronize()
    with torch.profiler.profile(activities=[ProfilerActivity.CUDA]) as profiler:
        started = time.perf_counter()
        for _ in range(steps):
            engine.step()
        torch.cuda.synchronize()
        seconds = time.perf_counter() - started
    return table(profiler, seconds, steps)


def table(profiler: Any, seconds: float, steps: int) -> str:
    """Return a profile as Markdown: kinds of kernels, then the longest kernels."""
    import torch

    kernels: dict[str, list[float]] = defaultdict(list)
    spans = []
    for event in profiler.events():
        if event.device_type != torch.autograd.DeviceType.CUDA:
            continue
        spans.append((event.time_range.start, event.time_range.end))
        kernels[event.name].append(event.time_range.end - event.time_range.start)
    kinds: dict[str, float] = defaultdict(float)
    for name, times in kernels.items():
        kinds[_kind(name)] += sum(times)
    busy, until = 0.0, 0.0
    for begin, end in sorted(spans):
        busy += max(0.0, end - max(begin, until))
        until = max(until, end)
    whole = seconds * 1e6
    lines = [
        f"{steps} steps, {seconds / steps * 1e3:.1f} ms each",
        "",
        "| kind | ms a step | share |",
        "|---|---:|---:|",
        *(
            f"| {kind} | {us / steps / 1e3:.2f} | {us / whole:.1%} |"
            for kind, us in sorted(kinds.items(), key=lambda item: -item[1])
        ),
        f"| GPU idle | {(whole - busy) / steps / 1e3:.2f} | {1 - busy / whole:.1%} |",
        "",
        "| kernel | calls a step | mean us | ms a step |",
        "|---|---:|---:|---:|",
    ]
    for name, times in sorted(kernels.items(), key=lambda item: -sum(item[1]))[:TOP]:
        lines.append(
            f"| `{name[:110]}` | {len(times) / steps:.1f} | {np.mean(times):.1f}"
            f" | {sum(times) / steps / 1e3:.2f} |"
        )
    return "\n".join(lines)


def _kind(name: str) -> str:
    for kind, pattern in KINDS.items():
        if re.search(pattern, name, re.IGNORECASE):
            return kind
    return "sampling and the rest"


def main() -> None:
    """Measure or profile what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--order", type=Path, help="run folder")
    what.add_argument("--samples", type=int)
    parser.add_argument("--profile", type=int, metavar="STEPS")
    parser.add_argument("override", nargs="*")
    arguments = parser.parse_args()
    config = load_config(arguments.override)
    if not isinstance(config.engine, VllmConfig):
        sys.exit("engine=vllm is needed")
    in_process = config.engine.in_process or arguments.profile is not None
    os.environ |= config.engine.env
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0" if in_process else "1"
    os.environ["VLLM_CPU_KVCACHE_SPACE"] = str(config.engine.cpu_kv_cache_gib)
    dataset = load_dataset(config.dataset)
    model = model_for(config, print)
    gpus = config.cluster.gpus_per_replica
    spec = engine_spec(config, model, 1 if gpus is None else gpus, streaming=False)
    samples = order(arguments, dataset)
    llm, params = build(spec)
    rng = np.random.default_rng(0)
    lengths = np.linspace(np.median(dataset.lengths), dataset.lengths.max(), 8)
    warm = [rng.integers(3, model.vocab_size, int(n)).tolist() for n in lengths]
    measure(llm, params, [{"prompt_token_ids": ids} for ids in warm])
    ids = [{"prompt_token_ids": dataset.prompt(index).tolist()} for index in samples]
    if arguments.profile is not None:
        print(profile(llm, params, ids, arguments.profile))
    else:
        print(json.dumps(measure(llm, params, ids)))


if __name__ == "__main__":
    main()
