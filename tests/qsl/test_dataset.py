import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from base.errors import UserError
from conf.schema import DatasetConfig
from qsl import dataset as dataset_module
from qsl.dataset import EMBEDDED, check_prompts, load_dataset

VOCABULARY, LIMIT = 49_152, 2540


def _load(path: Path, vocab_size: int = VOCABULARY, limit: int = LIMIT) -> int:
    config = DatasetConfig(name="cnn_dailymail", path=str(path))
    dataset = load_dataset(config)
    check_prompts(dataset, config, vocab_size, limit)
    return len(dataset)


def test_embedded_sample_is_what_it_says() -> None:
    rows = json.loads(EMBEDDED.read_text())
    assert len(rows) >= 64
    words = [len(row["input"].split()) for row in rows]
    assert min(words) >= 150
    assert max(words) <= 900
    assert all(2 <= len(row["output"].split("\n")) <= 4 for row in rows)
    assert len({row["input"] for row in rows}) == len(rows)
    assert set(rows[0]) == {"instruction", "input", "tok_input", "output"}


def test_prompts_and_references_by_index() -> None:
    dataset = load_dataset(DatasetConfig(name="sample"))
    rows = json.loads(EMBEDDED.read_text())
    for index in (0, 31, len(rows) - 1):
        assert dataset.prompt(index).tolist() == rows[index]["tok_input"]
        assert dataset.references[index] == rows[index]["output"]
    assert dataset.lengths.tolist() == [len(row["tok_input"]) for row in rows]
    assert dataset.tokens.dtype == np.int32


def test_count_takes_the_first_samples() -> None:
    config = DatasetConfig(name="sample", count=5)
    assert len(load_dataset(config)) == 5


def test_more_samples_than_there_are_is_refused() -> None:
    config = DatasetConfig(name="sample", count=65)
    with pytest.raises(UserError, match=r"count=65: dataset=sample has 64 samples"):
        load_dataset(config)


def test_more_made_up_data_than_memory_holds_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dataset_module, "available_bytes", lambda: 10**9)
    for config in (
        DatasetConfig(name="synthetic", count=1_000_000),
        DatasetConfig(name="synthetic", count=10_000, prompt_tokens=100_000),
    ):
        with pytest.raises(UserError, match=r"need .* GiB of memory, but 0\.9 GiB"):
            load_dataset(config)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("in.jsonl", r"`mlperf-sut prepare .*in\.jsonl MODEL_FOLDER OUT\.json`"),
        ("in.json", r"`mlperf-sut prepare "),
        ("folder", "is a folder; name a file in it"),
        ("pointer.json", "a Git LFS pointer"),
        ("deep.json", "nested too deeply"),
    ],
)
def test_what_is_no_data_set_is_reported_with_the_remedy(
    tmp_path: Path, name: str, message: str
) -> None:
    path = tmp_path / name
    if name == "folder":
        path.mkdir()
    elif name == "pointer.json":
        path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:ab\n")
    elif name == "deep.json":
        path.write_text('[{"x":' + "[" * 9999)
    else:
        path.write_text('{"article": "a", "highlights": "b"}\n')
    with pytest.raises(UserError, match=message):
        _load(path)


def test_gzip_is_read(tmp_path: Path) -> None:
    path = tmp_path / "data.json.gz"
    path.write_bytes(gzip.compress(EMBEDDED.read_bytes()))
    assert _load(path) == 64


@pytest.mark.integration
def test_made_up_prompts_have_real_lengths() -> None:
    config = DatasetConfig(name="synthetic", count=13_368)
    dataset = load_dataset(config)
    assert len(dataset) == 13_368
    assert 740 < np.median(dataset.lengths) < 790
    assert 800 < dataset.lengths.mean() < 860
    again = load_dataset(config)
    assert np.array_equal(again.tokens, dataset.tokens)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"tok_input": [1, "x"], "output": ""}]', r"\$\[0\]\.tok_input\[1\]"),
        ('[{"output": ""}]', "tok_input"),
        ("{}", "not in cnn_eval.json format"),
        ('[{"tok_input": [1, 2', "not in cnn_eval.json format"),
        ("[]", "contains no samples"),
        ('[{"tok_input": [], "output": ""}]', "row 0: tok_input is empty"),
        (
            '[{"tok_input": [1], "output": ""}, {"tok_input": [50000], "output": ""}]',
            "row 1: token id 50000 is outside the model's vocabulary of 49152",
        ),
        ('[{"tok_input": [-1], "output": ""}]', "row 0: token id -1"),
        ('[{"tok_input": [9999999999], "output": ""}]', "does not fit 32 bits"),
        (
            json.dumps([{"tok_input": [1] * 2541, "output": ""}]),
            "row 0: the prompt has 2541 tokens",
        ),
    ],
)
def test_bad_files_are_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "data.json"
    path.write_text(content)
    with pytest.raises(UserError, match=message):
        _load(path)


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.json"
    path.write_bytes(b'[{"tok_input": [5], "output": "\xe9"}]')
    with pytest.raises(UserError, match=r"not in cnn_eval\.json form"):
        _load(path)


def test_damaged_gzip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.json.gz"
    path.write_bytes(gzip.compress(EMBEDDED.read_bytes())[:1000])
    with pytest.raises(UserError, match="damaged gzip"):
        _load(path)


def test_what_is_no_gzip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.json.gz"
    path.write_bytes(b"[]")
    with pytest.raises(UserError, match="damaged gzip"):
        _load(path)
    with pytest.raises(UserError, match="reads no file"):
        load_dataset(DatasetConfig(name="synthetic", path=str(path)))


def test_missing_data_tells_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"mlperf-sut prepare"):
        load_dataset(DatasetConfig(name="cnn_dailymail"))
    with pytest.raises(UserError, match="No such file"):
        _load(tmp_path / "none.json")
