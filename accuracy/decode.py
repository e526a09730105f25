"""From answer tokens to text, as the benchmark's script decodes them."""

from pathlib import Path

import msgspec
import numpy as np
from tokenizers import Tokenizer

from base.decode import DecodeError, decode_json
from base.errors import UserError
from record.errors import RecordError
from record.loadgen_log import Answer

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

    Spaces before punctuation go where the tokenizer's configuration says so, as in
    the transformers release that the benchmark pins (4.46.2); later ones leave them.

    Args:
        answers: what the model said.
        path: the model's tokenizer.json; tokenizer_config.json lies beside it.
        log: where the answers came from.

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
                f"index {answer.qsl_index}: token {position} is {outside[0]}, ids"
                f" outside {path} ({size} ids); is it the model's own?",
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
