"""Prompts as token ids, with their reference summaries."""

import contextlib
import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from base.benchmark import SAMPLES, Benchmark
from base.errors import UserError
from base.files import data_path
from base.log import announce
from base.memory import available_bytes
from conf.schema import DatasetConfig
from qsl.answer_lengths import LONGEST
from qsl.cache import Columns, place_of
from qsl.cnn_eval import Row, read_rows

EMBEDDED = data_path("qsl", "embedded/cnn_eval.json")
_MADE_UP_VOCABULARY = (3, 32_000)
_PREPARE = "make it with `mlperf-sut prepare`"
_MEAN_TOKENS = 833
_BYTES_PER_TOKEN, _BYTES_PER_SAMPLE = 8, 200
"""Memory of synthetic data: tokens, and the messages that contain them again."""
_WORTH_KEEPING_BYTES = 1 << 20
_LARGE_BYTES = 50 << 20


@dataclass(frozen=True, slots=True)
class Dataset:
    """Samples by index: prompt token ids (int32) and reference summaries."""

    name: str
    tokens: NDArray[np.int32]
    """All prompts, concatenated, shape (total tokens,)."""
    offsets: NDArray[np.int64]
    """Prompt i is tokens[offsets[i]:offsets[i + 1]]; shape (samples + 1,)."""
    references: list[str]
    """Reference summaries; empty if there are none, as for synthetic data."""
    output_tokens: NDArray[np.int32] | None = None
    """Tokens that each answer must have, shape (samples,); None: answers end by
    themselves."""
    sha256: str = ""
    """SHA-256 of the file that they were read from; empty for synthetic data."""

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.offsets) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Prompt lengths in tokens, shape (samples,)."""
        return np.diff(self.offsets)

    def prompt(self, index: int) -> NDArray[np.int32]:
        """Return the token ids of sample `index` as a view."""
        return self.tokens[self.offsets[index] : self.offsets[index + 1]]


def load_dataset(config: DatasetConfig) -> Dataset:
    """Return the samples that `config` names.

    Raises:
        UserError: the file is missing, damaged or not in cnn_eval.json format; it has
            fewer samples than requested; or memory is too small for the samples.
    """
    if config.name == "synthetic":
        if config.path is not None:
            raise UserError(
                "dataset.path: dataset=synthetic reads no file; leave it out"
            )
        return _make_up(
            config.count or SAMPLES[Benchmark.datacenter], config.prompt_tokens
        )
    if config.prompt_tokens is not None:
        raise UserError("dataset.prompt_tokens is only for dataset=synthetic")
    dataset = _read(config)
    if not len(dataset):
        raise UserError(f"{_where(config)}: contains no samples")
    empty = np.flatnonzero(dataset.lengths == 0)
    if len(empty):
        raise UserError(f"{_where(config)}: row {empty[0]}: tok_input is empty")
    return dataset


def check_answers(dataset: Dataset, config: DatasetConfig) -> None:
    """Check the lengths that the data prescribe for answers.

    Raises:
        UserError: one exceeds dataset.max_output_tokens.
    """
    if dataset.output_tokens is None:
        return
    row = int(np.argmax(dataset.output_tokens))
    longest = int(dataset.output_tokens[row])
    if longest > config.max_output_tokens:
        raise UserError(
            f"{_where(config)}: row {row}: the answer must have {longest} tokens, but"
            f" dataset.max_output_tokens={config.max_output_tokens}; raise it"
        )


def longest_sample(dataset: Dataset, config: DatasetConfig) -> int:
    """Return the most tokens of a prompt and its answer."""
    return int((dataset.lengths + answer_limits(dataset, config)).max())


def answer_limits(dataset: Dataset, config: DatasetConfig) -> NDArray[np.int32]:
    """Return the most tokens of each answer, shape (samples,).

    It is the length that the data prescribe, else dataset.max_output_tokens.
    """
    if dataset.output_tokens is not None:
        return dataset.output_tokens
    return np.full(len(dataset), config.max_output_tokens, np.int32)


def check_prompts(
    dataset: Dataset, config: DatasetConfig, vocab_size: int, max_model_len: int
) -> None:
    """Check that a model can take every prompt; prompts are never truncated.

    Args:
        dataset: the samples.
        config: where they came from.
        vocab_size: token ids must be below this.
        max_model_len: most tokens of a prompt and its answer.

    Raises:
        UserError: a prompt is too long, or a token id is outside the vocabulary.
    """
    answers = answer_limits(dataset, config)
    longest = int(np.argmax(dataset.lengths + answers))
    if dataset.lengths[longest] + answers[longest] > max_model_len:
        raise UserError(
            f"{_where(config)}: row {longest}: the prompt has"
            f" {dataset.lengths[longest]} tokens and its answer up to"
            f" {answers[longest]}, but model.max_model_len={max_model_len}; raise it"
        )
    outside = np.flatnonzero((dataset.tokens < 0) | (dataset.tokens >= vocab_size))
    if len(outside):
        row = int(np.searchsorted(dataset.offsets, outside[0], side="right")) - 1
        raise UserError(
            f"{_where(config)}: row {row}: token id {dataset.tokens[outside[0]]} is"
            f" outside the model's vocabulary of {vocab_size}; {_PREPARE} and the"
            " model's tokenizer"
        )


def _where(config: DatasetConfig) -> str:
    return config.path or f"dataset={config.name}"


def _read(config: DatasetConfig) -> Dataset:
    if config.path is None and config.name != "sample":
        raise UserError(
            f"dataset={config.name} needs dataset.path=FILE, the data set in MLPerf's"
            f" cnn_eval.json format; {_PREPARE}"
        )
    path = Path(config.path) if config.path else EMBEDDED
    columns = _columns(path)
    rows = len(columns.offsets) - 1
    if config.count is not None and config.count > rows > 0:
        raise UserError(
            f"dataset.count={config.count}: {_where(config)} has {rows} samples;"
            " lower it or leave it out"
        )
    offsets = columns.offsets[: config.count and config.count + 1]
    references = columns.references[: config.count]
    lengths = columns.output_tokens[: config.count]
    return Dataset(
        name=config.name,
        tokens=columns.tokens[: offsets[-1]],
        offsets=offsets,
        references=references if any(references) else [],
        output_tokens=lengths if len(lengths) and lengths[0] else None,
        sha256=columns.sha256,
    )


def _columns(path: Path) -> Columns:
    try:
        size = path.stat().st_size
        # Before reading: a file that changes meanwhile is not cached as the new state.
        place = place_of(path) if size >= _WORTH_KEEPING_BYTES else None
    except OSError:
        size, place = 0, None  # read_rows reports the reason
    except UserError:
        place = None  # without a cache the run only starts a few seconds later
    if place and (kept := place.load()):
        return kept
    if size >= _LARGE_BYTES:
        announce(f"reading {path} ({size >> 20} MiB; later runs use a cached copy)")
    rows, digest = read_rows(path)
    columns = _from_rows(rows, path, digest)
    if place:
        # A cache that cannot be written costs seconds, not the run.
        with contextlib.suppress(OSError):
            place.keep(columns)
    return columns


def _from_rows(rows: list[Row], path: Path, digest: str) -> Columns:
    offsets = np.zeros(len(rows) + 1, np.int64)
    np.cumsum([len(row.tok_input) for row in rows], out=offsets[1:])
    ids = itertools.chain.from_iterable(row.tok_input for row in rows)
    try:
        tokens = np.fromiter(ids, np.int32, count=int(offsets[-1]))
    except OverflowError as error:
        row = next(i for i, row in enumerate(rows) if not _fits(row.tok_input))
        raise UserError(
            f"{path}: row {row}: a token id does not fit 32 bits"
        ) from error
    return Columns(
        tokens=tokens,
        offsets=offsets,
        references=[row.output for row in rows],
        output_tokens=_output_tokens(rows, path),
        sha256=digest,
    )


def _output_tokens(rows: list[Row], path: Path) -> NDArray[np.int32]:
    """Return the lengths that rows prescribe; 0 in each where none does."""
    given = [row.output_tokens is not None for row in rows]
    for number, row in enumerate(rows):
        if given[number] != given[0]:
            raise UserError(
                f"{path}: row {number}: output_tokens must be in every row or in none"
            )
        if row.output_tokens is not None and not 1 <= row.output_tokens <= LONGEST:
            raise UserError(
                f"{path}: row {number}: output_tokens {row.output_tokens} is not"
                f" between 1 and {LONGEST}"
            )
    return np.array([row.output_tokens or 0 for row in rows], np.int32)


def _fits(ids: list[int]) -> bool:
    limits = np.iinfo(np.int32)
    return all(limits.min <= token <= limits.max for token in ids)


def _make_up(count: int, length: int | None) -> Dataset:
    """Return random prompts of `length`, or with lengths like those of CNN/DailyMail.

    The log-normal distribution was fitted to 1,000 tokenized validation prompts: median
    765, mean 833, 90th percentile 1,435, from 141 to 2,267 tokens.
    """
    _refuse_too_much(count, length or _MEAN_TOKENS)
    rng = np.random.default_rng(20_250_101)
    lengths = rng.lognormal(np.log(765.0), 0.47, count).clip(141, 2267).astype(int)
    if length is not None:
        lengths = np.full(count, length)
    offsets = np.zeros(count + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    tokens = rng.integers(*_MADE_UP_VOCABULARY, size=int(offsets[-1]), dtype=np.int32)
    return Dataset("synthetic", tokens, offsets, [])


def _refuse_too_much(count: int, length: int) -> None:
    needed = count * (_BYTES_PER_TOKEN * length + _BYTES_PER_SAMPLE)
    free = available_bytes()
    if free is not None and needed > free:
        raise UserError(
            f"dataset.count={count} prompts of {length} tokens need"
            f" {needed / 2**30:,.1f} GiB of memory, but {free / 2**30:,.1f} GiB are"
            " free; lower dataset.count"
        )
