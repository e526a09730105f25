"""Options of the engines; every field documents itself."""

from dataclasses import dataclass
from typing import Any

from base.benchmark import MAX_TOKENS
from conf.option import LONGEST_S, option


@dataclass(slots=True, kw_only=True)
class EngineConfig:
    """The engine, which answers the samples of a replica."""

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
        "run vLLM's engine core in the replica process, not in a child process", True
    )
    adaptive_batching: bool = option(
        "Server, Interactive: choose each step's prompt tokens by the limit of TPOT;"
        " engine.options.max_num_batched_tokens is then the most that a step may have",
        False,
    )
    step_model: list[float] | None = option(
        "adaptive_batching: seconds of a step, a prompt token, a decoding request and a"
        " cached token; default: measured in the warm-up",
        None,
        at_least=0,
        at_most=LONGEST_S,
    )
    cpu_kv_cache_gib: int = option(
        "KV cache of a replica on a CPU, in GiB", 2, at_least=1, at_most=65_536
    )


@dataclass(slots=True, kw_only=True)
class SyntheticConfig(EngineConfig):
    """Deterministic tokens and a model of step times; needs no model and no device.

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
        "most prompt tokens in one step",
        8192,
        at_least=1,
        at_most=1_000_000_000,
    )
    output_tokens: int = option(
        "tokens of every answer whose length the data do not prescribe, at most"
        " dataset.max_output_tokens",
        MAX_TOKENS,
        at_least=1,
        at_most=65_000,
    )
    shared_device: str | None = option(
        "name of a device that computes one step at a time, for all engines of this"
        " host with the same name; default: each replica has its own",
        None,
    )
    slowdown: dict[str, float] = option(
        "factor on every duration of one replica, by replica number,"
        " e.g. engine.slowdown.2=1.3",
        {},
        above=0,
        at_most=1e6,
    )
    wrong_answers: dict[str, float] = option(
        "share of the answers of one replica that are wrong, by replica number,"
        " e.g. engine.wrong_answers.1=0.1",
        {},
        at_least=0,
        at_most=1,
    )
    unusable: list[int] = option(
        "numbers of the replicas that cannot start, as with a device that fails",
        [],
        at_least=0,
        at_most=4095,
    )


@dataclass(slots=True, kw_only=True)
class EndpointConfig(EngineConfig):
    """Running servers with the OpenAI completions protocol, one for each replica."""

    urls: list[str] = option(
        "addresses of the servers, one for each replica,"
        " e.g. engine.urls=[http://a:8000,http://b:8000]",
        [],
    )
    served_model: str | None = option(
        "name of the model on the servers; default: their only model", None
    )
    max_concurrency: int = option(
        "most requests, and so connections, that are open to one server at once",
        1024,
        at_least=1,
        at_most=65_536,
    )
    connect_timeout_s: float = option(
        "longest time in s to connect", 10.0, above=0, at_most=LONGEST_S
    )
    first_byte_timeout_s: float = option(
        "longest time in s to an answer's first byte, or to the whole answer where"
        " nothing is streamed (Offline)",
        240.0,
        above=0,
        at_most=LONGEST_S,
    )
    chunk_timeout_s: float = option(
        "longest time in s between two parts of a streamed answer",
        60.0,
        above=0,
        at_most=LONGEST_S,
    )
    busy_timeout_s: float = option(
        "longest time in s that a server may answer one request with 429 or 503",
        60.0,
        above=0,
        at_most=LONGEST_S,
    )
    retries: int = option(
        "how often a request is sent again if its connection breaks before the answer"
        " begins",
        2,
        at_least=0,
        at_most=100,
    )
    api_key_env: str | None = option(
        "environment variable with the servers' API key", None
    )
    api_key_file: str | None = option("file with the servers' API key", None, path=True)
    api_key_header: str = option(
        "header for the key; with Authorization it is sent as a Bearer token",
        "Authorization",
    )
    ca_file: str | None = option(
        "certificates (PEM) to verify https servers; default: those of the host",
        None,
        path=True,
    )
