"""The configuration as typed dataclasses; every field has its own help text.

`conf.load` fills them once, at the start. No other code handles untyped configuration.
"""

from dataclasses import dataclass
from enum import Enum

from base.benchmark import MAX_TOKENS, Benchmark, ScenarioName
from conf.engines import EngineConfig
from conf.option import LONGEST_S, option

_DTYPES = ("auto", "half", "float16", "bfloat16", "float", "float32")


class Mode(Enum):
    """What a run is for."""

    performance = "performance"
    accuracy = "accuracy"
    compliance = "compliance"


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


class NodeOrder(Enum):
    """How the nodes of a Ray cluster are filled."""

    pack = "pack"
    spread = "spread"


class LiveView(Enum):
    """How progress is shown during a run."""

    auto = "auto"
    rich = "rich"
    plain = "plain"
    quiet = "quiet"


@dataclass(slots=True, kw_only=True)
class ScenarioConfig:
    """What LoadGen does."""

    name: ScenarioName = option("LoadGen scenario", ScenarioName.offline)
    target_qps: float | None = option(
        "Server, Interactive: arrival rate in queries/s (a smoke run's default is 1);"
        " Offline: expected samples/s, which sets the size of a full run"
        " (1.1 x 600 s x target_qps samples)",
        None,
        at_least=1e-4,
        at_most=1e7,
    )
    expected_latency_ms: float | None = option(
        "SingleStream: expected latency in ms, which sets the number of queries;"
        " default: measured in the warm-up",
        None,
        at_least=0.001,
        at_most=1e7,
    )


@dataclass(slots=True, kw_only=True)
class ModelConfig:
    """The model that every replica serves."""

    name: str = option(
        "name used in reports; default: the folder's name if model.path gives another"
        " model than the preset"
    )
    path: str | None = option(
        "checkpoint folder (config.json, tokenizer.json, *.safetensors)",
        None,
        path=True,
    )
    weights: Weights = option("origin of the weights", Weights.checkpoint)
    vocabulary: str | None = option(
        "name of the vocabulary for prompts; default: that of the tokenizer in the"
        " model's folder",
        None,
    )
    is_benchmark: bool = option(
        "whether MLPerf's accuracy targets apply to this model", False
    )
    dtype: str = option(
        "vLLM's dtype; auto: bfloat16, or float32 on a CPU without AVX-512, where"
        " bfloat16 is several times slower",
        "auto",
        one_of=_DTYPES,
    )
    max_model_len: int | None = option(
        "most tokens of a prompt and its answer; model=custom leaves it out: as many as"
        " the data need",
        2668,
        at_least=16,
        at_most=10_000_000,
    )


@dataclass(slots=True, kw_only=True)
class DatasetConfig:
    """The samples behind the query sample library."""

    name: str = option(
        "name used in reports; default: the file's name if dataset.path gives other"
        " data than the preset"
    )
    path: str | None = option(
        "file in MLPerf's cnn_eval.json format (or .json.gz)", None, path=True
    )
    vocabulary: str | None = option(
        "name of the vocabulary of tok_input; default: that of the model",
        None,
    )
    is_benchmark: bool = option(
        "whether MLPerf's accuracy targets apply to this data", False
    )
    count: int | None = option(
        "use only the first N samples; dataset=synthetic: number of samples to make",
        None,
        at_least=1,
        at_most=100_000_000,
    )
    max_output_tokens: int = option(
        "most tokens of an answer; MLPerf's rules have 128",
        MAX_TOKENS,
        at_least=1,
        at_most=65_000,
    )
    prompt_tokens: int | None = option(
        "dataset=synthetic: tokens of every prompt; default: lengths like those of"
        " real prompts",
        None,
        at_least=1,
        at_most=10_000_000,
    )


@dataclass(slots=True, kw_only=True)
class ClusterConfig:
    """How many replicas run, on what, and how their health is judged."""

    name: str = option(
        "cluster: local (this host), external (hosts that join) or ray (a Ray cluster)"
    )
    replicas: int | None = option(
        "number of replicas; default: one for each cluster.gpus_per_replica GPUs, or"
        " one on a CPU",
        None,
        at_least=1,
        at_most=4096,
    )
    only: list[int] = option(
        "numbers of the replicas that are started, e.g. cluster.only=[0,2]; empty: all",
        [],
        at_least=0,
        at_most=4095,
    )
    gpus_per_replica: int | None = option(
        "GPUs of each replica (0: CPU); default: 1 if a GPU is found, else 0",
        None,
        at_least=0,
        at_most=1024,
    )
    balancer: BalancerName | None = option(
        "policy that chooses the replica for a sample; default: prefill_aware if"
        " answers are streamed, else least_outstanding_tokens",
        None,
    )
    longest_first: bool = option(
        "Offline: send the longest prompts first, within one pass over the data set",
        False,
    )
    max_attempts: int = option(
        "how often engines may refuse a sample before the run is aborted",
        3,
        at_least=1,
        at_most=1_000_000,
    )
    restarts: int = option(
        "how often each replica may be restarted after it was lost during the run",
        0,
        at_least=0,
        at_most=1_000_000,
    )
    load_timeout_s: float = option(
        "longest time in s until a replica is ready",
        1800.0,
        above=0,
        at_most=LONGEST_S,
    )
    heartbeat_timeout_s: float = option(
        "a replica is fenced after this time in s without a heartbeat (it sends one"
        " each second)",
        15.0,
        at_least=3,
        at_most=LONGEST_S,
    )
    step_timeout_s: float = option(
        "a replica is fenced if it has samples and finishes no engine step for this"
        " time in s",
        60.0,
        above=0,
        at_most=LONGEST_S,
    )


