"""The configuration as typed dataclasses; every field has its own help text.

`conf.load` fills them once, at the start. No other code handles untyped configuration.
"""

from dataclasses import dataclass
from enum import Enum

from base.benchmark import MAX_TOKENS, Benchmark, ScenarioName
from conf.clusters import ClusterConfig
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
