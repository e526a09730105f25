import json
from pathlib import Path

import numpy as np
import pytest

from accuracy.decode import decode
from base.errors import UserError
from record.loadgen_log import Answer
from tests.accuracy.made_up import ids, write_tokenizer


def _decode(tokenizer: Path, text: str) -> str:
    tokens = np.array(ids(text), np.int32)
    answer = Answer(seq=0, qsl_index=0, tokens=tokens, first=None, token_count=None)
    return decode([answer], tokenizer, Path("log"))[0]


def test_special_tokens_are_left_out(tmp_path: Path) -> None:
    assert _decode(write_tokenizer(tmp_path), "the cat </s>") == "the cat"


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"clean_up_tokenization_spaces": True}, "the cat sat."),
        ({"clean_up_tokenization_spaces": False}, "the cat sat ."),
        ({}, "the cat sat ."),
    ],
)
def test_spaces_go_where_the_tokenizer_says_so(
    tmp_path: Path, config: dict[str, bool], text: str
) -> None:
    tokenizer = write_tokenizer(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    assert _decode(tokenizer, "the cat sat .") == text


def test_damaged_tokenizers_are_reported(tmp_path: Path) -> None:
    tokenizer = write_tokenizer(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text("{")
    with pytest.raises(UserError, match=r"tokenizer_config\.json"):
        _decode(tokenizer, "the")
    tokenizer.write_text("{}")
    with pytest.raises(UserError, match=r"tokenizer\.json: .* --tokenizer"):
        _decode(tokenizer, "the")
