"""Options of the engines; every field documents itself."""

from dataclasses import dataclass
from typing import Any

from base.benchmark import MAX_TOKENS
from conf.option import LONGEST_S, option


@dataclass(slots=True, kw_only=True)
class EngineConfig:
    """What answers the samples in a replica."""

    name: str = option("engine: vllm, synthetic or endpoint")
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
    adaptive_batching: bool = option(
        "Server, Interactive: choose each step's prompt tokens by the limit of TPOT;"
        " engine.options.max_num_batched_tokens is then the most that a step may have",
        False,
    )
    step_model: list[float] | None = option(
        "adaptive_batching: seconds of a step, a prompt token, a decoding request and a"
        " cached token; left out: measured in the warm-up",
        None,
        at_least=0,
        at_most=LONGEST_S,
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


@dataclass(slots=True, kw_only=True)
class EndpointConfig(EngineConfig):
    """Servers that run already, with the OpenAI completions protocol; one a replica."""

    urls: list[str] = option(
        "addresses of the servers, e.g. engine.urls=[http://a:8000,http://b:8000];"
        " one replica each",
        [],
    )
    served_model: str | None = option(
        "name under which the servers know the model; left out: their only one", None
    )
    max_concurrency: int = option(
        "requests, and so connections, that are open to one server at once",
        1024,
        at_least=1,
        at_most=65_536,
    )
    connect_timeout_s: float = option(
        "seconds a connection may take", 10.0, above=0, at_most=LONGEST_S
    )
    first_byte_timeout_s: float = option(
        "seconds until an answer's first byte; where nothing is streamed (Offline),"
        " until the whole answer",
        240.0,
        above=0,
        at_most=LONGEST_S,
    )
    chunk_timeout_s: float = option(
        "seconds between two parts of a streamed answer",
        60.0,
        above=0,
        at_most=LONGEST_S,
    )
    busy_timeout_s: float = option(
        "seconds that a server may answer one request with 429 or 503",
        60.0,
        above=0,
        at_most=LONGEST_S,
    )
    retries: int = option(
        "times a request is sent again whose connection broke before its answer began",
        2,
        at_least=0,
        at_most=100,
    )
    api_key_env: str | None = option(
        "environment variable that holds the servers' API key", None
    )
    api_key_file: str | None = option(
        "file that holds the servers' API key", None, path=True
    )
    api_key_header: str = option(
        "header that carries the key; Authorization: as a Bearer token",
        "Authorization",
    )
    ca_file: str | None = option(
        "certificates (PEM) that https servers are checked by; left out: the host's",
        None,
        path=True,
    )
