"""Loads a model's tokenizer from its folder, for `qsl.prepare`."""

import base64
import binascii
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing

from base.errors import UserError

_LLAMA_3_RANKS = 128_000
_BEGIN = "<|begin_of_text|>"
# The ids from 128,000 on, as Llama 3.1's model card names them.
_NAMED = {
    0: _BEGIN,
    1: "<|end_of_text|>",
    4: "<|finetune_right_pad_id|>",
    6: "<|start_header_id|>",
    7: "<|end_header_id|>",
    8: "<|eom_id|>",
    9: "<|eot_id|>",
    10: "<|python_tag|>",
}
_SPECIAL_TOKENS = 256


def load_encoder(folder: Path) -> Tokenizer:
    """Return the tokenizer in `folder`, without truncation or padding.

    Reads tokenizer.json, Llama 3's tokenizer.model, or any format that transformers
    reads.

    Raises:
        UserError: no such folder, or no tokenizer in it.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give the model's tokenizer folder")
    ranks = folder / "tokenizer.model"
    try:
        if (folder / "tokenizer.json").exists():
            encoder = Tokenizer.from_file(str(folder / "tokenizer.json"))
        elif ranks.exists() and _is_tiktoken(ranks):
            encoder = _llama_3(ranks)
        else:
            encoder = _by_transformers(folder)
    except UserError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(
            f"{folder}: no readable tokenizer.json, tokenizer.model or other tokenizer:"
            f" {reason}"
        ) from error
    encoder.no_truncation()
    encoder.no_padding()
    return encoder


def load_chat(folder: Path) -> Any:
    """Return the tokenizer in `folder` as transformers loads it, for chat templates."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, local_files_only=True)


def _is_tiktoken(path: Path) -> bool:
    """Return whether each line of `path` is a token in base 64 and its rank."""
    with path.open("rb") as file:
        word, _, rank = file.readline().strip().partition(b" ")
    try:
        base64.b64decode(word, validate=True)
    except binascii.Error:
        return False
    return rank.isdigit()


def _llama_3(path: Path) -> Tokenizer:
    from transformers.convert_slow_tokenizer import TikTokenConverter

    special = _special_tokens()
    encoder: Tokenizer = TikTokenConverter(
        vocab_file=str(path), extra_special_tokens=special
    ).converted()
    if encoder.token_to_id(_BEGIN) != _LLAMA_3_RANKS:
        raise UserError(
            f"{path}: not the tokenizer of Llama 3: it has"
            f" {encoder.token_to_id(_BEGIN)} tokens without the special ones, not"
            f" {_LLAMA_3_RANKS}"
        )
    encoder.post_processor = TemplateProcessing(
        single=f"{_BEGIN} $A", special_tokens=[(_BEGIN, _LLAMA_3_RANKS)]
    )
    return encoder


def _special_tokens() -> list[str]:
    reserved = iter(range(_SPECIAL_TOKENS))
    return [
        _NAMED.get(i) or f"<|reserved_special_token_{next(reserved)}|>"
        for i in range(_SPECIAL_TOKENS)
    ]


def _by_transformers(folder: Path) -> Tokenizer:
    encoder: Tokenizer = load_chat(folder).backend_tokenizer
    return encoder
