import itertools
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from base.errors import UserError
from base.files import cache_folder
from conf.clusters import BalancerName, ExternalConfig
from conf.engines import EndpointConfig, SyntheticConfig, VllmConfig
from conf.help import help_text, version_text
from conf.load import GROUPS, choices, load_config, to_yaml
from conf.schema import Config, Mode, Weights

PLAIN_GROUPS = [group for group in GROUPS if group not in ("cluster", "experiment")]
REST = "cluster: {name: local}\nmodel: {name: x}\ndataset: {name: x}"
EXTERNAL = ["cluster=external", "cluster.nodes=2", "cluster.key=a.key"]


def test_defaults_are_the_embedded_run() -> None:
    config = load_config([])
    assert config.model.name == "smollm2_135m"
    assert config.dataset.name == "sample"
    assert isinstance(config.engine, VllmConfig)
    assert config.mode is Mode.performance


@pytest.mark.integration
@pytest.mark.parametrize(
    "combination",
    list(itertools.product(*(choices(group) for group in PLAIN_GROUPS))),
    ids="-".join,
)
def test_every_combination_composes_and_survives_its_yaml(
    combination: tuple[str, ...], tmp_path: Path
) -> None:
    overrides = [f"{g}={c}" for g, c in zip(PLAIN_GROUPS, combination, strict=True)]
    if "engine=endpoint" in overrides:
        overrides.append("engine.urls=[http://localhost:8000]")
    config = load_config(overrides)
    resolved = tmp_path / "config.yaml"
    resolved.write_text(to_yaml(config))
    assert load_config([], resolved) == config


def test_clusters_have_options_of_their_own(tmp_path: Path) -> None:
    config = load_config([*EXTERNAL, "cluster.replicas=4"])
    assert isinstance(config.cluster, ExternalConfig)
    assert (config.cluster.nodes, config.cluster.replicas) == (2, 4)
    resolved = tmp_path / "config.yaml"
    resolved.write_text(to_yaml(config))
    assert load_config([], resolved) == config
    again = load_config(["cluster.nodes=3"], resolved).cluster
    assert isinstance(again, ExternalConfig)
    assert again.nodes == 3
    with pytest.raises(UserError, match=r"cluster\.nodes: only cluster=external has"):
        load_config(["cluster.nodes=2"])
    with pytest.raises(UserError, match=r"cluster\.key: no value was given"):
        load_config(EXTERNAL[:2])


@pytest.mark.parametrize("experiment", choices("experiment"))
def test_every_experiment_composes(experiment: str) -> None:
    load_config([f"experiment={experiment}"])


def test_options_reach_their_fields() -> None:
    config = load_config(
        [
            "engine.options.max_num_seqs=7",
            "engine.options.compilation_config={level: 3}",
            "engine.env.SOME_VARIABLE=x",
            "cluster.replicas=3",
            "cluster.balancer=round_robin",
        ]
    )
    assert isinstance(config.engine, VllmConfig)
    assert config.engine.options == {
        "max_num_seqs": 7,
        "compilation_config": {"level": 3},
    }
    assert config.engine.env == {"SOME_VARIABLE": "x"}
    assert config.cluster.replicas == 3
    assert config.cluster.balancer is BalancerName.round_robin


