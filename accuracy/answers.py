"""The answers of a run: read from its accuracy log, checked and decoded to text."""

from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from tokenizers import Tokenizer

from base.decode import DecodeError, decode_json
from base.errors import UserError
from qsl.dataset import Dataset
from record.folder import RecordError, RunFolder, read_lines
from record.loadgen_log import Answer, is_closed, read_answers
from record.structs import SampleRecord

_NAMED = 5


@dataclass(slots=True, kw_only=True)
class FirstAnswers:
    """One answer per index, in the order of the log, and what is wrong with it."""

    first: list[Answer]
    """The first answer of each index: the one that the benchmark scores."""
    finish_reasons: list[str | None]
    """Why each of them ended, as the engine reported it."""
    replicas: list[tuple[str | None, int | None]]
    """Node and number of the replica that gave each of them."""
    prompt_tokens: list[int]
    """Length of each prompt."""
    problems: list[str]
    """Faults of the log that still allow it to be scored."""


def read_first_answers(folder: RunFolder, dataset: Dataset) -> FirstAnswers:
    """Return the first answer of each index in the accuracy log of `folder`.

    Raises:
        RecordError: the log or samples.jsonl is missing or damaged, or the log
            belongs to another data set.
    """
    log = folder.accuracy_log
    answers = read_answers(log)
    if not answers:
        raise RecordError(log, "contains no answers")
    first: dict[int, Answer] = {}
    repeated: list[int] = []
    for answer in answers:
        if answer.qsl_index in first:
            repeated.append(answer.qsl_index)
        else:
            first[answer.qsl_index] = answer
    samples = _records(folder)
    for answer in first.values():
        _check(answer, dataset, samples.get(answer.seq), folder)
    missing = sorted(set(range(len(dataset))) - set(first))
    problems = []
    if not is_closed(log):
        problems.append(
            f"{log}: no closing bracket; the file was cut off, or the run died"
        )
    if repeated:
        problems.append(
            f"{log}: {len(repeated)} extra answers to an index that already has one"
            f" (index {named(repeated)}); the first one counts"
        )
    if missing:
        problems.append(
            f"{log}: {len(missing)} of {len(dataset)} samples have no answer"
            f" (index {named(missing)})"
        )
    records = [samples[answer.seq] for answer in first.values()]
    return FirstAnswers(
        first=list(first.values()),
        finish_reasons=[record.finish_reason for record in records],
        replicas=[(record.node, record.replica) for record in records],
        prompt_tokens=[record.prompt_tokens for record in records],
        problems=problems,
    )


def named(indices: list[int]) -> str:
    """Return the first few indices, for a message."""
    rest = f" and {len(indices) - _NAMED} more" if len(indices) > _NAMED else ""
    return ", ".join(str(index) for index in indices[:_NAMED]) + rest


def _records(folder: RunFolder) -> dict[int, SampleRecord]:
    records: list[SampleRecord] = list(read_lines(folder.samples, SampleRecord))
    done = [record for record in records if record.status == "completed"]
    return {record.seq: record for record in reversed(done)}


def _check(
    answer: Answer, dataset: Dataset, record: SampleRecord | None, folder: RunFolder
) -> None:
    """Refuse an answer that cannot belong to this run and this data set."""
    log, index = folder.accuracy_log, answer.qsl_index
    where = f"sample {answer.seq} (index {index})"
    if index >= len(dataset):
        raise RecordError(
            log,
            f"{where}: {dataset.name} has only {len(dataset)} rows, so the log belongs"
            " to another data set; name the right one with --dataset",
        )
    if answer.token_count not in (None, len(answer.tokens)):
        raise RecordError(
            log,
            f"{where}: the token count is {answer.token_count}, but the data hold"
            f" {len(answer.tokens)} tokens of 32 bits",
        )
    if record is None:
        raise RecordError(
            folder.samples, f"{where}: the log has its answer, this file does not"
        )
    if record.qsl_index != index or record.output_tokens != len(answer.tokens):
        raise RecordError(
            log,
            f"{where}: {len(answer.tokens)} tokens, but {folder.samples.name} has index"
            f" {record.qsl_index} with {record.output_tokens} tokens; the log belongs"
            " to another run",
        )
    if (length := len(dataset.prompt(index))) != record.prompt_tokens:
        raise RecordError(
            log,
            f"{where}: the prompt had {record.prompt_tokens} tokens, but in"
            f" {dataset.name} it has {length}; the log belongs to another data set;"
            " name the right one with --dataset",
        )


# What transformers' clean_up_tokenization replaces, in its order.
_SPACES = (
    (" .", "."),
    (" ?", "?"),
    (" !", "!"),
    (" ,", ","),
    (" ' ", "'"),
    (" n't", "n't"),
    (" 'm", "'m"),
    (" 's", "'s"),
    (" 've", "'ve"),
    (" 're", "'re"),
)


class _TokenizerConfig(msgspec.Struct):
    """The field of tokenizer_config.json that changes decoded text."""

    clean_up_tokenization_spaces: bool | None = None


def load_tokenizer(path: Path) -> Tokenizer:
    """Return the tokenizer in the file `path`.

    Raises:
        UserError: no such file, or damaged.
    """
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:
        raise UserError(
            f"{path}: {error}; name the model's folder with --tokenizer"
        ) from error


def decode(answers: list[Answer], path: Path, log: Path) -> list[str]:
    """Return the text of each answer, without special tokens.

    Spaces before punctuation are removed if the tokenizer's configuration asks for
    it, as in the transformers release that the benchmark pins (4.46.2). Later
    releases keep them.

    Args:
        answers: the model's answers.
        path: the model's tokenizer.json, with tokenizer_config.json beside it.
        log: the file that the answers came from.

    Raises:
        UserError: the tokenizer is missing or damaged.
        RecordError: a token id is outside the vocabulary.
    """
    tokenizer = load_tokenizer(path)
    _check_ids(answers, 1 + max(tokenizer.get_vocab().values()), path, log)
    ids = [answer.tokens.tolist() for answer in answers]
    texts: list[str] = tokenizer.decode_batch(ids, skip_special_tokens=True)
    return [_clean(text) for text in texts] if _cleans_up(path) else texts


def _check_ids(answers: list[Answer], size: int, path: Path, log: Path) -> None:
    for answer in answers:
        outside = answer.tokens[(answer.tokens < 0) | (answer.tokens >= size)]
        if len(outside):
            position = int(np.flatnonzero(answer.tokens == outside[0])[0])
            raise RecordError(
                log,
                f"index {answer.qsl_index}: token {position} has the id {outside[0]},"
                f" but {path} has {size} ids; is it the tokenizer of this model?",
            )


def _cleans_up(path: Path) -> bool:
    config = path.with_name("tokenizer_config.json")
    try:
        found = decode_json(config.read_bytes(), _TokenizerConfig)
    except FileNotFoundError:
        return False
    except (OSError, DecodeError) as error:
        raise UserError(f"{config}: {error}") from error
    return bool(found.clean_up_tokenization_spaces)


def _clean(text: str) -> str:
    for spaced, closed in _SPACES:
        text = text.replace(spaced, closed)
    return text
