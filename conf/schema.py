"""The configuration tree as typed dataclasses; every field documents itself.

Hydra fills these once at the border (`conf.load`). Inward of it nothing handles
untyped configuration.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Any

from conf.option import LONGEST_S, option

_DTYPES = ("auto", "half", "float16", "bfloat16", "float", "float32")


class Benchmark(Enum):
    """MLPerf Inference suite whose rules apply."""

    datacenter = "datacenter"
    edge = "edge"


class Mode(Enum):
    """What a run is for."""

    performance = "performance"
    accuracy = "accuracy"
    compliance = "compliance"


class ScenarioName(Enum):
    """LoadGen scenarios; Interactive is LoadGen's Server under tighter limits."""

    offline = "offline"
    server = "server"
    interactive = "interactive"
    singlestream = "singlestream"


class RunKind(Enum):
    """Whether a run keeps MLPerf's rules (full) or is shortened (smoke)."""

    smoke = "smoke"
    full = "full"


class Weights(Enum):
    """Where the model's weights come from."""

    checkpoint = "checkpoint"
    smollm2_wheel = "smollm2_wheel"
    dummy = "dummy"
    none = "none"


class BalancerName(Enum):
    """Policies that choose the replica for a sample."""

    round_robin = "round_robin"
    least_outstanding_tokens = "least_outstanding_tokens"
    prefill_aware = "prefill_aware"
    capacity_weighted = "capacity_weighted"


class LiveView(Enum):
    """How progress is shown while a run goes on."""

    auto = "auto"
    rich = "rich"
    plain = "plain"


@dataclass(slots=True, kw_only=True)
class ScenarioConfig:
    """What LoadGen is asked to do."""

    name: ScenarioName = option("LoadGen scenario", ScenarioName.offline)
    target_qps: float | None = option(
        "Server, Interactive: arrival rate in queries/s (left out: 1, in a smoke run);"
        " Offline: expected samples/s, which sizes a full run"
        " (1.1 x 600 s x target_qps)",
        None,
        at_least=1e-4,
        at_most=1e7,
    )
    expected_latency_ms: float | None = option(
        "SingleStream: expected latency in ms, which sizes the run;"
        " left out: measured by the warm-up",
        None,
        at_least=0.001,
        at_most=1e7,
    )


@dataclass(slots=True, kw_only=True)
class ModelConfig:
    """The model that every replica serves."""

    name: str = option(
        "name used in reports; left out: that of the folder, where model.path gives"
        " another model than the preset's"
    )
    path: str | None = option(
        "checkpoint folder (config.json, tokenizer.json, *.safetensors)",
        None,
        path=True,
    )
    weights: Weights = option("origin of the weights", Weights.checkpoint)
    vocabulary: str | None = option(
        "name of the vocabulary that prompts must be tokenized with; left out: that of"
        " the folder's own tokenizer",
        None,
    )
    is_benchmark: bool = option(
        "whether MLPerf's accuracy targets apply to this model", False
    )
    dtype: str = option(
        "computation type, as vLLM names it; auto: bfloat16, but float32 on a CPU"
        " without AVX-512, where bfloat16 is several times slower",
        "auto",
        one_of=_DTYPES,
    )
    max_model_len: int = option(
        "longest prompt plus answer in tokens", 2668, at_least=256, at_most=10_000_000
    )


@dataclass(slots=True, kw_only=True)
class DatasetConfig:
    """The samples behind the query sample library."""

    name: str = option(
        "name used in reports; left out: that of the file, where dataset.path gives"
        " other data than the preset's"
    )
    path: str | None = option(
        "file in MLPerf's cnn_eval.json form (or .json.gz)", None, path=True
    )
    vocabulary: str | None = option(
        "name of the vocabulary that tok_input was made with; left out: the model's"
        " own",
        None,
    )
    is_benchmark: bool = option(
        "whether MLPerf's accuracy targets apply to this data", False
    )
    count: int | None = option(
        "use only the first count samples (made-up data: how many to make)",
        None,
        at_least=1,
        at_most=100_000_000,
    )
    prompt_tokens: int | None = option(
        "made-up data: length of every prompt; left out: lengths like those of real"
        " prompts",
        None,
        at_least=1,
        at_most=10_000_000,
    )


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
    output_tokens: int = option("tokens of every answer", 128, at_least=1, at_most=128)
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


