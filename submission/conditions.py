"""What must be the same in all runs of a result."""

import hashlib
from dataclasses import asdict
from enum import Enum

import msgspec

from conf.schema import Config
from conf.secrets import masked
from record.json_types import Json

_FREE = ("mode",)
_FREE_OF_RUN = ("dir", "live", "trace", "audit_conf", "stall_timeout_s")
"""What says where a run goes or how it is watched, not how it works."""


def conditions(config: Config) -> dict[str, Json]:
    """Return all that decides how a run works, as `section.option: value`.

    Secrets are masked in it, as they are in a run's record.
    """
    tree = asdict(masked(config))
    for key in _FREE:
        del tree[key]
    for key in _FREE_OF_RUN:
        del tree["run"][key]
    return dict(_flat(tree, ""))


def digest(config: Config) -> str:
    """Return the SHA-256 of the conditions of `config`."""
    encoded = msgspec.json.encode(conditions(config), order="sorted")
    return hashlib.sha256(encoded).hexdigest()


def differences(one: dict[str, Json], other: dict[str, Json]) -> list[str]:
    """Return the names under which the two mappings differ."""
    names = sorted(one.keys() | other.keys())
    return [name for name in names if one.get(name, ...) != other.get(name, ...)]


def _flat(node: Json, name: str) -> list[tuple[str, Json]]:
    if isinstance(node, dict) and node:
        return [
            pair
            for key, value in node.items()
            for pair in _flat(value, f"{name}.{key}" if name else str(key))
        ]
    return [(name, node.value if isinstance(node, Enum) else node)]
