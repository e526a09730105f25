"""Decoding of bytes from outside: files, sockets, other programs.

msgspec reports most faults by its own error, but deep nesting as RecursionError,
numbers beyond its range as OverflowError and broken text as UnicodeDecodeError. YAML
brings more: constructors that fail in ways of their own, and aliases that make
gigabytes out of 300 bytes. A reader that names one of these errors alone ends in a
traceback for the others.
"""

from typing import TypeVar

import msgspec
import yaml

T = TypeVar("T")

YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Ten times as fast where PyYAML was built with libyaml, as its wheels are."""
_DEEPEST_YAML = 50
"""Levels of nesting. Configurations and requests have five."""


class DecodeError(ValueError):
    """Bytes that are not what they should be; the message is one printable line."""

    def __init__(self, problem: object) -> None:
        """Say what is wrong; `problem` may quote what came."""
        super().__init__(printable(" ".join(str(problem).split())))


def decode_json(data: bytes | str, kind: type[T]) -> T:
    """Return the JSON text `data` as a `kind`.

    Raises:
        DecodeError: it is damaged or something else.
    """
    return decode_with(msgspec.json.Decoder(kind), data)


def decode_with(
    decoder: "msgspec.json.Decoder[T] | msgspec.msgpack.Decoder[T]", data: bytes | str
) -> T:
    """Return `data` as `decoder` reads it.

    Raises:
        DecodeError: it is damaged or something else.
    """
    try:
        return decoder.decode(data)  # type: ignore[arg-type]
    except RecursionError:
        raise DecodeError("nested too deeply") from None
    except (msgspec.MsgspecError, ValueError, OverflowError) as error:
        raise DecodeError(error) from error


def decode_yaml(data: bytes, kind: type[T]) -> T:
    """Return the YAML text `data`, as `plain_yaml` allows it, as a `kind`.

    Raises:
        DecodeError: it is damaged or something else.
    """
    text = plain_yaml(data)
    try:
        return msgspec.yaml.decode(text, type=kind)
    except RecursionError:
        raise DecodeError("nested too deeply") from None
    except (msgspec.MsgspecError, yaml.YAMLError, ValueError, OverflowError) as error:
        raise DecodeError(error) from error


def plain_yaml(data: bytes) -> str:
    """Return the YAML text `data`, which holds nothing but plain values.

    Raises:
        DecodeError: it is no YAML in UTF-8, or has aliases, tags or deep nesting; the
            message says in which line.
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


def printable(text: str) -> str:
    """Return a text from elsewhere with control characters written out."""
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


def _not_plain(event: yaml.Event) -> str | None:
    if isinstance(event, yaml.AliasEvent):
        return f"the alias *{event.anchor} is not read: write the value in its place"
    tag = getattr(event, "tag", None)
    if tag is not None:
        return f"the tag {tag} is not read: write a plain value"
    return None