@dataclass(slots=True, kw_only=True)
class ClusterConfig:
    """How many replicas run, on what, and how their health is judged."""

    name: str = option("cluster: local (this host) or external (hosts that join)")
    replicas: int | None = option(
        "number of replicas; left out: one per group of GPUs, or one on a CPU",
        None,
        at_least=1,
        at_most=4096,
    )
    gpus_per_replica: int | None = option(
        "GPUs of one replica (0: CPU); left out: 1 where a GPU is found, else 0",
        None,
        at_least=0,
        at_most=1024,
    )
    balancer: BalancerName | None = option(
        "policy that chooses the replica for a sample; left out: prefill_aware where"
        " answers are streamed, else least_outstanding_tokens",
        None,
    )
    longest_first: bool = option(
        "Offline: hand out the longest prompts first inside one pass over the data set",
        False,
    )
    max_attempts: int = option(
        "times that engines may refuse a sample before the run is given up",
        3,
        at_least=1,
        at_most=1_000_000,
    )
    restarts: int = option(
        "times that each replica may be restarted after it was lost in the run",
        0,
        at_least=0,
        at_most=1_000_000,
    )
    load_timeout_s: float = option(
        "seconds a replica may take to be ready", 1800.0, above=0, at_most=LONGEST_S
    )
    heartbeat_timeout_s: float = option(
        "seconds without a sign of life (one comes each second) until a replica is"
        " fenced",
        15.0,
        at_least=3,
        at_most=LONGEST_S,
    )
    step_timeout_s: float = option(
        "seconds a replica may hold samples without finishing an engine step"
        " until it is fenced",
        60.0,
        above=0,
        at_most=LONGEST_S,
    )


@dataclass(slots=True, kw_only=True)
class ExternalConfig(ClusterConfig):
    """Replicas on hosts that join by themselves, each with `python -m sut.node`."""

    nodes: int = option("hosts that take part", at_least=1, at_most=4096)
    key: str = option(
        "file of the key that python -m sut.keys makes; nodes need the same", path=True
    )
    listen: str = option(
        "address and port where nodes join; replicas connect to the next port",
        "0.0.0.0:5555",
    )
    join_timeout_s: float = option(
        "seconds to wait until all nodes have joined",
        600.0,
        above=0,
        at_most=LONGEST_S,
    )


@dataclass(slots=True, kw_only=True)
class RunConfig:
    """Length, strictness and records of a run.

    The last five fields relax LoadGen's rules and belong to run=smoke alone.
    """

    kind: RunKind = option("smoke or full", RunKind.smoke)
    dir: str = option("folder under which each run makes its own", "runs", path=True)
    user_conf: str | None = option(
        "LoadGen's user.conf; left out: the one of this package", None, path=True
    )
    audit_conf: str | None = option(
        "LoadGen's audit file for mode=compliance; left out: this package's TEST06",
        None,
        path=True,
    )
    trace: bool = option("write mlperf_log_trace.json (about 1 kB per sample)", False)
    live: LiveView = option("auto (rich on a terminal), rich or plain", LiveView.auto)
    stall_timeout_s: float = option(
        "seconds without any progress until the run is aborted",
        300.0,
        above=0,
        at_most=LONGEST_S,
    )
    min_queries: int | None = option(
        "smoke: fewest queries; left out: the data set once (Offline),"
        " 64 (Server, Interactive), 20 (SingleStream)",
        None,
        at_least=1,
        at_most=1_000_000_000,
    )
    min_duration_s: float | None = option(
        "smoke: shortest duration in s", None, at_least=0, at_most=LONGEST_S
    )
    ttft_ms: float | None = option(
        "smoke: limit of TTFT in ms", None, at_least=0.001, at_most=1000 * LONGEST_S
    )
    tpot_ms: float | None = option(
        "smoke: limit of TPOT in ms", None, at_least=0.001, at_most=1000 * LONGEST_S
    )
    latency_percentile: float | None = option(
        "smoke: percentile at which latency is judged; left out: 0.9 (Server,"
        " Interactive), 0.5 (SingleStream)",
        None,
        at_least=0.001,
        at_most=0.999,
    )


@dataclass(slots=True, kw_only=True)
class Config:
    """Everything that defines a run."""

    mode: Mode = option("performance, accuracy or compliance", Mode.performance)
    benchmark: Benchmark | None = option(
        "datacenter or edge; left out: edge for SingleStream, else datacenter", None
    )
    scenario: ScenarioConfig = option("what LoadGen is asked to do")
    model: ModelConfig = option("the model that every replica serves")
    dataset: DatasetConfig = option("the samples")
    engine: EngineConfig = option("what answers the samples in a replica")
    cluster: ClusterConfig = option("replicas and their health")
    run: RunConfig = option("length, strictness and records of a run")
