"""Logs that are damaged, incomplete, or of another run."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from accuracy.answers import decode
from accuracy.score import score_run
from base.errors import UserError
from record.folder import RecordError, RunFolder
from record.loadgen_log import Answer
from tests.accuracy.made_up import ids, scorable_run, write_tokenizer

TEXTS = [f"the cat sat on mat {i}" for i in range(8)]


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    answers = [(i, ids("the cat") * (i + 1), None) for i in range(8)]
    return scorable_run(tmp_path, answers, TEXTS)


def _change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_samples_without_an_answer_are_reported(folder: RunFolder) -> None:
    lines = folder.accuracy_log.read_text().splitlines(keepends=True)
    folder.accuracy_log.write_text("".join(lines[:2] + lines[3:5] + lines[-2:]))
    result = score_run(folder)
    assert result.gen_num == 4
    assert not result.good
    assert "4 of 8 samples have no answer (index 1, 4, 5, 6)" in result.problems[0]


def test_a_log_cut_between_records_is_reported(folder: RunFolder) -> None:
    lines = folder.accuracy_log.read_text().splitlines(keepends=True)
    folder.accuracy_log.write_text("".join(lines[:6]))
    result = score_run(folder)
    assert result.gen_num == 5
    assert [p.partition(": ")[2][:18] for p in result.problems] == [
        "no closing bracket",
        "3 of 8 samples hav",
    ]


def test_a_log_cut_inside_a_record_is_refused(folder: RunFolder) -> None:
    text = folder.accuracy_log.read_text()
    folder.accuracy_log.write_text(text[: len(text) // 2])
    with pytest.raises(RecordError, match=r"accuracy\.json:6: not a record"):
        score_run(folder)


def _other_prompts(folder: RunFolder) -> None:
    rows = [{"tok_input": [1] * (9 - i), "output": t} for i, t in enumerate(TEXTS)]
    (folder.path.parent / "data.json").write_text(json.dumps(rows))


def _fewer_rows(folder: RunFolder) -> None:
    rows = [{"tok_input": [1] * (i + 1), "output": "x"} for i in range(3)]
    (folder.path.parent / "data.json").write_text(json.dumps(rows))


def _empty_log(folder: RunFolder) -> None:
    folder.accuracy_log.write_text("[\n]\n")


def _no_samples(folder: RunFolder) -> None:
    folder.samples.unlink()


def _fewer_samples(folder: RunFolder) -> None:
    lines = folder.samples.read_text().splitlines(keepends=True)
    folder.samples.write_text("".join(lines[:3]))


def _other_run(folder: RunFolder) -> None:
    _change(folder.samples, '"output_tokens":6', '"output_tokens":7')


def _id_above(folder: RunFolder) -> None:
    _change(folder.accuracy_log, '"data" : "010000000A', '"data" : "01000000FF')


def _id_below(folder: RunFolder) -> None:
    _change(folder.accuracy_log, '"data" : "01000000', '"data" : "FFFFFFFF')


def _half_a_token(folder: RunFolder) -> None:
    _change(folder.accuracy_log, '"data" : "0100', '"data" : "01')


def _token_less(folder: RunFolder) -> None:
    _change(folder.accuracy_log, '"data" : "01000000', '"data" : "')


def _noise(folder: RunFolder) -> None:
    folder.accuracy_log.write_bytes(bytes(range(256)) * 9)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_empty_log, "contains no answers"),
        (_fewer_rows, r"sample 3 \(index 3\): sample has only 3 rows"),
        (_other_prompts, "the prompt had 1 tokens, but in sample it has 9; the log"),
        (_no_samples, r"samples\.jsonl: No such file"),
        (
            _fewer_samples,
            r"sample 3 \(index 3\): the log has its answer, this",
        ),
        (
            _other_run,
            r"sample 2 \(index 2\): 6 tokens, but .* 7 tokens; the log",
        ),
        (_id_above, "index 0: token 1 has the id 255, "),
        (_id_below, "index 0: token 0 has the id -1, "),
        (_half_a_token, r"accuracy\.json:2: damaged tokens"),
        (
            _token_less,
            r"sample 0 \(index 0\): the token count is 2, but the",
        ),
        (_noise, r"accuracy\.json:\d+: not a record"),
    ],
)
def test_damage_is_refused_with_its_place(
    folder: RunFolder, damage: Callable[[RunFolder], None], message: str
) -> None:
    damage(folder)
    with pytest.raises(RecordError, match=message):
        score_run(folder)


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
