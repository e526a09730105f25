"""vLLM behind the engine seam, driven step by step in the replica's main thread.

Only arguments and attributes that vLLM has had from 0.26 to 0.32 are used.
"""

import difflib
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
import vllm
from vllm.engine.arg_utils import EngineArgs
from vllm.sampling_params import RequestOutputKind, SamplingParams
from vllm.v1.engine.llm_engine import LLMEngine
from vllm.v1.metrics.loggers import StatLoggerBase

from record.structs import Json
from sut.engines.adaptation import Adaptation, graph_sizes
from sut.engines.base import (
    EngineConfigError,
    EngineInfo,
    EngineStats,
    RequestError,
    duration_ns,
)
from sut.engines.hopper.graphs import hold_cache_writes
from sut.engines.refusal import OWN_OPTIONS, config_problem, first_line
from sut.engines.step_scheduler import BY_BASE
from sut.engines.steps import PATH_VARIABLE, StepRing
from sut.model import quantization_settings
from sut.wire.messages import Completion, EngineSpec, FirstToken, Request

_NEVER = 1_000_000
"""stream_interval that no answer reaches: one message at the first token, one last."""

_DEFAULTS_GPU: dict[str, Json] = {"max_num_seqs": 1024, "max_num_batched_tokens": 8192}
_DEFAULTS_CPU: dict[str, Json] = {
    "max_num_seqs": 64,
    "max_num_batched_tokens": 2048,
    "enforce_eager": True,
}
_SHOWN = (
    "max_num_seqs",
    "max_num_batched_tokens",
    "tensor_parallel_size",
    "pipeline_parallel_size",
    "quantization",
    "kv_cache_dtype",
    "enforce_eager",
    "enable_prefix_caching",
    "gpu_memory_utilization",
)


