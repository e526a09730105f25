import hashlib
import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from base.errors import UserError
from calibration.prompts import load_prompts
from calibration.source import Source, load_source
from qsl.tokenizer import load_encoder
from tests.calibration.made_up import write_calibration, write_checkpoint


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return load_source(write_checkpoint(tmp_path / "model"))


@pytest.fixture
def encoder(source: Source) -> Tokenizer:
    return load_encoder(source.path)


@pytest.fixture
def file(tmp_path: Path, encoder: Tokenizer) -> Path:
    return write_calibration(tmp_path / "calibration.json", encoder, 5)


def test_the_first_samples(file: Path, source: Source, encoder: Tokenizer) -> None:
    rows = json.loads(file.read_text())
    found = load_prompts(file, source, encoder, None)
    assert found.tokens == [row["tok_input"] for row in rows]
    assert found.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    some = load_prompts(file, source, encoder, 2)
    assert (some.tokens, some.rows) == (found.tokens[:2], 5)


@pytest.mark.parametrize("samples", [0, -1, 6])
def test_numbers_that_cannot_be(
    file: Path, source: Source, encoder: Tokenizer, samples: int
) -> None:
    with pytest.raises(UserError, match=f"--samples {samples}: .* holds 5"):
        load_prompts(file, source, encoder, samples)


def test_other_files_are_refused(
    file: Path, source: Source, encoder: Tokenizer
) -> None:
    rows = json.loads(file.read_text())
    with pytest.raises(UserError, match=r"make it with `mlperf-sut prepare`"):
        load_prompts(file.with_name("none.json"), source, encoder, None)
    file.write_text("[]")
    with pytest.raises(UserError, match="contains no samples"):
        load_prompts(file, source, encoder, None)
    del rows[0]["tok_input"]
    file.write_text(json.dumps(rows))
    with pytest.raises(UserError, match=r"row 0: .*tok_input"):
        load_prompts(file, source, encoder, None)


def test_another_vocabulary_is_refused(
    file: Path, source: Source, encoder: Tokenizer
) -> None:
    rows = json.loads(file.read_text())
    rows[3]["tok_input"][0] += 1
    file.write_text(json.dumps(rows))
    with pytest.raises(UserError, match="row 3: tok_input is not what the tokenizer"):
        load_prompts(file, source, encoder, None)
    # What is not used does no harm.
    assert len(load_prompts(file, source, encoder, 3).tokens) == 3


def test_prompts_fit_the_model(
    tmp_path: Path, file: Path, source: Source, encoder: Tokenizer
) -> None:
    longest = max(len(row["tok_input"]) for row in json.loads(file.read_text()))
    for name, value, message in (
        ("max_position_embeddings", longest - 1, f"row 4: {longest} tokens"),
        ("vocab_size", 7, "row 0: token 7, but the model in .* has 7"),
    ):
        other = load_source(write_checkpoint(tmp_path / name, "BF16", **{name: value}))
        with pytest.raises(UserError, match=message):
            load_prompts(file, other, encoder, None)
