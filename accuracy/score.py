"""Scores a run folder in accuracy mode."""

from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from accuracy.rouge import METRICS, rouge, sentence_splitter
from conf.errors import UserError
from conf.load import load_config
from qsl.dataset import load_dataset
from record.errors import RecordError
from record.folder import RunFolder, read_json, write_json, write_text
from record.json_types import Json
from record.loadgen_log import Answer, read_answers
from record.structs import SettingsRecord

_TARGETS = {
    "rouge1": 38.7792,
    "rouge2": 15.9075,
    "rougeL": 24.4957,
    "rougeLsum": 35.793,
}
"""Scores of the benchmark's reference model; a result needs 99% of each."""
_GEN_LEN = 8_167_644
"""Characters of the reference's answers; a result lies within 10% of it."""
_INT32_MAX = 2**31 - 1


@dataclass(slots=True, kw_only=True)
class AccuracyResult:
    """Scores of one run."""

    scores: dict[str, float]
    """ROUGE in percent; empty where the answers are no text."""
    gen_len: int
    """Characters of all answers."""
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
    references = load_dataset(config.dataset, _INT32_MAX, _INT32_MAX).references
    if settings.tokenizer is None or not references:
        raise UserError(f"{folder.path}: made-up tokens or data, so no text to score")
    if (last := max(a.qsl_index for a in answers)) >= len(references):
        raise RecordError(
            folder.accuracy_log,
            f"index {last}: not a log of {config.dataset.name},"
            f" which has {len(references)} rows",
        )
    texts = _decode(answers, Path(settings.tokenizer))
    splitter, split = sentence_splitter()
    wanted = [references[answer.qsl_index] for answer in answers]
    result = AccuracyResult(
        scores=rouge(texts, wanted, split),
        gen_len=sum(len(text) for text in texts),
        gen_num=len(texts),
        tokens_per_sample=sum(len(a.tokens) for a in answers) / len(answers),
        missed=[],
        target_applies=settings.is_benchmark,
        splitter=splitter,
    )
    if result.target_applies:
        result.missed = _missed(result)
    _write(folder, result)
    return result


def _first_per_index(answers: list[Answer]) -> list[Answer]:
    first: dict[int, Answer] = {}
    for answer in answers:
        first.setdefault(answer.qsl_index, answer)
    return list(first.values())


def _decode(answers: list[Answer], path: Path) -> list[str]:
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:
        raise UserError(f"{path}: {error}") from error
    texts: list[str] = tokenizer.decode_batch(
        [answer.tokens.tolist() for answer in answers], skip_special_tokens=True
    )
    return texts


def _missed(result: AccuracyResult) -> list[str]:
    missed = [
        f"{name} is {result.scores[name]}, needs {0.99 * target:.4f}"
        for name, target in _TARGETS.items()
        if result.scores[name] < 0.99 * target
    ]
    if not 0.9 * _GEN_LEN <= result.gen_len <= 1.1 * _GEN_LEN:
        missed.append(f"gen_len is {result.gen_len}, needs {_GEN_LEN} within 10%")
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