def test_slowdown_of_one_synthetic_replica() -> None:
    config = load_config(["engine=synthetic", "engine.slowdown.2=1.3"])
    assert isinstance(config.engine, SyntheticConfig)
    assert config.engine.slowdown == {"2": 1.3}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("scenario.typo=1", "scenario.typo: no such option"),
        ("+scenario.typo=1", "scenario.typo: no such option"),
        ("cluster.replica=2", "did you mean replicas?"),
        ("+foo=1", "foo: no such option"),
        ("foo.bar=1", "foo"),
        ("scenario=offlin", "there is interactive, offline, server, singlestream"),
        ("mode=", "'' is not one of performance, accuracy, compliance"),
        ("mode=fast", "'fast' is not one of"),
        ("mode=null", "mode"),
        ("model.path=", "model.path is empty"),
        ("run.dir=''", "run.dir is empty"),
        ("cluster=", "no such cluster"),
        ("cluster.replicas=0", "cluster.replicas is 0, must be at least 1"),
        ("cluster.replicas=two", "cluster.replicas: 'two' is not a whole number"),
        ("scenario.target_qps=-1", "must be at least 0.0001"),
        ("scenario.target_qps=1e300", "must be at most"),
        ("run.min_queries=1000000000000000000000", "must be at most"),
        ("--replicas=2", "written KEY=VALUE"),
        ("+=", "written KEY=VALUE"),
        ("engine.options.x=", "engine.options.x is empty"),
        ("scenario.target_qps=nan", "not a finite number"),
        ("scenario.target_qps=inf", "not a finite number"),
        ("run.latency_percentile=1", "must be at most 0.999"),
        ("run.trace=maybe", "run.trace: 'maybe' is not true or false"),
        ("model.max_model_len=3.5", "model.max_model_len: '3.5' is not a whole number"),
        ("nonsense", "written KEY=VALUE"),
        ("~cluster", "written KEY=VALUE"),
        ("hydra.job.name=x", "not available"),
        ("scenario.name=server", "choose it with scenario="),
        ("a=b=c", "a: no such option"),
        ("--scenario=server", "options are written KEY=VALUE: scenario=server"),
        ("scenario", "options are written KEY=VALUE"),
        ("cluster.replicas.x=1", "cluster.replicas is a single value"),
        ("run.dir=null", "run.dir cannot be left out"),
        ("run.min_queries=" + 400 * "9", "run.min_queries is too large"),
        ("run.min_queries=" + 5000 * "9", "is not a whole number"),
        ("run.min_queries=20000000000", "must be at most 1000000000"),
        ("dataset.count=99999999999", "must be at most 100000000"),
        ("model.dtype=bf17", "must be one of auto, half, float16, bfloat16"),
        ("model.name=a\udcff", "not UTF-8 text"),
        ("engine.step_s=1", "only engine=synthetic has"),
        ("engine=vlm", "did you mean vllm?"),
        ("engine.options.x=a,b", "engine.options.x=a,b: cannot be read as a value"),
        ("engine.options.x=ü", "quote text with special characters"),
        ("engine.options.x=[1", "engine.options.x=[1: cannot be read as a value"),
    ],
)
def test_mistakes_are_reported_in_one_line(override: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        load_config([override])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "W/ünï",
        "a#b",
        "a=b",
        "a,b",
        "runs (1)",
        "W/a{b}",
        "${a}",
        "[x]",
        "a: b",
        "'",
        "1",
    ],
)
def test_texts_are_taken_as_they_stand(text: str, tmp_path: Path) -> None:
    overrides = [f"run.dir={text}", f"engine.env.A={text}"]
    config = load_config(overrides)
    assert config.run.dir == text
    assert isinstance(config.engine, VllmConfig)
    assert config.engine.env == {"A": text}
    resolved = tmp_path / "config.yaml"
    resolved.write_text(to_yaml(config))
    assert load_config([], resolved) == config
    assert load_config([*overrides, "run.trace=true"], resolved).run.dir == text


def test_texts_may_stand_in_quotes_of_their_own() -> None:
    config = load_config(["run.dir='a b'", *EXTERNAL, "cluster.listen='[::]:5555'"])
    assert config.run.dir == "a b"
    assert isinstance(config.cluster, ExternalConfig)
    assert config.cluster.listen == "[::]:5555"


def test_a_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    config = load_config(["run.dir=~/runs", "dataset.name=~/x"])
    assert (config.run.dir, config.dataset.name) == ("/home/me/runs", "~/x")
    assert load_config(["run.dir=~nobody-here/runs"]).run.dir == "~nobody-here/runs"


