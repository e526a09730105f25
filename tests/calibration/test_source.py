from pathlib import Path

import pytest

from base.errors import UserError
from calibration.source import check_room, load_source
from tests.calibration.made_up import LAYERS, VOCABULARY, WIDTH, write_checkpoint


def test_a_bf16_checkpoint(tmp_path: Path) -> None:
    source = load_source(write_checkpoint(tmp_path))
    assert (source.vocab_size, source.layers) == (VOCABULARY, LAYERS)
    # Seven products of a byte an element; the rest keeps its two bytes.
    matrix = WIDTH * WIDTH
    assert source.result_bytes == LAYERS * 7 * matrix + 2 * 2 * matrix + 2 * WIDTH


def test_companions_are_all_but_weights_and_config(tmp_path: Path) -> None:
    write_checkpoint(tmp_path)
    for name in ("LICENSE", "pytorch_model.bin", ".cache", "generation_config.json"):
        (tmp_path / name).touch()
    (tmp_path / "model.safetensors.index.json").touch()
    (tmp_path / "original").mkdir()
    found = [path.name for path in load_source(tmp_path).companions]
    assert found == ["LICENSE", "generation_config.json", "tokenizer.json"]


def test_other_checkpoints_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        load_source(tmp_path / "none")
    with pytest.raises(UserError, match="is this a model folder"):
        load_source(tmp_path)
    write_checkpoint(tmp_path, dtype="F32")
    with pytest.raises(UserError, match=r"weight is F32; give a checkpoint in bf16"):
        load_source(tmp_path)
    write_checkpoint(tmp_path, quantization_config={"quant_method": "fp8"})
    with pytest.raises(UserError, match=r"already quantized \(fp8\)"):
        load_source(tmp_path)
    write_checkpoint(tmp_path, architectures=["GPT2LMHeadModel"])
    with pytest.raises(UserError, match="GPT2LMHeadModel, not LlamaForCausalLM"):
        load_source(tmp_path)
    write_checkpoint(tmp_path, num_hidden_layers=LAYERS + 1)
    with pytest.raises(UserError, match=r"7 weights are missing, first .*layers\.2"):
        load_source(tmp_path)


def test_damage_is_reported(tmp_path: Path) -> None:
    weights = write_checkpoint(tmp_path) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"model\.safetensors: no whole safetensors"):
        load_source(tmp_path)
    weights.unlink()
    with pytest.raises(UserError, match=r"no \*\.safetensors file"):
        load_source(tmp_path)
    (tmp_path / "config.json").write_text('{"vocab_size": ')
    with pytest.raises(UserError, match=r"config\.json: damaged"):
        load_source(tmp_path)


def test_room_is_asked_for(tmp_path: Path) -> None:
    source = load_source(write_checkpoint(tmp_path))
    check_room(source, 2**30, tmp_path)
    with pytest.raises(UserError, match="3 MiB free, the checkpoint needs 64"):
        check_room(source, 3 * 2**20, tmp_path)
