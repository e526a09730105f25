from pathlib import Path

import pytest

from base.errors import UserError
from conf.engines import SyntheticConfig, VllmConfig
from conf.load import choices, load_config, to_yaml

FILE = """
# @package _global_
defaults:
  - override /engine: synthetic
  - override /scenario: server
  - _self_
engine:
  step_s: 0.5
  slowdown: {"1": 2.0}
run:
  min_queries: 7
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(FILE)
    return path


def test_it_stands_between_presets_and_the_command_line(file: Path) -> None:
    config = load_config([f"experiment_file={file}", "engine.step_s=0.25"])
    assert isinstance(config.engine, SyntheticConfig)
    assert config.engine.step_s == 0.25
    assert config.engine.slowdown == {"1": 2.0}
    assert config.engine.prefill_s_per_token == 8.0e-6, "the preset's"
    assert config.scenario.name.value == "server"
    assert config.run.min_queries == 7


def test_a_group_on_the_command_line_wins(file: Path) -> None:
    config = load_config([f"experiment_file={file}", "scenario=interactive"])
    assert config.scenario.name.value == "interactive"


@pytest.mark.parametrize("name", choices("experiment"))
def test_those_of_the_package_mean_the_same_as_files(name: str) -> None:
    path = Path(__file__).parents[2] / "conf" / "experiment" / f"{name}.yaml"
    one = load_config([f"experiment_file={path}"])
    other = load_config([f"experiment={name}"])
    assert to_yaml(one) == to_yaml(other)
    assert isinstance(one.engine, VllmConfig | SyntheticConfig)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- 1", "not a mapping of options"),
        ("a: [", "not YAML"),
        ("engine: {step: 1}", "engine.step: no such option"),
        ("defaults: [{engine: vllm}]", "must be 'override /GROUP: CHOICE'"),
        ("defaults: [{override /engine: nothing}]", "engine=nothing: no such engine"),
        ("defaults: [{override /motor: x}]", "override /motor: no such group"),
        ("engine: {cpu_kv_cache_gib: 0}", "engine.cpu_kv_cache_gib"),
    ],
)
def test_files_that_are_no_experiment(file: Path, text: str, message: str) -> None:
    file.write_text(text)
    with pytest.raises(UserError, match=message):
        load_config([f"experiment_file={file}"])


def test_one_experiment_at_a_time(file: Path) -> None:
    with pytest.raises(UserError, match="give either it or experiment="):
        load_config([f"experiment_file={file}", "experiment=harness"])
    with pytest.raises(UserError, match="give either it or --config"):
        load_config([f"experiment_file={file}"], resolved=file)
    with pytest.raises(UserError, match="/nowhere: No such file"):
        load_config(["experiment_file=/nowhere"])
