"""The calibration set: prompts that the model is shown, to see its activations."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from base.errors import UserError
from calibration.source import Source
from qsl.cnn_eval import FullRow, prompt, read_full_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompts:
    """The prompts to calibrate with, as token ids."""

    tokens: list[list[int]]
    rows: int
    """Rows in the file; more than there are prompts where only some are used."""
    sha256: str
    """Of the file."""


def load_prompts(
    path: Path, source: Source, encoder: Tokenizer, samples: int | None
) -> Prompts:
    """Return the first `samples` prompts of the calibration file `path`, or all.

    Raises:
        UserError: no such file, damaged, not tokenized, tokenized for another model, or
            it holds fewer samples.
    """
    rows = read_full_rows(path)
    if not rows:
        raise UserError(f"{path}: contains no samples")
    if samples is not None and not 0 < samples <= len(rows):
        raise UserError(f"--samples {samples}: {path} holds {len(rows)}")
    used = rows[:samples]
    _check(path, used, source, encoder)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Prompts(
        tokens=[row.tok_input for row in used], rows=len(rows), sha256=digest
    )


def _check(path: Path, rows: list[FullRow], source: Source, encoder: Tokenizer) -> None:
    wanted = encoder.encode_batch([prompt(row.input) for row in rows])
    for number, (row, made) in enumerate(zip(rows, wanted, strict=True)):
        if row.tok_input != made.ids:
            raise UserError(
                f"{path}: row {number}: tok_input is not what the tokenizer in"
                f" {source.path} makes of its article; make the file with `python -m"
                " qsl.prepare SOURCE TOKENIZER TARGET --calibration LIST`"
            )
        if max(row.tok_input) >= source.vocab_size:
            raise UserError(
                f"{path}: row {number}: token {max(row.tok_input)}, but the model in"
                f" {source.path} has {source.vocab_size}"
            )
        if len(row.tok_input) > source.max_tokens:
            raise UserError(
                f"{path}: row {number}: {len(row.tok_input)} tokens, but the model in"
                f" {source.path} allows {source.max_tokens}"
            )
