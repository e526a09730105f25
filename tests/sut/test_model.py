"""None"""

import json
from pathlib import Path
from typing import Any

import pytest

from base.errors import UserError
from conf.load import load_config
from conf.schema import ModelConfig
from sut.model import find_model, quantization_settings

EMPTY = (2).to_bytes(8, "little") + b"{}"
"""The smallest safetensors file."""
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 1\n"


def _config(*overrides: str) -> ModelConfig:
    return load_config(list(overrides)).model


def _checkpoint(path: Path, **config: object) -> Path:
    values = {"vocab_size": 100, "max_position_embeddings": 4096, "eos_token_id": 2}
    (path / "config.json").write_text(json.dumps(values | config))
    (path / "model.safetensors").write_bytes(EMPTY)
    return path


def test_a_checkpoint_folder(tmp_path: Path) -> None:
    path = _checkpoint(tmp_path)
    model = find_model(_config("model=custom", f"model.path={path}"), print)
    assert (model.vocab_size, model.stop_token_ids) == (100, [2])
    assert model.tokenizer is None


def test_generation_config_names_the_stop_ids(tmp_path: Path) -> None:
    path = _checkpoint(tmp_path)
    (path / "generation_config.json").write_text('{"eos_token_id": [7, 8]}')
    model = find_model(_config("model=custom", f"model.path={path}"), print)
    assert model.stop_token_ids == [7, 8]


def test_dummy_weights_need_no_checkpoint() -> None:
    model = find_model(_config("model=llama3_1-8b_dummy"), print)
    assert model.vocab_size == 128_256
    assert model.stop_token_ids == [128_001, 128_008, 128_009]


def test_an_empty_list_of_stop_ids_is_refused(tmp_path: Path) -> None:
    _checkpoint(tmp_path, eos_token_id=[])
    with pytest.raises(UserError, match=r"config\.json: no eos_token_id"):
        find_model(_config("model=custom", f"model.path={tmp_path}"), print)


def test_another_model_is_not_the_benchmarks(tmp_path: Path) -> None:
    _checkpoint(tmp_path, num_hidden_layers=2)
    with pytest.raises(UserError, match=r"num_hidden_layers 2, not 32.*model=custom"):
        find_model(_config("model=llama3_1-8b", f"model.path={tmp_path}"), print)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ({"quant_method": "fp8"}, "fp8"),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {"a": {"weights": {"type": "float", "num_bits": 8}}},
            },
            "compressed-tensors fp8",
        ),
        ({"quant_method": "compressed-tensors", "config_groups": 5}, "compressed"),
        (None, ""),
    ],
)
def test_quantized_weights_are_known(
    tmp_path: Path, method: object, message: str
) -> None:
    _checkpoint(tmp_path, quantization_config=method)
    model = find_model(_config("model=custom", f"model.path={tmp_path}"), print)
    assert model.quantization.startswith(message)
    assert bool(model.quantization) == bool(message)


def _safetensors(header: object, data: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


TENSOR = {"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("model.safetensors", LFS, "model.safetensors: a Git LFS pointer"),
        ("model.safetensors", b"", "model.safetensors: 0 bytes"),
        ("model.safetensors", b"\xff" * 40, "model.safetensors: 40 bytes"),
        ("model.safetensors", _safetensors(TENSOR), "cut off: 69 bytes.*asks for 77"),
        ("model.safetensors", _safetensors({"w": 5}), "damaged header"),
        ("model.safetensors", _safetensors([]), "damaged header"),
        ("tokenizer.json", LFS, "tokenizer.json: a Git LFS pointer"),
        ("tokenizer.json", b'{"a": ', "tokenizer.json: Input data was truncated"),
        ("config.json", LFS, "config.json: a Git LFS pointer"),
        ("generation_config.json", LFS, "generation_config.json: a Git LFS pointer"),
        (
            "model.safetensors.index.json",
            b'{"a":' + b"[" * 9999,
            "index.json: nested too deeply",
        ),
        (
            "model.safetensors.index.json",
            b'{"weight_map": {"a": "model-2.safetensors"}}',
            "model-2.safetensors: missing",
        ),
    ],
)
def test_damaged_files_of_a_checkpoint_are_named(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    _checkpoint(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        find_model(_config("model=custom", f"model.path={tmp_path}"), print)
    assert "\n" not in str(caught.value)


def test_a_whole_checkpoint_of_several_files_is_taken(tmp_path: Path) -> None:
    _checkpoint(tmp_path)
    (tmp_path / "part-1.safetensors").write_bytes(
        _safetensors(TENSOR | {"__metadata__": {"format": "pt"}}, bytes(8))
    )
    index = {"weight_map": {"w": "part-1.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    find_model(_config("model=custom", f"model.path={tmp_path}"), print)


def test_names_on_the_hub_are_not_read() -> None:
    with pytest.raises(UserError, match=r"hf download a/B-1\.1 --local-dir B-1\.1"):
        find_model(_config("model=custom", "model.path=a/B-1.1"), print)


def test_missing_things_are_reported(tmp_path: Path) -> None:
    base = ["model=custom"]
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
    ("content", "message"),
    [("{", "config.json"), ('{"vocab_size": "x"}', "vocab_size")],
)
def test_damaged_config_is_reported(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(UserError, match=message):
        find_model(_config("model=custom", f"model.path={tmp_path}"), print)


FP8 = {"num_bits": 8, "type": "float"}
STATIC = {"config_groups": {"group_0": {"weights": FP8}}, "kv_cache_scheme": FP8}


@pytest.mark.parametrize(
    ("method", "config", "asked", "expected"),
    [
        (
            "compressed-tensors",
            STATIC,
            "auto",
            {"quantization": "compressed-tensors fp8", "kv_cache_dtype": "fp8"},
        ),
        # An explicit choice wins in vLLM, too.
        (
            "compressed-tensors",
            STATIC,
            "bfloat16",
            {"quantization": "compressed-tensors fp8"},
        ),
        (
            "compressed-tensors",
            {"config_groups": {"a": {"weights": {"num_bits": 4, "type": "int"}}}},
            "auto",
            {"quantization": "compressed-tensors int4"},
        ),
        # Layers of several kinds have no one precision.
        (
            "compressed-tensors",
            {"config_groups": {"a": {"weights": FP8}, "b": {"weights": FP8}}},
            "auto",
            {"quantization": "compressed-tensors"},
        ),
        ("compressed-tensors", None, "auto", {"quantization": "compressed-tensors"}),
        ("fp8", {"activation_scheme": "static"}, "auto", {"quantization": "fp8"}),
    ],
)
def test_what_a_checkpoint_says(
    method: str, config: dict[str, Any] | None, asked: str, expected: dict[str, str]
) -> None:
    assert quantization_settings(method, config, asked) == expected
