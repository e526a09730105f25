import json
from pathlib import Path

import pytest

from base.errors import UserError
from conf.load import load_config
from conf.schema import ModelConfig
from sut.model import find_model


def _config(*overrides: str) -> ModelConfig:
    return load_config(list(overrides)).model


def _checkpoint(path: Path, **config: object) -> Path:
    values = {"vocab_size": 100, "max_position_embeddings": 4096, "eos_token_id": 2}
    (path / "config.json").write_text(json.dumps(values | config))
    (path / "model.safetensors").touch()
    return path


def test_a_checkpoint_folder(tmp_path: Path) -> None:
    path = _checkpoint(tmp_path)
    model = find_model(_config("model=llama3_1-8b", f"model.path={path}"), print)
    assert (model.vocab_size, model.stop_token_ids) == (100, [2])
    assert model.tokenizer is None


def test_generation_config_names_the_stop_ids(tmp_path: Path) -> None:
    path = _checkpoint(tmp_path)
    (path / "generation_config.json").write_text('{"eos_token_id": [7, 8]}')
    model = find_model(_config("model=llama3_1-8b", f"model.path={path}"), print)
    assert model.stop_token_ids == [7, 8]


def test_dummy_weights_need_no_checkpoint() -> None:
    model = find_model(_config("model=llama3_1-8b_dummy"), print)
    assert model.vocab_size == 128_256
    assert model.stop_token_ids == [128_001, 128_008, 128_009]


def test_missing_things_are_told(tmp_path: Path) -> None:
    base = ["model=llama3_1-8b"]
    with pytest.raises(UserError, match=r"needs model\.path=FOLDER"):
        find_model(_config(*base), print)
    with pytest.raises(UserError, match="no such folder"):
        find_model(_config(*base, "model.path=/none"), print)
    with pytest.raises(UserError, match="is this a model folder"):
        find_model(_config(*base, f"model.path={tmp_path}"), print)
    _checkpoint(tmp_path)
    long = [*base, f"model.path={tmp_path}", "model.max_model_len=9999"]
    with pytest.raises(UserError, match="can hold 4096 tokens"):
        find_model(_config(*long), print)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"no \*\.safetensors"):
        find_model(_config(*base, f"model.path={tmp_path}"), print)


@pytest.mark.parametrize(
    ("content", "told"),
    [("{", "config.json"), ('{"vocab_size": "x"}', "vocab_size")],
)
def test_damaged_config_is_told(tmp_path: Path, content: str, told: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(UserError, match=told):
        find_model(_config("model=llama3_1-8b", f"model.path={tmp_path}"), print)
