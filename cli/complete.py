"""Completes the options of a run on the command line: `engine=vl` to `engine=vllm`."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, get_args, get_type_hints

from conf import schema
from conf.engines import EndpointConfig, SyntheticConfig, VllmConfig
from conf.load import GROUPS, choices


def completions(incomplete: str) -> list[str]:
    """Return the options that begin with `incomplete`, sorted.

    Options that the shell may go on with end in `=`; where the value is one of a few,
    each is offered.
    """
    return sorted({text for text in _candidates() if text.startswith(incomplete)})


def _candidates() -> Iterator[str]:
    yield from ("--help", "--version", "--config", "--dry-run")
    for group in GROUPS:
        yield from (f"{group}={name}" for name in choices(group))
    yield from _options(schema.Config, "")
    for engine in (VllmConfig, SyntheticConfig, EndpointConfig):
        yield from _options(engine, "engine.")
    for cluster in (schema.ExternalConfig, schema.RayConfig):
        yield from _options(cluster, "cluster.")


def _options(node: Any, prefix: str) -> Iterator[str]:
    hints = get_type_hints(node)
    for spec in fields(node):
        kind = hints[spec.name]
        if is_dataclass(kind):
            yield from _options(kind, f"{prefix}{spec.name}.")
            continue
        values = list(_values(kind))
        yield from (f"{prefix}{spec.name}={value}" for value in values or [""])


def _values(kind: Any) -> Iterator[str]:
    for part in get_args(kind) or (kind,):
        if isinstance(part, type) and issubclass(part, Enum):
            yield from (str(member.value) for member in part)
        elif part is bool:
            yield from ("true", "false")
