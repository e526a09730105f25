"""How `qsl.prepare` makes a prompt of a text: template, chat template, tokenizer."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from base.errors import UserError
from qsl.cnn_eval import TEMPLATE
from qsl.tokenizer import load_chat, load_encoder

PLACE = "{input}"
_PROBE = "A text that no template has."


@dataclass(slots=True, kw_only=True)
class Prompting:
    """Makes the token ids of prompts."""

    encoder: Tokenizer
    template: str = TEMPLATE
    chat: Any = None
    """The checkpoint's tokenizer as transformers loads it; None: no chat template."""

    def text(self, article: str) -> str:
        """Return the prompt for `article`, as text."""
        prompt = self.template.replace(PLACE, article)
        if self.chat is None:
            return prompt
        message = {"role": "user", "content": prompt}
        rendered: str = self.chat.apply_chat_template(
            [message], tokenize=False, add_generation_prompt=True
        )
        return rendered

    def encode(self, articles: Sequence[str]) -> list[list[int]]:
        """Return the token ids of the prompt for each article."""
        texts = [self.text(article) for article in articles]
        # A chat template writes the special tokens itself.
        encoded = self.encoder.encode_batch(texts, add_special_tokens=self.chat is None)
        return [tokens.ids for tokens in encoded]

    @property
    def fingerprint(self) -> str:
        """Return a text that differs for each way to make a prompt."""
        chat = "" if self.chat is None else str(self.chat.chat_template)
        return self.template + chat


def load_prompting(folder: Path, template: str, *, chat: bool) -> Prompting:
    """Return how prompts for the model in `folder` are made.

    Args:
        folder: of the model's tokenizer.
        template: prompt with `{input}` where the text goes.
        chat: whether the checkpoint's chat template is put around it.

    Raises:
        UserError: the template has no place for the text; the folder has no tokenizer
            or no chat template.
    """
    if PLACE not in template:
        raise UserError(f"--prompt: no {PLACE} in it; write it where the text goes")
    encoder = load_encoder(folder)
    if not chat:
        return Prompting(encoder=encoder, template=template)
    try:
        loaded = load_chat(folder)
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{folder}: --chat-template: {reason}") from error
    if not loaded.chat_template:
        raise UserError(
            f"{folder}: the tokenizer has no chat template; leave out --chat-template"
        )
    prompting = Prompting(encoder=encoder, template=template, chat=loaded)
    try:
        rendered = prompting.text(_PROBE)
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{folder}: its chat template fails: {reason}") from error
    if _PROBE not in rendered:
        raise UserError(
            f"{folder}: its chat template leaves the user's text out; leave out"
            " --chat-template, or correct the template"
        )
    return prompting


def read_template(given: str) -> str:
    """Return a prompt template: the text itself, or `@FILE`'s.

    Raises:
        UserError: the file cannot be read.
    """
    if not given.startswith("@"):
        return given
    path = Path(given[1:])
    try:
        return path.read_text(encoding="utf-8").removesuffix("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise UserError(f"--prompt {given}: {reason}") from error
