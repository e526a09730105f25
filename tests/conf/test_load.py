import itertools
from pathlib import Path

import pytest

from base.errors import UserError
from conf.help import help_text
from conf.load import GROUPS, choices, load_config, to_yaml
from conf.schema import (
    BalancerName,
    ExternalConfig,
    Mode,
    SyntheticConfig,
    VllmConfig,
)

PLAIN_GROUPS = [group for group in GROUPS if group not in ("cluster", "experiment")]
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
    with pytest.raises(UserError, match=r"cluster\.nodes: no such option"):
        load_config(["cluster.nodes=2"])
    with pytest.raises(UserError, match=r"cluster\.key: no value is given"):
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
    ("override", "told"),
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
        ("cluster.replicas=two", "cluster.replicas: Value 'two'"),
        ("scenario.target_qps=-1", "must be at least 0.0001"),
        ("scenario.target_qps=1e300", "must be at most"),
        ("run.min_queries=1000000000000000000000", "must be at most"),
        ("--replicas=2", "written KEY=VALUE"),
        ("+=", "written KEY=VALUE"),
        ("engine.options.x=", "engine.options.x is empty"),
        ("scenario.target_qps=nan", "not a finite number"),
        ("scenario.target_qps=inf", "not a finite number"),
        ("run.latency_percentile=1", "must be at most 0.999"),
        ("run.trace=maybe", "run.trace: Value 'maybe' is not a valid bool"),
        ("model.max_model_len=3.5", "could not be converted to Integer"),
        ("nonsense", "written KEY=VALUE"),
        ("~cluster", "written KEY=VALUE"),
        ("hydra.job.name=x", "not used here"),
        ("scenario.name=server", "choose it with scenario="),
        ("a=b=c", "mismatched input"),
    ],
)
def test_mistakes_are_told_in_one_line(override: str, told: str) -> None:
    with pytest.raises(UserError) as caught:
        load_config([override])
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


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
    ("text", "told"),
    [
        ("a: [", "not YAML"),
        ("", "not the config.yaml of a run"),
        ("mode: performance", "not the config.yaml of a run"),
        ("engine: {name: vllm}\ncluster: {name: local}\nfoo: 1", "foo"),
        ("engine: {name: vllm}\ncluster: {name: local}", "no value is given"),
        ("engine: {name: vllm}", r"no cluster\.name"),
        ("- a", "not the config.yaml of a run"),
        ("5", "config.yaml"),
    ],
)
def test_damaged_resolved_config_is_refused(
    text: str, told: str, tmp_path: Path
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=told):
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
