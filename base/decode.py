"""Decoding of bytes from outside: files, sockets, other programs.

msgspec reports most faults by its own error, but deep nesting as RecursionError,
numbers beyond its range as OverflowError and broken text as UnicodeDecodeError. YAML
adds constructors with other errors, and aliases that turn 300 bytes into gigabytes.
A reader that catches only one of these errors ends in a traceback for the others.
"""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import msgspec
import yaml

T = TypeVar("T")

YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""CSafeLoader is ten times as fast; PyYAML's wheels have it."""
_DECIMAL = re.compile(r"(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_DEEPEST_YAML = 50
"""Most levels of nesting. Configurations and requests have five."""


class DecodeError(ValueError):
    """Bytes that cannot be decoded; the message is one printable line."""

    def __init__(self, problem: object) -> None:
        """Keep the problem, which may quote the bytes, in printable form."""
        super().__init__(printable(" ".join(str(problem).split())))


def decode_json(data: bytes | str, kind: type[T]) -> T:
    """Return the JSON text `data` as a `kind`.

    Raises:
        DecodeError: the text is damaged or has another type.
    """
    return decode_with(msgspec.json.Decoder(kind), data)


def decode_with(
    decoder: "msgspec.json.Decoder[T] | msgspec.msgpack.Decoder[T]", data: bytes | str
) -> T:
    """Return `data` as `decoder` reads it.

    Raises:
        DecodeError: the data are damaged or have another type.
    """
    try:
        return decoder.decode(data)  # type: ignore[arg-type]
    except RecursionError:
        raise DecodeError("nested too deeply") from None
    except (msgspec.MsgspecError, ValueError, OverflowError) as error:
        raise DecodeError(error) from error


def decode_yaml(data: bytes, kind: type[T]) -> T:
    """Return the YAML text `data` as a `kind`; only plain YAML, see `plain_yaml`.

    Raises:
        DecodeError: the text is damaged, not plain, or has another type.
    """
    text = plain_yaml(data)
    try:
        return msgspec.yaml.decode(text, type=kind)
    except RecursionError:
        raise DecodeError("nested too deeply") from None
    except (msgspec.MsgspecError, yaml.YAMLError, ValueError, OverflowError) as error:
        raise DecodeError(error) from error


def load_yaml(data: bytes) -> Any:
    """Return the values of the YAML text `data`; only plain YAML, see `plain_yaml`.

    Raises:
        DecodeError: the text is damaged or not plain.
    """
    text = plain_yaml(data)
    try:
        return yaml.load(text, Loader=YAML_LOADER)  # noqa: S506  (a SafeLoader)
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        # Numbers of thousands of digits and dates that do not exist are ValueErrors.
        raise DecodeError(f"not YAML: {error}") from error


def plain_yaml(data: bytes) -> str:
    """Return `data` as text, after checking that it is YAML with plain values only.

    Raises:
        DecodeError: it is not YAML in UTF-8, or has aliases, tags or deep nesting; the
            message names the line.
    """
    depth = 0
    try:
        text = data.decode("utf-8-sig")
        for event in yaml.parse(text, Loader=YAML_LOADER):
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            problem = _not_plain(event)
            if depth > _DEEPEST_YAML:
                problem = "nested too deeply"
            if problem:
                line = event.start_mark.line + 1 if event.start_mark else 0
                raise DecodeError(f"line {line}: {problem}")
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DecodeError(f"not YAML: {error}") from error
    return text


def flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of nested mappings, each with its full name (`a.b.c`)."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def printable(text: str) -> str:
    """Return `text` with its control characters escaped."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )


def whole_number(text: str, most: int = 10**9) -> int | None:
    """Return the number that `text` writes in digits; None: it is none up to `most`.

    `int` takes the digits of every script, and raises an error for thousands of them.
    """
    if not (text.isascii() and text.isdecimal()):
        return None
    digits = text.lstrip("0") or "0"
    if len(digits) > len(str(most)) or int(digits) > most:
        return None
    return int(digits)


def positive_number(text: str, below: float = 1e9) -> float | None:
    """Return the decimal number in `text`; None: it is none above 0 and below `below`.

    `float` takes the digits of every script, `1_000`, `inf` and `nan`.
    """
    if not _DECIMAL.fullmatch(text):
        return None
    number = float(text)
    return number if 0 < number < below else None


def finite_number(value: object) -> float | None:
    """Return a value read from JSON as a float; None: it is no number of its range.

    JSON may contain whole numbers of any length, for which `float` raises an error.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _not_plain(event: yaml.Event) -> str | None:
    if isinstance(event, yaml.AliasEvent):
        return f"the alias *{event.anchor} is not allowed; write the value instead"
    tag = getattr(event, "tag", None)
    if tag is not None:
        return f"the tag {tag} is not allowed; write a plain value"
    return None
