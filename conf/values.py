"""Typed values of options, from the text of a command line and from YAML.

Text of an option that is a string or a path is used literally, since folders may be
called `job=12`, `run (1)` or `müller`. Only options that take any value
(`engine.options`) are read by Hydra's grammar.
"""

import types
from collections.abc import Callable
from dataclasses import Field
from enum import Enum
from pathlib import Path
from typing import Any, Union, get_args, get_origin

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from base.errors import UserError

_LEFT_OUT = "null"
_AUTO = "auto"
"""Another word for it, where a number may be left out: `cluster.replicas=auto`."""
_SWITCHES = {"true": True, "false": False}
_SWITCHES |= {"yes": True, "no": False, "on": True, "off": False}


def value_kind(hint: Any) -> tuple[Any, bool]:
    """Return the type that a field holds, and whether it can be left out."""
    if get_origin(hint) in (types.UnionType, Union):
        kinds = [kind for kind in get_args(hint) if kind is not type(None)]
        assert len(kinds) == 1
        return kinds[0], True
    return hint, False


def from_text(key: str, spec: Field[Any], hint: Any, text: str) -> Any:
    """Return the value that `key=text` gives an option.

    Args:
        key: the option's whole name, for messages.
        spec: its field, with the metadata of `conf.option`.
        hint: its type.
        text: as the user wrote it.

    Raises:
        UserError: the text is not a value of that type.
    """
    kind, optional = value_kind(hint)
    if kind is Any:
        return _from_grammar(key, text)
    if text == _AUTO and optional and kind in (int, float):
        return None
    if text == _LEFT_OUT:
        if optional:
            return None
        raise UserError(f"{key} cannot be left out{_choices_of(kind)}")
    if kind is str:
        text = _unquoted(text)
        return _expanded(key, text) if spec.metadata.get("path") else text
    if get_origin(kind) is dict:
        value = _from_grammar(key, text)
        return from_plain(key, kind, value)
    if get_origin(kind) is list:
        items = text.strip().removeprefix("[").removesuffix("]").split(",")
        return [_unquoted(item.strip()) for item in items if item.strip()]
    return _scalar(key, kind, text)


def from_plain(key: str, hint: Any, value: Any) -> Any:
    """Return a value from YAML, converted to the type `hint` of its option.

    Raises:
        UserError: the value has another type.
    """
    kind, optional = value_kind(hint)
    if kind is Any:
        return value
    if value is None:
        if optional:
            return None
        raise UserError(f"{key} cannot be left out{_choices_of(kind)}")
    if get_origin(kind) is dict:
        if not isinstance(value, dict):
            raise UserError(f"{key}: {value!r} is not a mapping {{KEY: VALUE, ...}}")
        inner = get_args(kind)[1]
        return {
            str(name): from_plain(f"{key}.{name}", inner, item)
            for name, item in value.items()
        }
    if get_origin(kind) is list:
        if not isinstance(value, list):
            raise UserError(f"{key}: {value!r} is not a list [VALUE, ...]")
        inner = get_args(kind)[0]
        return [from_plain(key, inner, item) for item in value]
    if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    if isinstance(value, list | dict):
        raise UserError(f"{key}: {value!r} is not a single value")
    if kind is str:
        return str(value)
    return _scalar(key, kind, str(value))


_SHOWN = 200
"""Most characters of a value that a message repeats."""


def _scalar(key: str, kind: Any, text: str) -> Any:
    text = _unquoted(text.strip())
    if issubclass(kind, Enum):
        if text in kind.__members__:
            return kind[text]
        names = ", ".join(kind.__members__)
        raise UserError(f"{key}: {_shown(text)!r} is not one of {names}")
    readers: dict[Any, tuple[Callable[[str], Any], str]] = {
        bool: (lambda word: _SWITCHES[word.lower()], "true or false"),
        int: (int, "a whole number"),
        float: (float, "a number"),
    }
    read, what = readers[kind]
    try:
        return read(text)
    except (KeyError, ValueError):
        raise UserError(f"{key}: {_shown(text)!r} is not {what}") from None


def _shown(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _choices_of(kind: Any) -> str:
    if isinstance(kind, type) and issubclass(kind, Enum):
        return f"; it is one of {', '.join(kind.__members__)}"
    return ""


def _from_grammar(key: str, text: str) -> Any:
    try:
        override = OverridesParser.create().parse_override(f"++{key}={text}")
    except (HydraException, RecursionError, ValueError):
        override = None  # ValueError: thousands of digits
    if override is None or override.is_sweep_override():
        raise UserError(
            f"{key}={_shown(text)}: cannot be read as a value; quote text with special"
            f" characters: {key}=\"'TEXT'\"; write a list as [1,2] and a mapping as"
            " {a: 1}"
        )
    return override.value()


def _unquoted(text: str) -> str:
    """Return `text` without the quotes around it, if there are any."""
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1].replace(f"\\{text[0]}", text[0])
    return text


def _expanded(key: str, text: str) -> str:
    """Return a path with `~` expanded, which bash does not do after `=`."""
    if not text.startswith("~"):
        return text
    try:
        return str(Path(text).expanduser())
    except RuntimeError as error:
        if text == "~" or text.startswith("~/"):
            raise UserError(
                f"{key}={text}: no home folder is known; set HOME, or write the whole"
                " path"
            ) from error
        return text