def test_the_last_of_two_equal_options_counts() -> None:
    config = load_config(["engine=vllm", "run.dir=a", "engine=synthetic", "run.dir=b"])
    assert isinstance(config.engine, SyntheticConfig)
    assert config.run.dir == "b"


def test_options_of_an_experiment_can_be_changed_one_by_one() -> None:
    options = ["experiment=hopper_offline", "engine.options.attention_config.backend=X"]
    engine = load_config(options).engine
    assert isinstance(engine, VllmConfig)
    assert engine.options["attention_config"] == {"backend": "X"}
    assert engine.options["max_num_seqs"] == 1024
    again = load_config(options[:1]).engine
    assert isinstance(again, VllmConfig)
    assert again.options["attention_config"] == {"backend": "FLASHINFER"}


def test_every_number_has_an_upper_bound() -> None:
    def unbounded(node: Any, prefix: str) -> Iterator[str]:
        hints = get_type_hints(node)
        for spec in fields(node):
            kind = str(hints[spec.name])
            if is_dataclass(hints[spec.name]):
                yield from unbounded(hints[spec.name], f"{prefix}{spec.name}.")
            elif ("int" in kind or "float" in kind) and spec.metadata[
                "at_most"
            ] is None:
                yield prefix + spec.name

    kinds = (Config, VllmConfig, SyntheticConfig, ExternalConfig)
    assert [name for kind in kinds for name in unbounded(kind, "")] == []


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["run.ttft_ms=1"], "scenario=offline has no latency limits"),
        (["run.tpot_ms=1", "scenario=singlestream"], "has no latency limits"),
        (["run.latency_percentile=0.5"], "has no latency limits"),
        (["scenario.target_qps=5"], "sizes a run with a minimum duration"),
        (["scenario.target_qps=5", "scenario=singlestream"], "one query after"),
        (["scenario.expected_latency_ms=5"], "is not sized by it"),
        (["run.min_queries=5", "mode=accuracy"], "its own number of samples"),
        (["run.audit_conf=x"], "only mode=compliance"),
        (["engine=synthetic", "model.path=x"], "loads no model"),
        (["engine=synthetic", "model.dtype=half"], "loads no model"),
        (
            ["engine=synthetic", "cluster.replicas=2", "engine.slowdown.2=2"],
            "cluster.replicas=2 has replicas 0 to 1",
        ),
        (["engine=synthetic", "engine.slowdown.x=2"], "name a replica by its number"),
        (
            ["engine=synthetic", "engine.wrong_answers.x=0.2"],
            "name a replica by its number",
        ),
        (
            ["engine=synthetic", "cluster.replicas=2", "engine.wrong_answers.2=0.2"],
            "cluster.replicas=2 has replicas 0 to 1",
        ),
    ],
)
def test_options_without_effect_are_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=r"no effect|by its number") as caught:
        load_config(overrides)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "overrides",
    [
        ["scenario.target_qps=5", "run.min_duration_s=2"],
        ["scenario.target_qps=5", "run=full"],
        ["scenario=server", "run.ttft_ms=5", "run.tpot_ms=5"],
        ["experiment=hopper_server", "scenario=offline"],
        ["engine=synthetic", "cluster.replicas=2", "engine.slowdown.1=2"],
        ["run.audit_conf=x", "mode=compliance"],
        ["scenario=server", "cluster.longest_first=true"],
    ],
)
def test_options_with_an_effect_are_taken(overrides: list[str]) -> None:
    load_config(overrides)


