"""A real calibration, where its environment is set up."""

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from calibration.source import read_headers
from tests.calibration.made_up import write_bf16_tiny_llama, write_calibration

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv-calibration" / "bin" / "python"

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        not PYTHON.exists(), reason="no .venv-calibration; `make calibration-env`"
    ),
]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bf16_tiny_llama(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module")
def command(checkpoint: Path) -> list[str]:
    encoder = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
    file = write_calibration(checkpoint.parent / "list.json", encoder, 4)
    return [str(PYTHON), "-m", "calibration", str(checkpoint), str(file)]


@pytest.fixture(scope="module")
def made(checkpoint: Path, command: list[str]) -> Path:
    (checkpoint / "LICENSE").write_text("as you like")
    out = checkpoint.parent / "fp8"
    done = subprocess.run(
        [*command, str(out), "--samples", "3"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert f"{out}: fp8, static scales from 3 samples" in done.stdout
    # Progress, and nothing of what the libraries would say, one bar aside.
    lines = done.stderr.splitlines()
    assert [x for x in lines if x and "Applying quantization config" not in x] == [
        "loading the model",
        "writing the checkpoint",
        "taking the source's digests",
    ]
    return out


def test_the_checkpoint_and_what_belongs_to_it(made: Path, checkpoint: Path) -> None:
    for name in ("tokenizer.json", "LICENSE"):
        assert (made / name).read_bytes() == (checkpoint / name).read_bytes()
    record = json.loads((made / "calibration.json").read_text())
    assert record["calibration_set"]["samples"] == 3
    assert record["calibration_set"]["rows"] == 4
    assert "LICENSE" in record["source_sha256"]
    assert set(record["versions"]) >= {"llmcompressor", "torch", "python"}
    texts = [p.read_text() for p in made.iterdir() if p.suffix in (".json", ".yaml")]
    assert not any(str(checkpoint.parent) in text for text in texts)


# vLLM's and torch's own.
@pytest.mark.filterwarnings("ignore")
def test_vllm_takes_its_scheme_as_static(made: Path) -> None:
    from vllm.model_executor.layers.quantization.compressed_tensors import (
        compressed_tensors as ct,
    )

    config = json.loads((made / "config.json").read_text())["quantization_config"]
    read = ct.CompressedTensorsConfig.from_config(config)
    scheme = read.target_scheme_map["Linear"]
    weights, inputs = scheme["weights"], scheme["input_activations"]
    assert read._is_fp8_w8a8(weights, inputs)
    assert read._is_static_tensor_w8a8(weights, inputs)
    assert weights.strategy == "tensor"
    ct.CompressedTensorsKVCacheMethod.validate_kv_cache_scheme(read.kv_cache_scheme)


def test_the_output_layer_stays(made: Path) -> None:
    tensors = read_headers([made / "model.safetensors"])
    assert tensors["lm_head.weight"].dtype == "BF16"
    assert "lm_head.weight_scale" not in tensors


def test_interrupted_it_leaves_nothing(tmp_path: Path, command: list[str]) -> None:
    process = subprocess.Popen(
        [*command, str(tmp_path / "out")],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob(".*.draft")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, message = process.communicate(timeout=60)
    assert process.returncode == 3
    assert message.splitlines()[-1] == "aborted: interrupted; nothing was written"
    assert list(tmp_path.iterdir()) == []
