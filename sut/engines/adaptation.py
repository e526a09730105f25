"""Puts the adaptive scheduler into an engine, and fixes its model before the run.

Only attributes that vLLM has had from 0.26 to 0.32 are used.
"""

import os
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from vllm.sampling_params import SamplingParams

from record.steps import STEP
from record.structs import Json
from sut.engines.adaptive_scheduler import BY_RECORDED, AdaptiveSettings
from sut.engines.base import EngineConfigError
from sut.engines.step_model import (
    ADAPTIVE_VARIABLE,
    COLD,
    FEWEST,
    ModelSlot,
    fit_step_model,
)
from sut.engines.steps import StepRing
from sut.wire.messages import EngineSpec, StepModel

_USUAL_S, _LONGEST_S = 15.0, 180.0
"""Of the measurement; the longest is for engines whose steps take seconds."""
_MOST_REQUESTS = 1024
_RESERVED_IDS = 3


class Adaptation:
    """One engine's adaptive scheduler."""

    def __init__(self, config: Any, folder: Path, spec: EngineSpec) -> None:
        """Set the scheduler in vLLM's configuration, of which no engine is made yet.

        Args:
            config: vLLM's, with a scheduler that records its steps.
            folder: is there until the engine is built.
            spec: of the engine, with `adaptive`.

        Raises:
            EngineConfigError: the configuration has what it does not work with.
        """
        assert spec.adaptive is not None
        self._config, self._answer_tokens = config, spec.max_tokens
        self._given = spec.adaptive.model
        scheduler = config.scheduler_config
        if (problem := _problem(config)) is not None:
            raise EngineConfigError(
                f"engine.adaptive_batching=true does not work with {problem}; leave one"
                " of them out"
            )
        adaptive = BY_RECORDED[scheduler.get_scheduler_cls()]
        scheduler.scheduler_cls = f"{adaptive.__module__}.{adaptive.__qualname__}"
        path = folder / "model"
        self._slot = ModelSlot(path)
        if self._given is not None:
            self._slot.put(self._given)
        self._graph_sizes = _graph_sizes(config.compilation_config)
        settings = AdaptiveSettings(
            str(path), spec.adaptive.tpot_s, spec.max_tokens, self._graph_sizes
        )
        os.environ[ADAPTIVE_VARIABLE] = msgspec.json.encode(settings).decode()

    def fix_model(self, engine: Any, ring: StepRing) -> dict[str, Json]:
        """Hand the scheduler its model; return what replicas.json states of it.

        Args:
            engine: vLLM's, idle.
            ring: of its steps.

        Raises:
            EngineConfigError: no model could be fitted.
        """
        if self._given is not None:
            return {"step_model": _listed(self._given)}
        started = time.perf_counter()
        ring.drain()
        self._answer_probes(engine)
        steps = np.frombuffer(ring.drain()[0], STEP)
        cache = self._config.cache_config
        fitted = fit_step_model(
            steps, cache.num_gpu_blocks, cache.block_size, self._graph_sizes
        )
        if fitted is None:
            raise EngineConfigError(
                f"engine.adaptive_batching=true: {len(steps)} measured steps gave no"
                f" model of their time (at least {COLD + FEWEST} are needed); give"
                " engine.step_model"
            )
        model, error = fitted
        self._slot.put(model)
        return {
            "step_model": _listed(model),
            "step_model_error": error,
            "step_model_steps": len(steps),
            "step_model_s": round(time.perf_counter() - started, 3),
        }

    def _answer_probes(self, engine: Any) -> None:
        """Answer made-up prompts, with more of them waiting than one step can take."""
        rng = np.random.default_rng(0)
        model = self._config.model_config
        longest = model.max_model_len - self._answer_tokens
        most = self._config.scheduler_config.max_num_batched_tokens
        params = SamplingParams(
            temperature=0.0,
            max_tokens=self._answer_tokens,
            ignore_eos=True,
            detokenize=False,
        )
        typical = max(1, longest // 3)
        ahead = 2 * most // typical + 1
        vocabulary = model.get_vocab_size()
        added, steps = 0, 0
        begun: set[str] = set()
        started = time.perf_counter()
        while True:
            passed_s = time.perf_counter() - started
            enough = passed_s > _USUAL_S and steps >= COLD + FEWEST
            if enough or passed_s > _LONGEST_S:
                engine.abort_request([f"probe.{number}" for number in range(added)])
                added = _MOST_REQUESTS
            while added < _MOST_REQUESTS and added - len(begun) < ahead:
                length = int(rng.integers(typical // 2 + 1, 3 * typical // 2 + 2))
                ids = rng.integers(_RESERVED_IDS, vocabulary, min(length, longest))
                prompt = {"prompt_token_ids": ids.tolist()}
                engine.add_request(f"probe.{added}", prompt, params)
                added += 1
            if not engine.has_unfinished_requests():
                return
            begun.update(output.request_id for output in engine.step())
            steps += 1


def _graph_sizes(compilation: Any) -> list[int]:
    mode = compilation.cudagraph_mode
    if mode is None or mode.name == "NONE":
        return []
    return sorted(compilation.cudagraph_capture_sizes or [])


def _problem(config: Any) -> str | None:
    scheduler, parallel = config.scheduler_config, config.parallel_config
    if scheduler.get_scheduler_cls() not in BY_RECORDED:
        return "engine.options.scheduler_cls"
    if config.speculative_config is not None:
        return "engine.options.speculative_config"
    if parallel.pipeline_parallel_size > 1:
        return "engine.options.pipeline_parallel_size"
    if not scheduler.enable_chunked_prefill:
        return "engine.options.enable_chunked_prefill=false"
    return None


def _listed(model: StepModel) -> list[Json]:
    return list(msgspec.structs.astuple(model))
