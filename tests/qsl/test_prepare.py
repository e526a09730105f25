import csv
import errno
import gzip
import hashlib
import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from qsl.articles import HUB
from qsl.cnn_eval import TEMPLATE, RowsFile, prompt
from qsl.prepare import main
from qsl.prompting import Prompting
from tests.qsl.made_up import articles

ROWS = 200


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    words = {"[UNK]": 0, "Summary": 1, "alpha": 2, "number": 3}
    made = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    # A checkpoint's tokenizer.json may ask for both; prompts are never cut.
    made.enable_truncation(5)
    made.enable_padding(length=50)
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    made.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in articles(ROWS)))
    return path


def _run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def test_rows_have_the_official_form(
    tmp_path: Path,
    tokenizer: Path,
    source: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    target = tmp_path / "out.json"
    assert _run(source, tokenizer, target) == 0
    rows = json.loads(target.read_text())
    made = Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
    made.no_truncation()
    made.no_padding()
    given = list(articles(ROWS))
    assert [row["input"] for row in rows] == [item["article"] for item in given]
    assert [row["output"] for row in rows] == [item["highlights"] for item in given]
    assert [row["instruction"] for row in rows] == [{"llama": TEMPLATE}] * ROWS
    for row in rows:
        assert row["tok_input"] == made.encode(prompt(row["input"])).ids
    out = capsys.readouterr().out
    assert f"{ROWS} samples" in out
    assert hashlib.sha256(target.read_bytes()).hexdigest() in out
    lengths = [len(row["tok_input"]) for row in rows]
    assert f"min {min(lengths)}, " in out
    assert f"max {max(lengths)}, total {sum(lengths)}" in out
    assert list(tmp_path.glob(".*")) == []


def _as_csv(path: Path) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["id", "article", "highlights"])
        writer.writeheader()
        writer.writerows(articles(ROWS))


def _as_parquet(path: Path) -> None:
    pyarrow.parquet.write_table(pa.Table.from_pylist(list(articles(ROWS))), path)


def test_every_source_gives_the_same_file(
    tmp_path: Path, tokenizer: Path, source: Path
) -> None:
    _as_csv(tmp_path / "rows.csv")
    _as_parquet(tmp_path / "rows.parquet")
    assert _run(source, tokenizer, tmp_path / "0.json") == 0
    wanted = (tmp_path / "0.json").read_bytes()
    (tmp_path / "again.json.gz").write_bytes(gzip.compress(wanted))
    for name in ("rows.csv", "rows.parquet", "0.json", "again.json.gz"):
        target = tmp_path / "other.json"
        assert _run(tmp_path / name, tokenizer, target) == 0
        assert target.read_bytes() == wanted


