"""Scores a run folder in accuracy mode."""

from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from accuracy.rouge import (
    METRICS,
    one_sentence_a_line,
    rouge,
    sentence_splitter,
)
from conf.errors import UserError
from conf.load import load_config
from qsl.dataset import load_dataset
from record.errors import RecordError
from record.folder import RunFolder, read_json, write_json, write_text
from record.json_types import Json
from record.loadgen_log import Answer, read_answers
from record.structs import SettingsRecord


@dataclass(frozen=True, slots=True)
class _Target:
    """Scores of the benchmark's reference model; a result needs 99% of each."""

    rouge: dict[str, float]
    gen_len: int
    """Characters of its answers; a result lies within 10% of it."""


# From the submission checker of the v6.1 round.
_TARGETS = {
    "datacenter": _Target(
        dict(zip(METRICS, (38.7792, 15.9075, 24.4957, 35.793), strict=True)), 8_167_644
    ),
    "edge": _Target(
        dict(zip(METRICS, (39.06, 16.1147, 24.6375, 36.124), strict=True)), 3_051_113
    ),
}


@dataclass(slots=True, kw_only=True)
class AccuracyResult:
    """Scores of one run."""

    scores: dict[str, float]
    """ROUGE in percent; empty where the answers are no text."""
    gen_len: int
    """Characters of all answers, one sentence a line, as the benchmark counts."""
    gen_num: int
    """Number of answers."""
    tokens_per_sample: float
    missed: list[str]
    """Targets that were not reached."""
    target_applies: bool
    splitter: str

    @property
    def good(self) -> bool:
        """Whether every target that applies was reached."""
        return not self.missed


def score_run(folder: RunFolder) -> AccuracyResult:
    """Score the accuracy log of `folder`; write accuracy.json and accuracy.txt.

    Raises:
        UserError: the run was not in accuracy mode, its answers are no text, or its
            data set is gone.
        RecordError: a file of the folder is missing or damaged.
    """
    settings = read_json(folder.settings, SettingsRecord)
    if settings.mode != "accuracy":
        raise UserError(f"{folder.path}: mode={settings.mode} has no accuracy to score")
    answers = _first_per_index(read_answers(folder.accuracy_log))
    if not answers:
        raise RecordError(folder.accuracy_log, "holds no answers")
    config = load_config([], folder.config)
    references = load_dataset(config.dataset).references
    if settings.tokenizer is None or not references:
        raise UserError(f"{folder.path}: made-up tokens or data, so no text to score")
    if (last := max(a.qsl_index for a in answers)) >= len(references):
        raise RecordError(
            folder.accuracy_log,
            f"index {last}: not a log of {config.dataset.name},"
            f" which has {len(references)} rows",
        )
    splitter, split = sentence_splitter()
    decoded = _decode(answers, Path(settings.tokenizer), folder.accuracy_log)
    texts = [one_sentence_a_line(text, split) for text in decoded]
    wanted = [one_sentence_a_line(references[a.qsl_index], split) for a in answers]
    result = AccuracyResult(
        scores=rouge(texts, wanted),
        gen_len=sum(len(text) for text in texts),
        gen_num=len(texts),
        tokens_per_sample=sum(len(a.tokens) for a in answers) / len(answers),
        missed=[],
        # The targets are those of the whole data set.
        target_applies=settings.is_benchmark
        and len(answers) == settings.rules["performance_sample_count_override"],
        splitter=splitter,
    )
    if result.target_applies:
        result.missed = _missed(result, _TARGETS[settings.benchmark])
    _write(folder, result)
    return result


def _first_per_index(answers: list[Answer]) -> list[Answer]:
    first: dict[int, Answer] = {}
    for answer in answers:
        first.setdefault(answer.qsl_index, answer)
    return list(first.values())


def _decode(answers: list[Answer], path: Path, log: Path) -> list[str]:
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:
        raise UserError(f"{path}: {error}") from error
    size = tokenizer.get_vocab_size()
    for answer in answers:
        if (
            len(answer.tokens)
            and not 0 <= answer.tokens.min() <= answer.tokens.max() < size
        ):
            raise RecordError(log, f"index {answer.qsl_index}: ids outside {path}")
    texts: list[str] = tokenizer.decode_batch(
        [answer.tokens.tolist() for answer in answers], skip_special_tokens=True
    )
    return texts


def _missed(result: AccuracyResult, target: _Target) -> list[str]:
    missed = [
        f"{name} is {result.scores[name]}, needs {0.99 * value:.4f}"
        for name, value in target.rouge.items()
        if result.scores[name] < 0.99 * value
    ]
    if not 0.9 * target.gen_len <= result.gen_len <= 1.1 * target.gen_len:
        missed.append(f"gen_len is {result.gen_len}, needs {target.gen_len} within 10%")
    return missed


def _write(folder: RunFolder, result: AccuracyResult) -> None:
    write_json(folder / "accuracy.json", as_json(result))
    # The submission checker reads this line by regular expressions: plain numbers.
    line = {name: result.scores[name] for name in METRICS} | {
        "gen_len": result.gen_len,
        "gen_num": result.gen_num,
    }
    write_text(folder / "accuracy.txt", f"{line}\n")


def as_json(result: AccuracyResult) -> dict[str, Json]:
    """Return the content of `accuracy.json`; every figure with unit and definition."""

    def figure(value: Json, unit: str, definition: str) -> dict[str, Json]:
        return {"value": value, "unit": unit, "definition": definition}

    return {
        **{
            name: figure(value, "%", f"mean {name} F-measure over samples, stemmed")
            for name, value in result.scores.items()
        },
        "gen_len": figure(result.gen_len, "characters", "length of all answers"),
        "gen_num": figure(result.gen_num, "samples", "answers scored, one per index"),
        "tokens_per_sample": figure(
            result.tokens_per_sample, "tokens", "mean answer length"
        ),
        "target_applies": result.target_applies,
        "missed": result.missed,
        "sentence_splitter": result.splitter,
    }
