import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from qsl.prepare import main
from qsl.template import prompt


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    words = {"[UNK]": 0, "Summary": 1, "hello": 2, "world": 3}
    made = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


def test_rows_have_the_official_form(tmp_path: Path, tokenizer: Path) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.json"
    source.write_text(
        '{"article": "hello world", "highlights": "A.\\nB."}\n'
        '{"article": "world", "highlights": ["A.", "B."]}\n'
    )
    assert main([str(source), str(tokenizer), str(target)]) == 0
    rows = json.loads(target.read_text())
    made = Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
    assert rows[0]["tok_input"] == made.encode(prompt("hello world")).ids
    assert [row["output"] for row in rows] == ["A.\nB.", "A.\nB."]


@pytest.mark.parametrize(
    ("content", "told"), [('{"article": 3}\n', "in.jsonl:1"), (None, "No such file")]
)
def test_bad_input_is_told(
    tmp_path: Path,
    tokenizer: Path,
    capsys: pytest.CaptureFixture[str],
    content: str | None,
    told: str,
) -> None:
    source = tmp_path / "in.jsonl"
    if content is not None:
        source.write_text(content)
    assert main([str(source), str(tokenizer), str(tmp_path / "out.json")]) == 2
    assert told in capsys.readouterr().err


def test_missing_tokenizer_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "a"), str(tmp_path / "none"), str(tmp_path / "b")]) == 2
    assert "tokenizer.json" in capsys.readouterr().err