@dataclass(slots=True, kw_only=True)
class ExternalConfig(ClusterConfig):
    """Replicas on nodes; each node joins by `mlperf-sut node`."""

    nodes: int = option("number of nodes", at_least=1, at_most=4096)
    key: str = option(
        "key file made by mlperf-sut keys; each node needs a copy", path=True
    )
    listen: str = option(
        "address and port that nodes connect to; replicas connect to the next port",
        "0.0.0.0:5555",
    )
    join_timeout_s: float = option(
        "longest time in s until all nodes have joined",
        600.0,
        above=0,
        at_most=LONGEST_S,
    )


@dataclass(slots=True, kw_only=True)
class RayConfig(ClusterConfig):
    """Replicas on the nodes of a Ray cluster, which starts a node agent for each."""

    address: str | None = option(
        "Ray cluster to join: auto (RAY_ADDRESS, or the one that this host is part of)"
        " or its HOST:PORT; local: start one on this host for this run; default: auto"
        " where there is one, else local",
        None,
    )
    cpus_per_replica: int | None = option(
        "cores that Ray reserves for each replica; default: a node's cores divided by"
        " the replicas that it has room for",
        None,
        at_least=1,
        at_most=4096,
    )
    order: NodeOrder = option(
        "pack: fill one node after the other; spread: one replica per node in turn",
        NodeOrder.pack,
    )
    labels: dict[str, str] = option(
        "labels that a Ray node must have to get replicas, e.g. cluster.labels.pool=a",
        {},
    )
    listen: str | None = option(
        "address and port of this host where node agents join; replicas connect to the"
        " next port; default: the address by which Ray knows this host, free ports",
        None,
    )
    join_timeout_s: float = option(
        "seconds to wait until Ray has started all node agents",
        600.0,
        above=0,
        at_most=LONGEST_S,
    )


@dataclass(slots=True, kw_only=True)
class RunConfig:
    """Length, rules and records of a run.

    The last six fields relax LoadGen's rules, so only run=smoke takes them.
    """

    kind: RunKind = option("smoke or full", RunKind.smoke)
    dir: str = option("folder in which each run makes its folder", "runs", path=True)
    user_conf: str | None = option(
        "LoadGen's user.conf; default: that of this package", None, path=True
    )
    audit_conf: str | None = option(
        "LoadGen's audit file for mode=compliance; default: that of TEST06",
        None,
        path=True,
    )
    trace: bool = option("write mlperf_log_trace.json (about 1 kB per sample)", False)
    steps: bool = option("write steps.bin, 40 bytes for each engine step", True)
    live: LiveView = option(
        "auto (rich on a terminal), rich, plain or quiet", LiveView.auto
    )
    metrics_port: int | None = option(
        "port of Prometheus metrics (0: a free one); default: none",
        None,
        at_least=0,
        at_most=65535,
    )
    metrics_address: str = option("address of the metrics", "127.0.0.1")
    metrics_token_file: str | None = option(
        "file with the token that a scraper must send", None, path=True
    )
    stall_timeout_s: float = option(
        "the run is aborted after this time in s without progress",
        300.0,
        above=0,
        at_most=LONGEST_S,
    )
    min_queries: int | None = option(
        "smoke: minimum number of queries; default: the data set once (Offline), 64"
        " (Server, Interactive) or 20 (SingleStream)",
        None,
        at_least=1,
        at_most=1_000_000_000,
    )
    min_duration_s: float | None = option(
        "smoke: minimum duration in s", None, at_least=0, at_most=LONGEST_S
    )
    ttft_ms: float | None = option(
        "smoke: TTFT limit in ms", None, at_least=0.001, at_most=1000 * LONGEST_S
    )
    tpot_ms: float | None = option(
        "smoke: TPOT limit in ms", None, at_least=0.001, at_most=1000 * LONGEST_S
    )
    latency_percentile: float | None = option(
        "smoke: percentile of the latency limits, 0 to 1; default: 0.9 (Server,"
        " Interactive) or 0.5 (SingleStream)",
        None,
        at_least=0.001,
        at_most=0.999,
    )
    loadgen_seed: int | None = option(
        "smoke: seed of LoadGen's order of samples and of arrivals; default: the seeds"
        " of the rules",
        None,
        at_least=0,
        at_most=2**31,
    )


@dataclass(slots=True, kw_only=True)
class Config:
    """Everything that defines a run."""

    mode: Mode = option("performance, accuracy or compliance", Mode.performance)
    benchmark: Benchmark | None = option(
        "datacenter or edge; default: edge for SingleStream, else datacenter", None
    )
    scenario: ScenarioConfig = option("what LoadGen does")
    model: ModelConfig = option("the model that every replica serves")
    dataset: DatasetConfig = option("the samples")
    engine: EngineConfig = option("the engine of each replica")
    cluster: ClusterConfig = option("replicas and their health")
    run: RunConfig = option("length, rules and records of a run")
