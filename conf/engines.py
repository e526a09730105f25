"""Options of the engines; every field documents itself."""

from dataclasses import dataclass
from typing import Any

from base.benchmark import MAX_TOKENS
from conf.option import LONGEST_S, option


@dataclass(slots=True, kw_only=True)
class EngineConfig:
    """What answers the samples in a replica."""

    name: str = option("engine: vllm or synthetic")
    warmup_requests: int = option(
        "requests of the widest warm-up batch, before LoadGen's clock starts",
        8,
        at_least=1,
        at_most=65_536,
    )


@dataclass(slots=True, kw_only=True)
class VllmConfig(EngineConfig):
    """vLLM, one engine per replica."""

    options: dict[str, Any] = option(
        "vLLM engine arguments by their own names, e.g."
        " engine.options.max_num_seqs=256 engine.options.quantization=fp8",
        {},
    )
    env: dict[str, str] = option("environment variables for each replica", {})
    in_process: bool = option(
        "run vLLM's engine core inside the replica process, not in a child of it", True
    )
    cpu_kv_cache_gib: int = option(
        "KV cache of a replica on a CPU, in GiB", 2, at_least=1, at_most=65_536
    )


@dataclass(slots=True, kw_only=True)
class SyntheticConfig(EngineConfig):
    """Deterministic tokens and a service-time model; needs no model and no device.

    A step costs step_s + prefill_s_per_token x (prompt tokens in it)
    + decode_s_per_sequence x (sequences in it).
    """

    step_s: float = option(
        "fixed seconds of one engine step", 0.0, at_least=0, at_most=LONGEST_S
    )
    prefill_s_per_token: float = option(
        "seconds per prompt token in a step", 0.0, at_least=0, at_most=LONGEST_S
    )
    decode_s_per_sequence: float = option(
        "seconds per running sequence in a step", 0.0, at_least=0, at_most=LONGEST_S
    )
    max_num_seqs: int = option(
        "sequences that run at once", 1024, at_least=1, at_most=10_000_000
    )
    max_num_batched_tokens: int = option(
        "prompt tokens that one step may take in",
        8192,
        at_least=1,
        at_most=1_000_000_000,
    )
    output_tokens: int = option(
        "tokens of every answer", MAX_TOKENS, at_least=1, at_most=MAX_TOKENS
    )
    slowdown: dict[str, float] = option(
        "factor on every duration of one replica, by replica number,"
        " e.g. engine.slowdown.2=1.3",
        {},
        above=0,
        at_most=1e6,
    )
