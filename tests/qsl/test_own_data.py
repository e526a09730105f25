"""Data sets of the user's own: columns, prompts, chat templates, answer lengths."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from tokenizers import Tokenizer

from conf.load import load_config
from qsl.dataset import Dataset, load_dataset
from qsl.prepare import main
from tests.tiny_checkpoints import write_configuration

ROWS = [
    {"question": f"What is {number} and {number}?", "answer": f"It is {2 * number}."}
    | {"tokens": 3 + number}
    for number in range(20)
]
COLUMNS = ("--text-column", "question", "--reference-column", "answer")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_configuration("qwen", tmp_path_factory.mktemp("qwen"))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def _rows(tmp_path: Path, *arguments: object) -> list[dict[str, Any]]:
    target = tmp_path / "out.json"
    assert main([*map(str, arguments[:2]), str(target), *map(str, arguments[2:])]) == 0
    rows: list[dict[str, Any]] = json.loads(target.read_text())
    return rows


def _loaded(path: Path) -> Dataset:
    config = load_config(["dataset=custom", f"dataset.path={path}"])
    return load_dataset(config.dataset)


def test_columns_prompt_and_limit(
    tmp_path: Path, source: Path, checkpoint: Path
) -> None:
    prompt = "Answer in one line: {input}\nAnswer:"
    rows = _rows(
        tmp_path, source, checkpoint, *COLUMNS, "--limit", 7, "--prompt", prompt
    )
    encoder = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
    assert len(rows) == 7
    for row, given in zip(rows, ROWS, strict=False):
        text = prompt.replace("{input}", str(given["question"]))
        assert row["tok_input"] == encoder.encode(text).ids
        assert row["input"] == given["question"]
        assert row["output"] == given["answer"]
        assert row["instruction"] == prompt
        assert "output_tokens" not in row


def test_a_prompt_may_be_in_a_file(
    tmp_path: Path, source: Path, checkpoint: Path
) -> None:
    (tmp_path / "prompt.txt").write_text("Q: {input}\n")
    given = f"@{tmp_path / 'prompt.txt'}"
    rows = _rows(tmp_path, source, checkpoint, *COLUMNS, "--prompt", given)
    assert rows[0]["instruction"] == "Q: {input}"


def test_every_form_of_source_gives_the_same_rows(
    tmp_path: Path, source: Path, checkpoint: Path
) -> None:
    import csv

    with (tmp_path / "rows.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(ROWS[0]))
        writer.writeheader()
        writer.writerows(ROWS)
    pyarrow.parquet.write_table(pa.Table.from_pylist(ROWS), tmp_path / "rows.parquet")
    options = (*COLUMNS, "--output-tokens", "column:tokens")
    wanted = _rows(tmp_path, source, checkpoint, *options)
    assert [row["output_tokens"] for row in wanted] == [3 + n for n in range(20)]
    for name in ("rows.csv", "rows.parquet"):
        assert _rows(tmp_path, tmp_path / name, checkpoint, *options) == wanted


@pytest.mark.integration
def test_the_chat_template_of_the_checkpoint(
    tmp_path: Path, source: Path, checkpoint: Path
) -> None:
    rows = _rows(
        tmp_path, source, checkpoint, *COLUMNS, "--prompt", "{input}", "--chat-template"
    )
    encoder = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
    begin, user, assistant = 1, 3, 4
    body = encoder.encode(str(ROWS[0]["question"]), add_special_tokens=False).ids
    assert rows[0]["tok_input"] == [begin, user, *body, assistant]


def test_without_references(tmp_path: Path, source: Path, checkpoint: Path) -> None:
    rows = _rows(
        tmp_path, source, checkpoint, "--text-column", "question", "--no-references"
    )
    assert {row["output"] for row in rows} == {""}
    assert _loaded(tmp_path / "out.json").references == []


@pytest.mark.parametrize(
    ("lengths", "lowest", "highest", "mean"),
    [
        ("64", 64, 64, (64, 64)),
        ("10-20", 10, 20, (12, 18)),
        ("normal:50:10", 15, 85, (40, 60)),
    ],
)
def test_answer_lengths_are_part_of_the_data(
    lengths: str,
    lowest: int,
    highest: int,
    mean: tuple[float, float],
    tmp_path: Path,
    source: Path,
    checkpoint: Path,
) -> None:
    options = (source, checkpoint, *COLUMNS, "--output-tokens", lengths)
    rows = _rows(tmp_path, *options)
    drawn = [row["output_tokens"] for row in rows]
    assert lowest <= min(drawn) <= max(drawn) <= highest
    assert mean[0] <= sum(drawn) / len(drawn) <= mean[1]
    assert (len(set(drawn)) == 1) == (lowest == highest)
    assert _rows(tmp_path, *options) == rows
    loaded = _loaded(tmp_path / "out.json").output_tokens
    assert loaded is not None
    assert loaded.tolist() == drawn


def test_lengths_of_the_references(
    tmp_path: Path, source: Path, checkpoint: Path
) -> None:
    rows = _rows(tmp_path, source, checkpoint, *COLUMNS, "--output-tokens", "reference")
    # The tokenizer has a token for each byte.
    assert [row["output_tokens"] for row in rows] == [
        len(str(row["answer"])) for row in ROWS
    ]


def test_check_compares_with_the_same_options(
    tmp_path: Path, source: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [str(source), str(checkpoint), str(tmp_path / "out.json"), *COLUMNS]
    assert main([*options, "--output-tokens", "9"]) == 0
    assert main([*options, "--output-tokens", "9", "--check"]) == 0
    assert main([*options, "--output-tokens", "10", "--check"]) == 1
    assert "row 0: other output_tokens" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "no article"),
        (("--text-column", "query"), "no column query; it has question, answer"),
        ((*COLUMNS, "--prompt", "nothing"), "--prompt: no {input}"),
        ((*COLUMNS, "--prompt", "@/none"), "--prompt @/none: No such file"),
        ((*COLUMNS, "--output-tokens", "many"), "--output-tokens many: write N"),
        ((*COLUMNS, "--output-tokens", "9-3"), "--output-tokens 9-3: write N"),
        ((*COLUMNS, "--output-tokens", "column:x"), "no column x"),
        ((*COLUMNS, "--output-tokens", "column:answer"), "$.answer"),
        ((*COLUMNS, "--no-references"), "give either --reference-column or"),
        ((*COLUMNS, "--split", "test"), "--split is for data sets on the hub"),
        ((*COLUMNS, "--limit", "0"), "write a number above 0"),
        ((*COLUMNS, "--edge", "--chat-template"), "leave out --prompt"),
    ],
)
def test_mistakes_are_one_line(
    options: tuple[str, ...],
    message: str,
    tmp_path: Path,
    source: Path,
    checkpoint: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    target = str(tmp_path / "out.json")
    assert main([str(source), str(checkpoint), target, *options]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert message in error
    assert not (tmp_path / "out.json").exists()


@pytest.mark.integration
def test_a_checkpoint_without_a_chat_template_says_so(
    tmp_path: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_configuration("llama", tmp_path / "llama")
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    del settings["chat_template"]
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    target = str(tmp_path / "out.json")
    assert main([str(source), str(folder), target, *COLUMNS, "--chat-template"]) == 2
    assert "has no chat template" in capsys.readouterr().err


@pytest.mark.integration  # the hub's library tries again for seconds
def test_a_name_on_the_hub_without_a_network_is_one_line(
    tmp_path: Path,
    checkpoint: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    datasets = pytest.importorskip("datasets")

    def unreachable(*_arguments: object, **_options: object) -> None:
        raise ConnectionError("Couldn't reach 'some/data' on the Hub")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    target = str(tmp_path / "out.json")
    assert main(["some/data", str(checkpoint), target, *COLUMNS]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "some/data: Couldn't reach" in line
    assert "give a file with its validation split instead" in line


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"output_tokens": 5}, {}], "row 1: output_tokens must be in every row"),
        ([{"output_tokens": 0}], "row 0: output_tokens 0 is not between 1 and"),
    ],
)
def test_damaged_lengths_are_named(
    rows: list[dict[str, int]], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "own.json"
    path.write_text(
        json.dumps([{"tok_input": [5], "output": "x"} | row for row in rows])
    )
    with pytest.raises(Exception, match=message):
        _loaded(path)
