import ast
import json
from pathlib import Path

import pytest
from rouge_score.rouge_scorer import RougeScorer
from tokenizers import Tokenizer, models, pre_tokenizers

from accuracy.rouge import one_sentence_a_line, rouge, sentence_splitter
from accuracy.score import score_run
from conf.errors import UserError
from conf.load import load_config, to_yaml
from record.errors import RecordError
from record.folder import RunFolder, read_json, write_json
from record.structs import SettingsRecord
from tests.run_folder import good_spec, write_folder

WORDS = ["[UNK]", "the", "cat", "sat", "on", "mat", "dog", "ran", ".", "far"]
REFERENCES = ["the cat sat on the mat .", "the dog ran far ."]


@pytest.fixture
def scored(tmp_path: Path) -> RunFolder:
    """A run whose model answered the first sample right and the second half right."""
    tokenizer = Tokenizer(
        models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    rows = [{"tok_input": [1, 2], "output": text} for text in REFERENCES]
    (tmp_path / "data.json").write_text(json.dumps(rows))
    spec = good_spec(2)
    spec.mode = "accuracy"
    spec.answers = [
        (1, [1, 6, 4, 5], None),
        (0, [1, 2, 3, 4, 1, 5, 8], None),
        (1, [1, 1, 1], None),
    ]
    folder = write_folder(tmp_path / "run", spec)
    data = f"dataset.path={tmp_path / 'data.json'}"
    config = load_config(["mode=accuracy", "engine=synthetic", data])
    folder.config.write_text(to_yaml(config))
    settings = read_json(folder.settings, SettingsRecord)
    settings.tokenizer = str(tmp_path / "tokenizer.json")
    write_json(folder.settings, settings)
    return folder


def test_first_answer_of_each_index_is_scored(scored: RunFolder) -> None:
    result = score_run(scored)
    assert result.gen_num == 2
    assert result.scores["rouge1"] == pytest.approx((100 + 50) / 2, abs=0.01)
    assert result.gen_len == len("the cat sat on the mat .") + len("the dog on mat")
    assert result.tokens_per_sample == 5.5
    assert result.good
    assert not result.target_applies


def test_accuracy_txt_has_plain_numbers(scored: RunFolder) -> None:
    score_run(scored)
    line = ast.literal_eval((scored / "accuracy.txt").read_text())
    assert list(line) == [
        "rouge1",
        "rouge2",
        "rougeL",
        "rougeLsum",
        "gen_len",
        "gen_num",
    ]
    assert type(line["gen_len"]) is int
    written = json.loads((scored / "accuracy.json").read_text())
    assert written["rouge1"]["unit"] == "%"
    assert written["sentence_splitter"]


@pytest.mark.parametrize(
    ("benchmark", "gen_len"), [("datacenter", 8_167_644), ("edge", 3_051_113)]
)
def test_the_benchmarks_targets_are_applied_to_the_benchmark(
    scored: RunFolder, benchmark: str, gen_len: int
) -> None:
    settings = read_json(scored.settings, SettingsRecord)
    settings.is_benchmark, settings.benchmark = True, benchmark
    write_json(scored.settings, settings)
    assert not score_run(scored).target_applies, "two samples are not the data set"
    settings.rules["performance_sample_count_override"] = 2
    write_json(scored.settings, settings)
    result = score_run(scored)
    assert not result.good
    assert any(f"needs {gen_len} within 10%" in text for text in result.missed)


def test_ids_outside_the_vocabulary_are_told(scored: RunFolder) -> None:
    text = scored.accuracy_log.read_text().replace('"data" : "0100', '"data" : "FFFF')
    scored.accuracy_log.write_text(text)
    with pytest.raises(RecordError, match="index 1: ids outside"):
        score_run(scored)


def test_rouge_is_what_rouge_score_says() -> None:
    _, split = sentence_splitter()
    prediction = "The cat sat. It ran far."
    reference = one_sentence_a_line("The cat ran far. It sat.", split)
    ours = rouge([one_sentence_a_line(prediction, split)], [reference])
    lines = "The cat sat.\nIt ran far."
    scorer = RougeScorer(["rougeLsum"], use_stemmer=True)
    theirs = scorer.score("The cat ran far.\nIt sat.", lines)["rougeLsum"].fmeasure
    assert ours["rougeLsum"] == round(100 * theirs, 4)


def test_what_cannot_be_scored_is_told(scored: RunFolder, tmp_path: Path) -> None:
    scored.accuracy_log.write_text("[\n]\n")
    with pytest.raises(RecordError, match="holds no answers"):
        score_run(scored)
    with pytest.raises(UserError, match="mode=performance has no accuracy"):
        score_run(write_folder(tmp_path / "other", good_spec()))


def test_a_log_of_other_data_is_told(scored: RunFolder) -> None:
    text = scored.accuracy_log.read_text().replace('"qsl_idx" : 0', '"qsl_idx" : 9')
    scored.accuracy_log.write_text(text)
    with pytest.raises(RecordError, match="index 9: not a log of sample"):
        score_run(scored)
