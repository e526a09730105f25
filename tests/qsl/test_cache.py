import hashlib
import json
import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from base.errors import UserError
from conf.schema import DatasetConfig
from qsl import dataset
from qsl.cnn_eval import Row, read_rows
from qsl.dataset import Dataset, load_dataset

ROWS = 2_000


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which data sets are kept."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "mlperf-loadgen-sut" / "datasets"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "data.json"
    _write(path, seed=1)
    assert path.stat().st_size > 1 << 20
    return path


def _write(path: Path, seed: int) -> None:
    path.write_text(_text(seed))


@cache
def _text(seed: int) -> str:
    prompts = np.random.default_rng(seed).integers(50_000, size=(ROWS, 100)).tolist()
    rows = [
        {"tok_input": prompt, "output": f"summary {i} é"}
        for i, prompt in enumerate(prompts)
    ]
    return json.dumps(rows)


def _load(path: Path, count: int | None = None) -> Dataset:
    return load_dataset(DatasetConfig(name="sample", path=str(path), count=count))


def _refuse(_: Path) -> None:
    raise AssertionError("decoded again")


@pytest.mark.integration
def test_the_second_time_nothing_is_decoded(
    kept: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = _load(source)
    monkeypatch.setattr(dataset, "read_rows", _refuse)
    second = _load(source)
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    assert first.sha256 == second.sha256 == digest
    rows = json.loads(source.read_text())
    for found in (first, second):
        assert found.references == [row["output"] for row in rows]
        assert found.tokens.dtype == np.int32
        assert found.tokens.tolist() == [t for row in rows for t in row["tok_input"]]
        assert found.offsets.tolist() == list(range(0, 100 * ROWS + 1, 100))
    few = _load(source, count=3)
    assert len(few) == len(few.references) == 3
    assert few.prompt(2).tolist() == rows[2]["tok_input"]
    assert len(few.tokens) == 300


@pytest.mark.integration
def test_a_changed_file_is_decoded_again(kept: Path, source: Path) -> None:
    before, state = _load(source), source.stat()
    _write(source, seed=2)
    os.utime(source, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert _load(source).tokens.tolist() != before.tokens.tolist()
    assert len(list(kept.iterdir())) == 1, "what is out of date is not kept"


@pytest.mark.integration
def test_a_file_that_changes_while_it_is_read_is_not_kept_as_the_new_one(
    kept: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meanwhile(path: Path) -> tuple[list[Row], str]:
        found = read_rows(path)
        _write(path, seed=3)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(dataset, "read_rows", meanwhile)
        before = _load(source)
    assert _load(source).tokens.tolist() != before.tokens.tolist()


@pytest.mark.parametrize("place", [0, 100, 200_000, -20])
def test_a_damaged_copy_is_made_again(kept: Path, source: Path, place: int) -> None:
    wanted = _load(source).tokens.tolist()
    [copy] = kept.iterdir()
    text = bytearray(copy.read_bytes())
    text[place] ^= 0xFF
    copy.write_bytes(text)
    assert _load(source).tokens.tolist() == wanted
    copy.write_bytes(text[: len(text) // 2])
    assert _load(source).tokens.tolist() == wanted
    copy.write_bytes(b"")
    assert _load(source).tokens.tolist() == wanted


def test_a_cache_that_cannot_be_written_costs_nothing(kept: Path, source: Path) -> None:
    kept.parent.mkdir(parents=True)
    kept.write_text("in the way")
    assert len(_load(source)) == ROWS


def test_small_files_are_not_kept(kept: Path) -> None:
    load_dataset(DatasetConfig(name="sample"))
    assert not kept.exists()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[: len(text) // 2], r"row 1000 or the next: not in cnn_ev"),
        (lambda text: text.replace('"summary 700 ', '"summ"ary '), "row 700 or the ne"),
        (lambda text: text.replace('"summary 700 \\u00e9"', "7"), "row 700: not in"),
        (lambda text: "", r"data\.json: not in cnn_eval\.json form"),
    ],
)
def test_damage_is_reported_with_its_row(
    tmp_path: Path, source: Path, damage: object, message: str
) -> None:
    assert callable(damage)
    source.write_text(damage(source.read_text()))
    with pytest.raises(UserError, match=message):
        read_rows(source)