def test_own_model_and_data_are_named_by_what_they_are(tmp_path: Path) -> None:
    options = ["model.path=/w/tiny-llama/", "dataset.path=/w/own.json.gz"]
    for preset in ([], ["model=custom", "dataset=custom"]):
        config = load_config([*preset, *options])
        model, dataset = config.model, config.dataset
        assert (model.name, dataset.name) == ("tiny-llama", "own")
        assert (model.weights, model.vocabulary) == (Weights.checkpoint, None)
        assert dataset.vocabulary is None
        assert not model.is_benchmark
        assert not dataset.is_benchmark
    resolved = tmp_path / "config.yaml"
    resolved.write_text(to_yaml(config))
    assert load_config([], resolved) == config
    again = load_config(["model.path=/w/other"], resolved)
    assert again.model.name == "other"
    given = load_config([*options, "model.name=m", "model.vocabulary=v"]).model
    assert (given.name, given.vocabulary) == ("m", "v")


def test_the_benchmarks_presets_keep_their_names() -> None:
    options = ["model=llama3_1-8b", "model.path=/w/x", "dataset=cnn_dailymail"]
    config = load_config([*options, "dataset.path=/w/y.json"])
    assert (config.model.name, config.dataset.name) == ("llama3_1-8b", "cnn_dailymail")
    assert config.model.vocabulary == config.dataset.vocabulary == "llama3"
    assert config.model.is_benchmark
    dummy = load_config(["model=llama3_1-8b_dummy", "model.path=/w/x"]).model
    assert (dummy.name, dummy.weights) == ("llama3_1-8b_dummy", Weights.dummy)


def test_a_synthetic_engine_has_no_model() -> None:
    model = load_config(["engine=synthetic"]).model
    assert (model.name, model.weights) == ("synthetic", Weights.none)
    assert load_config(["engine=synthetic", "model.name=m"]).model.name == "m"


