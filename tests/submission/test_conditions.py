import pytest

from conf.load import load_config
from conf.schema import Config
from submission.conditions import conditions, differences, digest

BASE = ("engine=synthetic", "dataset=synthetic", "run=full")


@pytest.fixture(scope="module")
def base() -> Config:
    return load_config(BASE)


@pytest.mark.parametrize(
    "option", ["mode=accuracy", "run.dir=elsewhere", "run.live=plain"]
)
def test_what_a_run_is_for_and_where_it_goes_is_free(base: Config, option: str) -> None:
    assert digest(load_config([*BASE, option])) == digest(base)


@pytest.mark.parametrize(
    "option",
    [
        "engine.max_num_seqs=8",
        "cluster.replicas=3",
        "scenario.target_qps=7",
        "run.user_conf=other.conf",
        "model.max_model_len=3000",
    ],
)
def test_everything_else_is_reported_by_its_name(base: Config, option: str) -> None:
    other = load_config([*BASE, option])
    assert digest(base) != digest(other)
    found = differences(conditions(base), conditions(other))
    assert found == [option.partition("=")[0]]