def test_a_second_call_at_the_same_time_is_refused(
    tmp_path: Path,
    tokenizer: Path,
    source: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    target = tmp_path / "out.json"
    codes: list[int] = []

    def meanwhile(file: RowsFile) -> None:
        patch.undo()
        codes.append(_run(source, tokenizer, target))
        file.finish()

    with monkeypatch.context() as patch:
        patch.setattr(RowsFile, "finish", meanwhile)
        assert _run(source, tokenizer, target) == 0
    assert codes == [2]
    assert "out.json: another call is writing it" in capsys.readouterr().err
    assert len(json.loads(target.read_text())) == ROWS


def test_highlights_may_be_a_list(tmp_path: Path, tokenizer: Path) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.json"
    source.write_text('{"article": "x", "highlights": ["A.", "B."]}\n')
    assert _run(source, tokenizer, target) == 0
    assert json.loads(target.read_text())[0]["output"] == "A.\nB."


def test_an_interrupted_call_is_resumed(
    tmp_path: Path,
    tokenizer: Path,
    source: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole, target = tmp_path / "whole.json", tmp_path / "out.json"
    assert _run(source, tokenizer, whole) == 0
    asked: list[str] = []

    def interrupted_once(_prompting: Prompting, text: str) -> str:
        asked.append(text)
        if len(asked) == ROWS - 10:
            raise KeyboardInterrupt
        return prompt(text)

    monkeypatch.setattr(Prompting, "text", interrupted_once)
    assert _run(source, tokenizer, target) == 3
    assert "run the same command again to resume" in capsys.readouterr().err
    assert not target.exists()
    [draft] = tmp_path.glob(".out.json.*.part")
    with draft.open("ab") as file:
        file.write(b'    {\n        "input": "cut in the mid')
    assert _run(source, tokenizer, target) == 0
    assert target.read_bytes() == whole.read_bytes()
    assert len(asked) < ROWS + 64, "rows of the draft were made again"
    assert not draft.exists()


def test_a_damaged_draft_is_made_again(
    tmp_path: Path, tokenizer: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "out.json"
    assert _run(source, tokenizer, target) == 0
    wanted = target.read_bytes()

    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("qsl.cnn_eval.RowsFile.finish", interrupt)
        assert _run(source, tokenizer, target) == 3
    [draft] = tmp_path.glob(".out.json.*.part")
    text = bytearray(draft.read_bytes())
    text[500:510] = bytes(10)
    draft.write_bytes(text)
    assert _run(source, tokenizer, target) == 0
    assert target.read_bytes() == wanted


def test_the_source_is_never_written_over(
    tokenizer: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = source.read_bytes()
    assert _run(source, tokenizer, source) == 2
    assert "is the source" in capsys.readouterr().err
    assert source.read_bytes() == before


def test_an_existing_file_is_checked(
    tmp_path: Path,
    tokenizer: Path,
    source: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    target = tmp_path / "out.json"
    assert _run(source, tokenizer, target) == 0
    message = capsys.readouterr().out
    assert _run(source, tokenizer, target, "--check") == 0
    equal = "equal to what this command would write\n"
    assert capsys.readouterr().out == message + equal
    assert _run(target, tokenizer, "--check") == 0
    rows = json.loads(target.read_text())
    rows[7]["tok_input"][0] += 1
    rows[9]["output"] += "!"
    target.write_text(json.dumps(rows[:-1]))
    capsys.readouterr()
    assert _run(source, tokenizer, target, "--check") == 1
    out = capsys.readouterr().out
    assert f"differences: 3, first: {ROWS - 1} rows, not {ROWS}" in out
    assert _run(target, tokenizer, "--check") == 1
    assert "differences: 1, first: row 7: other tok_input" in capsys.readouterr().out


def test_calibration_takes_the_listed_articles(
    tmp_path: Path,
    tokenizer: Path,
    source: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = list(articles(ROWS))
    listing, target = tmp_path / "ids.txt", tmp_path / "out.json"
    listing.write_text("".join(given[i]["id"] + "\n" for i in (31, 4, 15)))
    assert _run(source, tokenizer, target, "--calibration", listing) == 0
    rows = json.loads(target.read_text())
    assert [row["input"] for row in rows] == [given[i]["article"] for i in (31, 4, 15)]
    assert {row["instruction"] for row in rows} == {TEMPLATE}
    listing.write_text(given[3]["id"] + "\nno-such-id\n")
    assert _run(source, tokenizer, target, "--calibration", listing) == 2
    assert "ids.txt:2: no article has the id no-such-id" in capsys.readouterr().err
    listing.write_bytes(b"\xff")
    assert _run(source, tokenizer, target, "--calibration", listing) == 2
    assert "ids.txt: not a list of ids" in capsys.readouterr().err
    listing.unlink()
    assert _run(source, tokenizer, target, "--calibration", listing) == 2
    assert "ids.txt: No such file" in capsys.readouterr().err


def test_the_edge_set_needs_enough_articles(
    tmp_path: Path,
    tokenizer: Path,
    source: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert _run(source, tokenizer, tmp_path / "out.json", "--edge") == 2
    captured = capsys.readouterr()
    assert f"draws 5000 articles, but the source has {ROWS}" in captured.err
    assert "not the benchmark's edge set" in captured.out


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 1\n"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("in.jsonl", b'\xef\xbb\xbf{"article": "a", "highlights": "b"}\n'),
        ("in.jsonl", b'\n{"article": "a", "highlights": "b"}\n \n'),
        ("in.jsonl", b'{"article": "a", "highlights": "b", "id": 7}\n'),
        ("in.jsonl", b'{"article": "a", "highlights": "b", "id": null}\n'),
        ("in.csv", b"\xef\xbb\xbfarticle,highlights,id\n\na,b,7\n"),
        ("in.csv", b"article,highlights\n" + b"a" * 200_000 + b",b\n"),
    ],
)
def test_rows_as_people_have_them_are_taken(
    tmp_path: Path, tokenizer: Path, name: str, content: bytes
) -> None:
    source = tmp_path / name
    source.write_bytes(content)
    assert _run(source, tokenizer, tmp_path / "out.json") == 0
    [row] = json.loads((tmp_path / "out.json").read_text())
    assert row["output"] == "b"


def _calibrate(tmp_path: Path, tokenizer: Path, rows: list[object]) -> int:
    source, listing = tmp_path / "in.jsonl", tmp_path / "list.txt"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    listing.write_bytes(b"\xef\xbb\xbfi2\r\n")
    target = tmp_path / "out.json"
    return _run(source, tokenizer, target, "--calibration", listing)


def test_calibration_looks_at_listed_rows_alone(
    tmp_path: Path, tokenizer: Path
) -> None:
    row = {"article": "a", "highlights": "b", "id": "i2"}
    others = [{"article": "", "highlights": "b", "id": "i1"}, {"id": 3}]
    assert _calibrate(tmp_path, tokenizer, [*others, row, row]) == 0
    assert json.loads((tmp_path / "out.json").read_text())[0]["input"] == "a"


def test_an_id_with_different_texts_is_refused(
    tmp_path: Path, tokenizer: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"article": "a", "highlights": "b", "id": "i2"}
    assert _calibrate(tmp_path, tokenizer, [row, row | {"article": "c"}]) == 2
    error = capsys.readouterr().err
    assert "list.txt:1: the id i2 has different texts" in error
    assert "in.jsonl:1 and " in error
    assert "in.jsonl:2" in error


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EIO])
def test_a_file_system_without_locks_is_written_to(
    tmp_path: Path,
    tokenizer: Path,
    source: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    number: int,
) -> None:
    def flock(_file: object, _operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", flock)
    code = _run(source, tokenizer, tmp_path / "out.json")
    error = capsys.readouterr().err
    if number == errno.EIO:
        assert (code, error.count("\n")) == (3, 1)
        assert "out.json: Input/output error" in error
    else:
        assert code == 0
        assert "has no locks; do not write this" in error


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("in.jsonl", b'{"article": 3}\n', "in.jsonl:1"),
        ("in.jsonl", b'{"article": "a", "highlights": "b"}\n{\n', "in.jsonl:2"),
        (
            "in.jsonl",
            b'{"article": "a", "highlights": []}\n',
            "in.jsonl:1: has no summ",
        ),
        ("in.jsonl", b'{"article": " \\n", "highlights": "b"}\n', "has no article"),
        ("in.jsonl", b'{"article": "a"}\n', "in.jsonl:1: has no summary"),
        ("in.jsonl", b'{"article": ' + b"[" * 9999, "in.jsonl:1"),
        ("in.jsonl", LFS, "in.jsonl: a Git LFS pointer"),
        ("in.csv", LFS, "in.csv: a Git LFS pointer"),
        ("in.parquet", LFS, "in.parquet: a Git LFS pointer"),
        ("in.json", LFS, "in.json: a Git LFS pointer"),
        ("in.jsonl", b"\xff\xfe\n", "in.jsonl:1"),
        (
            "in.jsonl",
            b'{"article": "", "highlights": "b"}\n',
            "in.jsonl:1: has no article",
        ),
        ("in.csv", b"article,highlights\na,b\n,b\n", "row 2: has no article"),
        ("in.jsonl", b"", "contains no articles"),
        ("in.jsonl", None, "No such file"),
        ("in.csv", b"article,summary\n1,2\n", "no column highlights"),
        ("in.csv", b"article,highlights\na,b\nc\n", "row 2: "),
        ("in.csv", b'article,highlights\na,"b\n', "row 1: unexpected end of data"),
        ("in.csv", b"article,highlights\na,b\n\xff,b\n", "in.csv: not UTF-8 text"),
        ("in.csv", b"", "in.csv: is empty; its first line must name the columns"),
        ("in.parquet", b"PAR1 and no more", "Parquet magic bytes not found"),
        ("in.parquet", None, "in.parquet: No such file"),
        ("in.json", b'[{"input": "a"}]', "row 0: not in cnn_eval.json format"),
        ("in.txt", b"", "nor a file that ends in .jsonl, .csv"),
    ],
)
def test_bad_input_is_reported(
    tmp_path: Path,
    tokenizer: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    content: bytes | None,
    message: str,
) -> None:
    source = tmp_path / name
    if content is not None:
        source.write_bytes(content)
    assert _run(source, tokenizer, tmp_path / "out.json") == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("row", [{"article": None, "highlights": "x"}, {"article": 3}])
def test_a_bad_parquet_row_is_reported(
    tmp_path: Path,
    tokenizer: Path,
    capsys: pytest.CaptureFixture[str],
    row: dict[str, object],
) -> None:
    path = tmp_path / "in.parquet"
    pyarrow.parquet.write_table(pa.Table.from_pylist([row]), path)
    assert _run(path, tokenizer, tmp_path / "out.json") == 2
    assert ("row 1" if "highlights" in row else "no column") in capsys.readouterr().err


def test_a_target_that_cannot_be_written_is_reported(
    tmp_path: Path,
    tokenizer: Path,
    source: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert _run(source, tokenizer, tmp_path / "none" / "out.json") == 2
    assert "out.json: No such file or directory" in capsys.readouterr().err
    assert _run(source, tokenizer) == 2
    assert "no target" in capsys.readouterr().err
    assert _run(source, tokenizer, tmp_path) == 2
    assert "is a folder; name a file in it" in capsys.readouterr().err


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that `datasets` takes for the data set's own on the hub."""
    folder = tmp_path / HUB
    folder.mkdir(parents=True)
    (folder / "README.md").write_text(
        "---\nconfigs:\n- config_name: 3.0.0\n  data_files:\n  - split: validation\n"
        "    path: validation.parquet\n---\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    return folder


@pytest.mark.integration  # imports `datasets`: seconds
def test_the_hubs_data_set_must_be_whole(
    hub: Path, tokenizer: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _as_parquet(hub / "validation.parquet")
    assert _run(HUB, tokenizer, "out.json") == 2
    error = capsys.readouterr().err
    assert f"{HUB}: {ROWS} rows in its validation split, not 13368" in error


@pytest.mark.integration  # imports `datasets`: seconds
def test_a_hub_without_the_data_set_is_reported(
    hub: Path, tokenizer: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(HUB, tokenizer, "out.json") == 2
    error = capsys.readouterr().err
    assert "if the hub cannot be reached, give a file" in error