def engine_arguments(spec: EngineSpec) -> dict[str, Any]:
    """Return the arguments of vLLM's `EngineArgs` for `spec`.

    Raises:
        EngineConfigError: an option that vLLM does not have, or that is fixed here.
    """
    known = [field.name for field in fields(EngineArgs)]
    for name in spec.options:
        if name in OWN_OPTIONS:
            own = OWN_OPTIONS[name]
            instead = f"use {own}" if own else "leave it out"
            raise EngineConfigError(f"engine.options.{name} is fixed here; {instead}")
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise EngineConfigError(
                f"engine.options.{name}: vLLM {vllm.__version__} has no such"
                f" argument{hint}"
            )
    arguments: dict[str, Any] = {
        "model": spec.model_path,
        "dtype": _dtype(spec),
        "max_model_len": spec.max_model_len,
        "skip_tokenizer_init": True,
        "stream_interval": _NEVER,
        "disable_log_stats": False,
        "enable_prefix_caching": False,
        "seed": spec.seed,
        **(_DEFAULTS_GPU if spec.gpus else _DEFAULTS_CPU),
    }
    if spec.dummy_weights:
        arguments["load_format"] = "dummy"
    pipeline = int(spec.options.get("pipeline_parallel_size", 1))
    if spec.gpus and "tensor_parallel_size" not in spec.options:
        arguments["tensor_parallel_size"] = max(1, spec.gpus // pipeline)
    arguments |= spec.options
    parallel = int(arguments.get("tensor_parallel_size", 1)) * pipeline
    if parallel != max(1, spec.gpus):
        raise EngineConfigError(
            f"tensor_parallel_size x pipeline_parallel_size is {parallel}, but"
            f" cluster.gpus_per_replica is {spec.gpus}"
        )
    return arguments


class _LatestStats(StatLoggerBase):  # type: ignore[misc]
    """Keeps the scheduler's last statistics, for heartbeats."""

    def __init__(self) -> None:
        self.latest: Any = None

    def record(self, scheduler_stats: Any, *_args: Any, **_kwargs: Any) -> None:
        """Keep what the scheduler counted in this step."""
        if scheduler_stats is not None:
            self.latest = scheduler_stats

    def log_engine_initialized(self) -> None:
        """Log nothing."""


class VllmEngine:
    """Implements `sut.engines.base.Engine`."""

    def __init__(self, spec: EngineSpec) -> None:
        """Load the model and compile.

        Raises:
            EngineConfigError: vLLM refuses the configuration.
        """
        arguments = engine_arguments(spec)
        self._spec = spec
        self._params: dict[int | None, SamplingParams] = {}
        self._first: dict[str, list[int]] = {}
        self._stats: list[_LatestStats] = []
        started = time.perf_counter()
        try:
            config = EngineArgs(**arguments).create_engine_config()
        except Exception as error:
            raise EngineConfigError(config_problem(error, spec.options)) from error
        hold_cache_writes(config)
        with tempfile.TemporaryDirectory(prefix="steps-") as folder:
            # Needed until both sides have mapped the file in it.
            recorded = spec.steps or spec.adaptive
            self._ring = _record_steps(config, Path(folder)) if recorded else None
            adaptation = None
            if spec.adaptive:
                adaptation = Adaptation(config, Path(folder), spec)
            self._engine = LLMEngine.from_vllm_config(
                config, stat_loggers=[self._make_stats], disable_log_stats=False
            )
        self._config = config
        self._arguments = arguments
        self._adapted: dict[str, Json] = {}
        if adaptation is not None:
            assert self._ring is not None
            self._adapted = adaptation.fix_model(self._engine, self._ring)
        self._build_s = time.perf_counter() - started
        # Engine cores and workers, by the title that vLLM gives them; others, the
        # compiler's say, may come and go.
        children = psutil.Process().children(recursive=True)
        self._processes = {
            process: name
            for process in children
            if (name := process.name()).startswith("VLLM::")
        }

    def _make_stats(self, *_arguments: Any) -> _LatestStats:
        self._stats.append(_LatestStats())
        return self._stats[-1]

    @property
    def info(self) -> EngineInfo:
        """What was built."""
        # Of the language model, where a checkpoint holds more than that.
        shape = self._config.model_config.hf_text_config
        cache = self._config.cache_config
        compile_s = getattr(self._config.compilation_config, "compilation_time", None)
        blocks = cache.num_gpu_blocks
        return EngineInfo(
            versions={"vllm": vllm.__version__, "torch": str(torch.__version__)},
            model={
                "architecture": self._config.model_config.architecture,
                "layers": shape.num_hidden_layers,
                "hidden_size": shape.hidden_size,
                "intermediate_size": shape.intermediate_size,
                "attention_heads": shape.num_attention_heads,
                "kv_heads": shape.num_key_value_heads,
                "vocab_size": shape.vocab_size,
                "head_size": self._config.model_config.get_head_size(),
                "tied_embeddings": bool(shape.tie_word_embeddings),
                "dtype": str(self._config.model_config.dtype).removeprefix("torch."),
            },
            settings={
                **{k: v for k, v in self._arguments.items() if k in _SHOWN},
                **self._quantization(),
                **self._adapted,
                "kv_cache_tokens": blocks * cache.block_size if blocks else None,
                "kv_block_size": cache.block_size,
                "cuda_graph_sizes": [*graph_sizes(self._config.compilation_config)],
                "async_scheduling": self._config.scheduler_config.async_scheduling,
                "build_s": round(self._build_s, 3),
            },
            max_num_batched_tokens=(
                self._config.scheduler_config.max_num_batched_tokens
            ),
            compile_s=float(compile_s) if compile_s else None,
        )

    def _quantization(self) -> dict[str, Json]:
        model = self._config.model_config
        if not model.quantization:  # A quantized checkpoint says so without any option.
            return {}
        config = getattr(model.hf_config, "quantization_config", None)
        asked = str(self._arguments.get("kv_cache_dtype", "auto"))
        return quantization_settings(str(model.quantization), config, asked)

    @property
    def busy(self) -> bool:
        """Whether `step` has work to do."""
        return bool(self._engine.has_unfinished_requests())

    def add(self, request: Request) -> None:
        """Queue a request.

        Raises:
            RequestError: vLLM refuses this prompt.
        """
        ids = np.frombuffer(request.prompt, "<i4").tolist()
        name = f"{request.seq}.{request.attempt}"
        params = self._sampling(request.output_tokens)
        try:
            self._engine.add_request(name, {"prompt_token_ids": ids}, params)
        except Exception as error:
            raise RequestError(first_line(error)) from error

    def _sampling(self, length: int | None) -> SamplingParams:
        """Return greedy sampling, for answers of exactly `length` tokens if given."""
        if length not in self._params:
            spec = self._spec
            ignores = spec.ignore_eos or length is not None
            self._params[length] = SamplingParams(
                temperature=0.0,
                max_tokens=length or spec.max_tokens,
                min_tokens=length or spec.min_tokens,
                ignore_eos=ignores,
                stop_token_ids=None if ignores else spec.stop_token_ids,
                detokenize=False,
                output_kind=RequestOutputKind.DELTA
                if spec.streaming
                else RequestOutputKind.FINAL_ONLY,
            )
        return self._params[length]

    def step(self) -> tuple[Sequence[FirstToken], Sequence[Completion]]:
        """Run the model once; return what has begun and what has ended."""
        first, done = [], []
        for output in self._engine.step():
            seq, attempt = (int(part) for part in output.request_id.split("."))
            completion = output.outputs[0]
            tokens = self._first.pop(output.request_id, []) + list(completion.token_ids)
            if not output.finished:
                self._first[output.request_id] = tokens
                first.append(FirstToken(seq, attempt, _int32(tokens[:1])))
                continue
            if self._spec.streaming and len(tokens) == len(completion.token_ids):
                first.append(FirstToken(seq, attempt, _int32(tokens[:1])))
            done.append(_done(seq, attempt, tokens, output))
        return first, done

    def stats(self) -> EngineStats:
        """Return what the scheduler said after its last step."""
        latest = self._stats[0].latest if self._stats else None
        if latest is None:
            return EngineStats(running=0, waiting=0, kv_used=0.0)
        return EngineStats(
            running=latest.num_running_reqs,
            waiting=latest.num_waiting_reqs,
            kv_used=float(latest.kv_cache_usage),
        )

    def steps(self) -> tuple[bytes, int]:
        """Return records of the steps since the last call, and how many are missing."""
        return (b"", 0) if self._ring is None else self._ring.drain()

    def lost_process(self) -> str | None:
        """Name an engine core or worker that has ended: vLLM may not notice."""
        for process, name in self._processes.items():
            if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
                return name
        return None

    def close(self) -> None:
        """Shut the engine core down."""
        self._engine.engine_core.shutdown()


def _record_steps(config: Any, folder: Path) -> StepRing | None:
    """Have the engine's scheduler record its steps through a file in `folder`.

    None: the user gave a scheduler of another kind, of which there is no such form.
    """
    recorded = BY_BASE.get(config.scheduler_config.get_scheduler_cls())
    if recorded is None:
        return None
    path = folder / "ring"
    ring = StepRing(path)
    os.environ[PATH_VARIABLE] = str(path)
    config.scheduler_config.scheduler_cls = (
        f"{recorded.__module__}.{recorded.__qualname__}"
    )
    return ring


def _dtype(spec: EngineSpec) -> str:
    """Return the computation type, with `auto` resolved for this host.

    Without AVX-512 vLLM's CPU build falls back to torch's bfloat16 products, which are
    so slow that one step with prompts takes a minute.
    """
    if spec.dtype != "auto":
        return spec.dtype
    slow = not spec.gpus and torch.backends.cpu.get_cpu_capability() == "AVX2"
    return "float32" if slow else "bfloat16"


def _done(seq: int, attempt: int, tokens: list[int], output: Any) -> Completion:
    times = output.metrics
    queue = prefill = decode = None
    if times is not None and times.first_token_ts:
        queue = duration_ns(times.scheduled_ts - times.queued_ts)
        prefill = duration_ns(times.first_token_ts - times.scheduled_ts)
        decode = duration_ns(times.last_token_ts - times.first_token_ts)
    return Completion(
        seq,
        attempt,
        _int32(tokens),
        output.outputs[0].finish_reason or "unknown",
        output.num_cached_tokens,
        queue,
        prefill,
        decode,
    )


def _int32(tokens: Sequence[int]) -> bytes:
    return np.asarray(tokens, "<i4").tobytes()
