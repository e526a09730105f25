"""Values of a configuration that must not be written into files that others read."""

import re
from collections.abc import Iterator, MutableMapping
from copy import deepcopy
from typing import Any

from base.errors import UserError
from conf.engines import VllmConfig
from conf.schema import Config

MASK = "*** not recorded ***"
_SECRET_WORDS = {
    *("AUTH", "CREDENTIAL", "CREDENTIALS", "KEY", "APIKEY", "PASSWD", "PASSWORD"),
    *("SECRET", "TOKEN"),
}


def is_secret(name: str) -> bool:
    """Whether a variable or option of this name holds a secret, as HF_TOKEN does."""
    return not _SECRET_WORDS.isdisjoint(re.split(r"[^A-Z]+", name.upper()))


def masked(config: Config) -> Config:
    """Return a copy of `config` with `MASK` instead of each secret."""
    copy = deepcopy(config)
    for _, node, key in _secrets(copy):
        node[key] = MASK
    return copy


def require_secrets(config: Config) -> None:
    """Refuse a recorded configuration whose secrets were not given again.

    Raises:
        UserError: it names them.
    """
    names = [name for name, node, key in _secrets(config) if node[key] == MASK]
    if names:
        raise UserError(
            f"{', '.join(names)}: secrets are not recorded; give"
            f" {'it' if len(names) == 1 else 'them'} again as OPTION=VALUE"
        )


def _secrets(config: Config) -> Iterator[tuple[str, MutableMapping[str, Any], str]]:
    """Yield each secret as its option, the mapping that holds it, and its key there."""
    if isinstance(config.engine, VllmConfig):
        for name in ("env", "options"):
            yield from _in(f"engine.{name}", getattr(config.engine, name))


def _in(
    prefix: str, node: MutableMapping[str, Any]
) -> Iterator[tuple[str, MutableMapping[str, Any], str]]:
    for key, value in node.items():
        if isinstance(value, MutableMapping):
            yield from _in(f"{prefix}.{key}", value)
        elif isinstance(value, str) and is_secret(key):
            yield f"{prefix}.{key}", node, key
