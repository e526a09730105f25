import ast
import json
from pathlib import Path

import pytest
from rouge_score.rouge_scorer import RougeScorer

from accuracy.rouge import METRICS, one_sentence_a_line, score_pairs, sentence_splitter
from accuracy.score import PathOverrides, score_run
from base.errors import UserError
from record.folder import RunFolder, read_json, write_json
from record.structs import SettingsRecord
from tests.accuracy.made_up import REFERENCES, ids, scorable_run
from tests.run_folder import good_spec, write_folder

HALF_RIGHT = (1, ids("the dog on mat"), None)
RIGHT = (0, ids(REFERENCES[0]), None)


@pytest.fixture
def scored(tmp_path: Path) -> RunFolder:
    """A run whose model answered the first sample right and the second half right."""
    return scorable_run(tmp_path, [HALF_RIGHT, RIGHT])


def test_first_answer_of_each_index_is_scored(tmp_path: Path) -> None:
    folder = scorable_run(tmp_path, [HALF_RIGHT, RIGHT, (1, ids("the the the"), None)])
    result = score_run(folder)
    assert result.gen_num == 2
    assert result.scores["rouge1"] == pytest.approx((100 + 50) / 2, abs=0.01)
    assert result.gen_len == len("the cat sat on the mat .") + len("the dog on mat")
    assert result.tokens_per_sample == 5.5
    assert not result.missed
    assert not result.target_applies
    assert not result.good, "an index is answered twice"
    assert [
        "1 extra answers to an index that already has one (index 1)" in p
        for p in result.problems
    ] == [True]


def test_a_sound_log_is_good(scored: RunFolder) -> None:
    assert score_run(scored).good


def test_accuracy_txt_has_plain_numbers(scored: RunFolder) -> None:
    score_run(scored)
    line = ast.literal_eval((scored / "accuracy.txt").read_text())
    assert list(line) == [*METRICS, "gen_len", "gen_num"]
    assert type(line["gen_len"]) is int
    written = json.loads((scored / "accuracy.json").read_text())
    assert written["rouge1"]["unit"] == "%"
    low, high = written["rouge1"]["interval"]
    assert low < written["rouge1"]["value"] < high
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
    few = score_run(scored)
    assert not few.target_applies
    assert few.no_target == "2 answers, the benchmark's data set has 13368 samples"
    settings.rules["performance_sample_count_override"] = 2
    write_json(scored.settings, settings)
    result = score_run(scored)
    assert not result.good
    assert any(f"needs {gen_len} within 10%" in text for text in result.missed)


def test_rouge_is_what_rouge_score_says() -> None:
    prediction, reference = "The cat sat. It ran far.", "The cat ran far. It sat."
    ours = score_pairs([prediction], [reference])
    split = sentence_splitter().split
    texts = [one_sentence_a_line(text, split) for text in (reference, prediction)]
    assert texts[1] == "The cat sat.\nIt ran far."
    theirs = RougeScorer(METRICS, use_stemmer=True).score(*texts)
    assert ours.percent() == {m: round(100 * theirs[m].fmeasure, 4) for m in METRICS}
    assert ours.characters.tolist() == [len(texts[1])]


def test_a_run_without_accuracy_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="mode=performance has no accuracy"):
        score_run(write_folder(tmp_path / "other", good_spec()))


def test_made_up_tokens_are_reported(scored: RunFolder) -> None:
    settings = read_json(scored.settings, SettingsRecord)
    settings.tokenizer = None
    write_json(scored.settings, settings)
    with pytest.raises(UserError, match="no text to score"):
        score_run(scored)


def test_a_folder_from_another_host_is_scored(scored: RunFolder) -> None:
    expected = score_run(scored).scores
    here = scored.path.parent
    moved = here / "moved"
    moved.mkdir()
    for name in ("data.json", "tokenizer.json"):
        (here / name).rename(moved / name)
    with pytest.raises(UserError, match="no longer here; name it with --dataset"):
        score_run(scored)
    with pytest.raises(UserError, match="--tokenizer"):
        score_run(scored, PathOverrides(dataset=moved / "data.json"))
    overrides = PathOverrides(dataset=moved / "data.json", tokenizer=moved)
    assert score_run(scored, overrides).scores == expected
