"""Secrets in a configuration, which must not be written into records."""

import re
from collections.abc import Iterator, MutableMapping, Sequence
from copy import deepcopy
from typing import Any

from base.errors import UserError
from conf.engines import VllmConfig
from conf.schema import Config

MASK = "*** not recorded ***"
_GROUPS = ("env", "options")
"""Engine options that are mappings with names chosen by the user."""
_SECRET_WORDS = {
    *("AUTH", "CREDENTIAL", "CREDENTIALS", "KEY", "APIKEY", "PASSWD", "PASSWORD"),
    *("SECRET", "TOKEN"),
}


def is_secret(name: str) -> bool:
    """Return whether a variable or option of this name is a secret, like HF_TOKEN."""
    return not _SECRET_WORDS.isdisjoint(re.split(r"[^A-Z]+", name.upper()))


def masked(config: Config) -> Config:
    """Return a copy of `config` with `MASK` instead of each secret."""
    copy = deepcopy(config)
    for _, node, key in _secrets(copy):
        node[key] = MASK
    return copy


def masked_arguments(arguments: Sequence[str]) -> list[str]:
    """Return a command line with `MASK` instead of the value of each secret."""
    return [
        f"{text.partition('=')[0]}={MASK}" if _gives_secret(text) else text
        for text in arguments
    ]


def require_secrets(config: Config) -> None:
    """Refuse a recorded configuration whose secrets were not given again.

    Raises:
        UserError: a secret is missing; the message names all of them.
    """
    names = [name for name, node, key in _secrets(config) if node[key] == MASK]
    if names:
        raise UserError(
            f"{', '.join(names)}: secrets are not recorded; give"
            f" {'it' if len(names) == 1 else 'them'} again as OPTION=VALUE"
        )


def _secrets(config: Config) -> Iterator[tuple[str, MutableMapping[str, Any], str]]:
    """Yield the option, the mapping that contains it and the key of each secret."""
    if isinstance(config.engine, VllmConfig):
        for name in _GROUPS:
            yield from _in(f"engine.{name}", getattr(config.engine, name))


def _gives_secret(text: str) -> bool:
    name, _, value = text.partition("=")
    parts = name.lstrip("+~").split(".")
    if parts[0] != "engine" or len(parts) < 2 or parts[1] not in _GROUPS:
        return False
    # A whole group may be given at once: engine.env={HF_TOKEN: ...}
    return is_secret(parts[-1]) or (value.startswith("{") and is_secret(value))


def _in(
    prefix: str, node: MutableMapping[str, Any]
) -> Iterator[tuple[str, MutableMapping[str, Any], str]]:
    for key, value in node.items():
        if isinstance(value, MutableMapping):
            yield from _in(f"{prefix}.{key}", value)
        elif isinstance(value, str) and is_secret(key):
            yield f"{prefix}.{key}", node, key
