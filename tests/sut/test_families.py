"""Facts of checkpoints as four model families write them."""

import json
from pathlib import Path
from typing import Any

import pytest

from base.errors import UserError
from conf.load import load_config
from qsl.dataset import load_dataset
from sut.fit import fit_lengths
from sut.model import Model, find_model
from tests.tiny_checkpoints import (
    ARCHITECTURES,
    EOS,
    FAMILIES,
    LONGEST,
    VOCABULARY,
    configuration,
    write_configuration,
)

FOLDER = Path(__file__).parents[1] / "families"


def _found(folder: Path, *overrides: str) -> Model:
    config = load_config(["model=custom", f"model.path={folder}", *overrides]).model
    return find_model(config, print, needs_weights=False)


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def test_facts_come_from_the_folder(family: str, tmp_path: Path) -> None:
    folder = write_configuration(family, tmp_path / f"my-{family}")
    model = _found(folder)
    assert model.architecture == ARCHITECTURES[family]
    assert model.vocab_size == VOCABULARY
    assert model.longest == LONGEST[family]
    assert model.stop_token_ids == [EOS]
    config = load_config(["model=custom", f"model.path={folder}"]).model
    assert config.name == f"my-{family}"
    with pytest.raises(UserError, match=f"can hold {LONGEST[family]} tokens"):
        _found(folder, f"model.max_model_len={LONGEST[family] + 1}")


@pytest.mark.integration
def test_transformers_writes_the_same_configuration(family: str) -> None:
    written = configuration(family).to_dict()
    kept = json.loads((FOLDER / f"{family}.json").read_text())
    for name in ("architectures", "dtype", "transformers_version"):
        written.pop(name), kept.pop(name)
    assert {name: written[name] for name in kept} == kept


def _write(folder: Path, config: dict[str, Any], **files: object) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


TEXT = {"vocab_size": 200, "max_position_embeddings": 300, "eos_token_id": [1, 106]}


def test_the_language_model_of_a_checkpoint_that_reads_images(tmp_path: Path) -> None:
    """As Gemma 3 with 4B parameters or more: everything is in `text_config`."""
    whole = {"architectures": ["Gemma3ForConditionalGeneration"], "text_config": TEXT}
    model = _found(_write(tmp_path / "a", whole))
    assert (model.vocab_size, model.longest) == (200, 300)
    assert model.stop_token_ids == [1, 106]


@pytest.mark.parametrize("name", ["n_positions", "max_seq_len", "seq_length"])
def test_other_names_of_the_length(name: str, tmp_path: Path) -> None:
    shape = {"vocab_size": 100, name: 512, "eos_token_id": 0}
    model = _found(_write(tmp_path / "a", shape))
    assert model.longest == 512
    assert model.stop_token_ids == [0]


def test_a_stop_token_may_stand_in_the_tokenizer_alone(tmp_path: Path) -> None:
    folder = write_configuration("qwen", tmp_path / "a")
    _write(folder, {"vocab_size": VOCABULARY, "max_position_embeddings": 512})
    (folder / "generation_config.json").unlink()
    assert _found(folder).stop_token_ids == [EOS]
    (folder / "tokenizer_config.json").unlink()
    with pytest.raises(UserError, match="no eos_token_id"):
        _found(folder)


def _data(path: Path, lengths: list[int], answers: list[int] | None = None) -> Path:
    rows: list[dict[str, object]] = [
        {"tok_input": [5] * length, "output": "x"} for length in lengths
    ]
    for row, answer in zip(rows, answers or [], strict=False):
        row["output_tokens"] = answer
    path.write_text(json.dumps(rows))
    return path


@pytest.mark.parametrize(
    ("answers", "changes", "needed"),
    [
        (None, [], 40 + 128),
        (None, ["dataset.max_output_tokens=20"], 60),
        ([90, 3], [], 100),
    ],
)
def test_the_length_is_what_the_data_need(
    answers: list[int] | None, changes: list[str], needed: int, tmp_path: Path
) -> None:
    folder = _write(tmp_path / "a", TEXT)
    path = _data(tmp_path / "own.json", [10, 40], answers)
    config = load_config(
        [
            *("model=custom", f"model.path={folder}"),
            *("dataset=custom", f"dataset.path={path}", *changes),
        ]
    )
    model, dataset = _found(folder), load_dataset(config.dataset)
    fit_lengths(config, model, dataset)
    assert config.model.max_model_len == needed


@pytest.mark.parametrize(
    ("lengths", "answers", "changes", "message"),
    [
        ([200], None, [], "can hold 300 tokens, but .* needs 328"),
        ([10], [129], [], "row 0: the answer must have 129 tokens.*raise it"),
        ([10], [9], ["run=full"], "run=full: .* prescribes the length of answers"),
        (
            [10],
            None,
            ["model.max_model_len=100"],
            "model.max_model_len=100; raise it",
        ),
    ],
)
def test_what_does_not_fit_is_refused(
    lengths: list[int],
    answers: list[int] | None,
    changes: list[str],
    message: str,
    tmp_path: Path,
) -> None:
    folder = _write(tmp_path / "a", TEXT)
    path = _data(tmp_path / "own.json", lengths, answers)
    config = load_config(
        [
            *("model=custom", f"model.path={folder}"),
            *("dataset=custom", f"dataset.path={path}", *changes),
        ]
    )
    with pytest.raises(UserError, match=message):
        fit_lengths(config, _found(folder), load_dataset(config.dataset))


def test_accuracy_needs_references(tmp_path: Path) -> None:
    folder = _write(tmp_path / "a", TEXT)
    path = tmp_path / "own.json"
    path.write_text(json.dumps([{"tok_input": [5], "output": ""}]))
    config = load_config(
        [
            *("model=custom", f"model.path={folder}", "mode=accuracy"),
            *("dataset=custom", f"dataset.path={path}"),
        ]
    )
    with pytest.raises(UserError, match="own has none; give mode=performance"):
        fit_lengths(config, _found(folder), load_dataset(config.dataset))


@pytest.mark.parametrize("stop", [-1, 200, [10**6, 10**7]])
def test_a_stop_token_outside_the_vocabulary_is_refused(
    stop: int | list[int], tmp_path: Path
) -> None:
    folder = _write(tmp_path / "a", TEXT)
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": stop}))
    with pytest.raises(UserError, match=r"the stop token .* is outside the vocabulary"):
        _found(folder)


def test_one_of_several_stop_tokens_may_be_outside(tmp_path: Path) -> None:
    folder = _write(tmp_path / "a", TEXT)
    (folder / "generation_config.json").write_text('{"eos_token_id": [7, 1000000]}')
    assert _found(folder).stop_token_ids == [7]