def test_resolved_config_takes_changes_of_single_values(tmp_path: Path) -> None:
    resolved = tmp_path / "config.yaml"
    resolved.write_text(to_yaml(load_config(["scenario=server"])))
    config = load_config(["scenario.target_qps=9"], resolved)
    assert config.scenario.target_qps == 9
    with pytest.raises(UserError, match=r"scenario\.target_qps is empty"):
        load_config(["scenario.target_qps="], resolved)
    with pytest.raises(UserError, match="only single values"):
        load_config(["scenario=offline"], resolved)
    with pytest.raises(UserError, match="no such option"):
        load_config(["scenario.typo=1"], resolved)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "not YAML"),
        ("", "not the config.yaml of a run"),
        ("mode: performance", "not the config.yaml of a run"),
        ("engine: {name: vllm}\ncluster: {name: local}\nfoo: 1", "foo: no such option"),
        ("engine: {name: vllm}\ncluster: {name: local}", "no value was given"),
        ("engine: {name: vllm}", r"no cluster\.name"),
        ("- a", "not the config.yaml of a run"),
        ("a: &x [1]\nb: *x", r"line 2: the alias \*x is not allowed"),
        ("[" * 3000, "nested too deeply"),
        (
            "engine: {name: vllm}\ncluster: {name: local}\nscenario: 5",
            "scenario: not a",
        ),
        (
            "engine: {name: vllm, in_process: 7}\n" + REST,
            "engine.in_process: '7' is not true or false",
        ),
        ("engine: {name: vllm, typo: x}\n" + REST, r"engine\.typo"),
        ("5", "config.yaml"),
    ],
)
def test_damaged_resolved_config_is_refused(
    text: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        load_config([], path)


def test_missing_resolved_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        load_config([], tmp_path / "none.yaml")


def test_help_explains_every_option() -> None:
    text = help_text()
    for key in (
        "mode=performance|accuracy|compliance",
        "scenario.target_qps=FLOAT",
        "cluster.replicas=INT",
        "engine.options={KEY: VALUE, ...}",
        "run.kind=smoke|full",
        "cluster.join_timeout_s=FLOAT",
        "experiment=",
    ):
        assert key in text


def test_the_cache_needs_a_home_or_a_name_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def nobody(_id: int) -> None:
        raise KeyError

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", nobody)
    monkeypatch.setenv("XDG_CACHE_HOME", "/c")
    assert cache_folder() == Path("/c/mlperf-loadgen-sut")
    monkeypatch.delenv("XDG_CACHE_HOME")
    with pytest.raises(UserError, match="set HOME or XDG_CACHE_HOME"):
        cache_folder()
    with pytest.raises(UserError, match="set HOME, or write the whole path"):
        load_config(["run.dir=~/runs"])


def test_versions_are_one_line() -> None:
    text = version_text()
    assert "mlperf-loadgen-sut " in text
    assert "mlcommons_loadgen 6.0.17" in text
    assert "\n" not in text


A, B = "http://a:8000", "https://b.example/route"


@pytest.mark.parametrize(
    "text",
    [f"[{A},{B}]", f"{A},{B}", f"[{A}/v1, {B}/]", f"['{A}',\"{B}/v1\"]"],
)
def test_each_server_is_a_replica_without_gpus(text: str) -> None:
    config = load_config(["engine=endpoint", f"engine.urls={text}"])
    assert isinstance(config.engine, EndpointConfig)
    assert config.engine.urls == [A, B]
    assert (config.cluster.replicas, config.cluster.gpus_per_replica) == (2, 0)


def test_fewer_replicas_than_servers_take_the_first(tmp_path: Path) -> None:
    given = ["engine=endpoint", f"engine.urls=[{A},{B}]", "cluster.replicas=1"]
    config = load_config(given)
    assert config.cluster.replicas == 1
    path = tmp_path / "config.yaml"
    path.write_text(to_yaml(config))
    assert load_config([], path) == config


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ([], "engine.urls: no server is given"),
        (["engine.urls=[]"], "engine.urls: no server is given"),
        (["engine.urls=localhost:8000"], "write http://HOST:PORT"),
        (["engine.urls=http://a:x"], "engine.urls: http://a:x: "),
        (["engine.urls=http://me:secret@a"], "a user or a password"),
        (["engine.urls=me:secret@a:8000"], "a user or a password"),
        (["engine.urls=ftp://me:secret@a:b"], "a user or a password"),
        (["engine.urls=http://a/?key=1"], "remove what follows the path"),
        ([f"engine.urls=[{A},{A}/v1]"], "is given twice"),
        ([f"engine.urls={A}", "cluster.replicas=2"], "has 1 servers"),
        ([f"engine.urls={A}", "cluster.gpus_per_replica=1"], "its own GPUs"),
        ([f"engine.urls={A}", "model.dtype=half"], "the server decides it"),
        ([f"engine.urls={A}", "engine.api_key_header=a:b"], "not the name of a header"),
        (
            [f"engine.urls={A}", "engine.api_key_env=A", "engine.api_key_file=b"],
            "give either",
        ),
        (
            [
                f"engine.urls={A}",
                "cluster=external",
                "cluster.nodes=1",
                "cluster.key=k",
            ],
            "leave out cluster=external",
        ),
    ],
)
def test_servers_that_cannot_be(options: list[str], problem: str) -> None:
    with pytest.raises(UserError) as caught:
        load_config(["engine=endpoint", *options])
    assert problem in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_list_in_a_record_must_be_one(tmp_path: Path) -> None:
    config = load_config(["engine=endpoint", f"engine.urls={A}"])
    path = tmp_path / "config.yaml"
    path.write_text(to_yaml(config).replace(f"  urls:\n  - {A}", f"  urls: {A}"))
    with pytest.raises(UserError, match="is not a list"):
        load_config([], path)


@pytest.mark.integration
@pytest.mark.parametrize("text", ["[" * 1000, "{a:" * 1000, "9" * 5000])
def test_a_value_that_no_parser_takes_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="cannot be read as a value") as refused:
        load_config([f"engine.options.max_num_seqs={text}"])
    assert len(str(refused.value)) < 600
