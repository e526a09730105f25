"""Secrets stay out of the recorded configuration, which says that they are missing."""

import pytest

from base.errors import UserError
from conf.engines import VllmConfig
from conf.load import load_config, to_yaml
from conf.schema import Config
from conf.secrets import MASK, is_secret, masked_arguments, require_secrets
from submission.runs import conditions

OPTIONS = [
    *("engine=vllm", "engine.env.HF_TOKEN=hf_abc", "engine.env.OMP_NUM_THREADS=4"),
    *("engine.options.max_num_batched_tokens=8192", "engine.options.api_key=s3kr1t"),
]


@pytest.fixture(scope="module")
def config() -> Config:
    return load_config(OPTIONS)


@pytest.mark.parametrize(
    "name",
    ["HF_TOKEN", "api_key", "OPENAI_API_KEY", "DB_PASSWORD", "aws-secret", "Secret"],
)
def test_names_of_secrets(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize(
    "name", ["max_num_batched_tokens", "MONKEY", "TOKENIZERS_PARALLELISM", "keyboard"]
)
def test_other_names(name: str) -> None:
    assert not is_secret(name)


def test_secrets_are_masked_in_the_record_alone(config: Config) -> None:
    text = to_yaml(config)
    assert "hf_abc" not in text
    assert "s3kr1t" not in text
    assert text.count(MASK) == 2
    assert "max_num_batched_tokens: 8192" in text
    assert isinstance(config.engine, VllmConfig)
    assert config.engine.env == {"HF_TOKEN": "hf_abc", "OMP_NUM_THREADS": "4"}
    require_secrets(config)


def test_a_repeated_run_names_what_must_be_given_again(
    config: Config, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("run") / "config.yaml"
    path.write_text(to_yaml(config))
    with pytest.raises(UserError) as error:
        require_secrets(load_config([], path))
    assert "engine.env.HF_TOKEN, engine.options.api_key: secrets" in str(error.value)
    again = load_config(
        ["engine.env.HF_TOKEN=hf_abc", "engine.options.api_key=s3kr1t"], path
    )
    require_secrets(again)
    # A run is found again by its record, whatever its secrets are.
    assert conditions(again) == conditions(load_config([], path))


def test_secrets_are_masked_in_a_recorded_command() -> None:
    others = ["engine.env.OMP_NUM_THREADS=4", "engine.api_key_env=MY_KEY", "runs=3"]
    whole = "engine.env={HF_TOKEN: hf_abc}"
    found = masked_arguments([*OPTIONS, "+engine.env.A_KEY=a=b", whole, *others])
    assert not any(secret in " ".join(found) for secret in ("hf_abc", "s3kr1t", "a=b"))
    assert f"engine.env.HF_TOKEN={MASK}" in found
    assert "engine.options.max_num_batched_tokens=8192" in found
    assert found[-3:] == others
