"""The OpenAI completions protocol, as far as it is used: bodies, events, answers.

Field names are those of vLLM's `CompletionRequest`; SGLang and TensorRT-LLM know most
of them and ignore the rest.
"""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct
from tokenizers import Tokenizer

from sut.engines.base import EngineConfigError
from sut.wire.messages import EngineSpec

_LARGEST_EVENT = 1 << 20
"""Bytes of one event; no answer of a few hundred tokens comes near."""
PROBE = {"prompt": [10, 20, 30, 40], "max_tokens": 1, "min_tokens": 1}
"""Part of the body of a request that shows what a server's answers tell."""
_NO_TOKENS = '{"model": {"type": "WordLevel", "vocab": {"?": 0}, "unk_token": "?"}}'


class ProtocolBreach(Exception):
    """What the server sent is not an answer."""


class _Details(Struct):
    cached_tokens: int | None = None


class _Usage(Struct):
    prompt_tokens: int | None = None
    prompt_tokens_details: _Details | None = None


class _Choice(Struct):
    text: str | None = None
    token_ids: list[int] | None = None
    finish_reason: str | None = None


class _Event(Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: Any = None


_DECODER = msgspec.json.Decoder(_Event)


def completion_body(spec: EngineSpec, model: str) -> dict[str, Any]:
    """Return the body of every request but its prompt.

    Sampling is greedy. What a server would take from the checkpoint's
    `generation_config.json` instead (penalties, top_p) is given explicitly.

    Args:
        spec: lengths, stop ids, and whether answers are streamed.
        model: the name under which the server knows the model.
    """
    body: dict[str, Any] = {
        "model": model,
        "max_tokens": spec.max_tokens,
        "min_tokens": spec.min_tokens,
        "ignore_eos": spec.ignore_eos,
        "temperature": 0.0,
        "top_p": 1.0,
        "frequency_penalty": 0.0,
        "presence_penalty": 0.0,
        "repetition_penalty": 1.0,
        "skip_special_tokens": False,
        "return_token_ids": True,
        "stream": spec.streaming,
    }
    if not spec.ignore_eos:
        body["stop_token_ids"] = spec.stop_token_ids
    if spec.streaming:
        body["stream_options"] = {"include_usage": True}
    return body


def request_body(
    shared: dict[str, Any], prompt: list[int], output_tokens: int | None
) -> bytes:
    """Return the body of one request.

    Args:
        shared: what `completion_body` returned.
        prompt: token ids.
        output_tokens: tokens that the answer must have; None: it ends by itself.
    """
    body = shared | {"prompt": prompt}
    if output_tokens is not None:
        body |= {
            "max_tokens": output_tokens,
            "min_tokens": output_tokens,
            "ignore_eos": True,
            "stop_token_ids": [],
        }
    return msgspec.json.encode(body)


class Answer:
    """What has come of one answer."""

    def __init__(self, tokenizer: Tokenizer | None) -> None:
        """Begin with nothing.

        Args:
            tokenizer: turns text into ids; None: the server gives token ids.
        """
        self.finish_reason: str | None = None
        self.cached_tokens: int | None = None
        self.prompt_tokens: int | None = None
        self.has_ids = False
        """Whether token ids came."""
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._first_text = ""
        self._text: list[str] = []

    @property
    def has_begun(self) -> bool:
        """Whether a token has come; an event without one does not count."""
        return bool(self._ids or self._first_text)

    def take(self, data: bytes) -> None:
        """Take in one event, or the whole answer where it is not streamed.

        Raises:
            ProtocolBreach: it is not an event, or reports an error.
        """
        try:
            event = _DECODER.decode(data)
        except msgspec.DecodeError as error:
            raise ProtocolBreach(f"an event is broken ({error})") from error
        if event.error is not None:
            raise ProtocolBreach(f"the server reports: {error_text(data)}")
        if event.usage is not None:
            self.prompt_tokens = event.usage.prompt_tokens
            details = event.usage.prompt_tokens_details
            if details is not None:
                self.cached_tokens = details.cached_tokens
        if len(event.choices) > 1:
            raise ProtocolBreach(f"{len(event.choices)} answers to one prompt")
        for choice in event.choices:
            self._add(choice)

    def _add(self, choice: _Choice) -> None:
        self.finish_reason = choice.finish_reason or self.finish_reason
        if choice.token_ids:
            self.has_ids = True
        if self._tokenizer is None:
            if choice.text and choice.token_ids is None:
                raise ProtocolBreach("a part of an answer has no token ids")
            self._ids += choice.token_ids or []
        elif not self._first_text:
            self._first_text = choice.text or ""
        else:
            self._text.append(choice.text or "")

    def tokens(self, most: int) -> bytes:
        """Return the tokens so far as int32 ids, at most `most`.

        Where text is counted, the first event's is encoded by itself, so that an
        answer begins with the token that was reported as its first.

        Raises:
            ProtocolBreach: an id is no int32.
        """
        ids = self._ids
        if self._tokenizer is not None:
            texts = (self._first_text, "".join(self._text))
            ids = [
                token
                for text in texts
                for token in self._tokenizer.encode(text, add_special_tokens=False).ids
            ][:most]
        if len(ids) > most:
            raise ProtocolBreach(f"an answer has {len(ids)} tokens, over {most}")
        try:
            array = np.asarray(ids, "<i4")
        except OverflowError:
            raise ProtocolBreach("a token id is no int32") from None
        return array.tobytes()

    def doubt(self, prompt_tokens: int, wanted: int | None, tokens: bytes) -> str:
        """Return why a finished answer cannot count, or nothing.

        Args:
            prompt_tokens: of the prompt that was sent.
            wanted: tokens that the answer must have, where the data say so.
            tokens: of the answer, as int32 ids.
        """
        count = len(tokens) // 4
        if not count:
            return "an empty answer"
        # Counted from text, a length may differ by a few tokens.
        if wanted is not None and self._tokenizer is None and count != wanted:
            return f"the answer has {count} tokens, not {wanted} as asked"
        if self.prompt_tokens is not None and self.prompt_tokens != prompt_tokens:
            return (
                f"the server read {self.prompt_tokens} prompt tokens of {prompt_tokens}"
            )
        return ""


class EventStream:
    """Splits a body of server-sent events into the data of each."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the data of the events that end in `data`.

        Raises:
            ProtocolBreach: an event is too long.
        """
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _LARGEST_EVENT:
            raise ProtocolBreach(f"an event exceeds {_LARGEST_EVENT} bytes")
        events = []
        for line in lines:
            if not line.startswith(b"data:"):
                continue
            event = line[5:].strip()
            if event != b"[DONE]":
                events.append(event)
        return events


def error_text(data: bytes) -> str:
    """Return what an error's body says, in one line of at most 200 characters."""
    text = data.decode(errors="replace")
    try:
        body = msgspec.json.decode(data)
    except msgspec.DecodeError:
        body = None
    while isinstance(body, dict):
        body = body.get("error") or body.get("message") or body.get("detail")
        text = body if isinstance(body, str) else text
    return " ".join(text.split())[:200] or "nothing"


def probe_tokenizer() -> Tokenizer:
    """Return a tokenizer for the answer to `PROBE`, whose text does not matter."""
    return Tokenizer.from_str(_NO_TOKENS)


def load_tokenizer(folder: str, url: str) -> Tokenizer:
    """Return the tokenizer in the checkpoint `folder`, for the server at `url`.

    Raises:
        EngineConfigError: there is none, or it cannot be read.
    """
    path = Path(folder) / "tokenizer.json"
    if not folder or not path.is_file():
        raise EngineConfigError(
            f"{url} gives no token ids, and there is no {path} to count tokens with;"
            " give model.path=FOLDER with the model's tokenizer.json"
        )
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:
        raise EngineConfigError(f"{path}: not a tokenizer ({error})") from error
