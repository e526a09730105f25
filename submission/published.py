"""Publishes the parts of a run's records that are known to be harmless.

A record is decoded into its struct and written again, so that unknown fields are not
published. Free text (causes of events, environment variables, engine options) is
published only if it is a plain word or number.
"""

import re
from collections.abc import Callable
from dataclasses import asdict
from enum import Enum
from pathlib import PurePath
from typing import Any

import msgspec
from omegaconf import OmegaConf

from conf.load import load_config
from conf.schema import Config
from conf.secrets import is_secret
from record.folder import RunFolder, read_json, read_lines, write_json, write_text
from record.structs import (
    ClockRecord,
    EventRecord,
    Json,
    ReplicaRecord,
    SettingsRecord,
    Verdict,
)
from submission.layout import LOADGEN_LOGS

WITHHELD = "not published"
_COPIED = (*LOADGEN_LOGS, "source.json", "user.conf")
"""Files with nothing about the host: LoadGen's files, and digests."""
_TEXTS = {
    *("model.name", "model.vocabulary", "model.dtype"),
    *("dataset.name", "dataset.vocabulary", "engine.name", "cluster.name"),
}
"""Options that are published as they are."""
_PATHS = {
    *("model.path", "dataset.path", "run.dir", "run.user_conf", "run.audit_conf"),
}
"""Options of which the last part of the path is published."""
_ENVIRONMENT = re.compile(r"(CUDA|NCCL|OMP|PYTORCH|TORCH|TOKENIZERS|VLLM)_\w+")
"""Environment variables whose plain values are published."""
_PLAIN = re.compile(r"(torch\.)?[A-Za-z][\w-]{0,39}|[+-]?\d+(\.\d+)?(e[+-]?\d+)?", re.I)
"""A word or a number, but no path, address or host name with a domain."""
_LOCATION = re.compile(r"addr|host|(^|_)ip(_|$)|node|path|proxy|ur[il]|user", re.I)
"""Names of fields that may contain a location or a user."""


def publish(run: RunFolder, target: RunFolder) -> None:
    """Write the publishable part of `run` into the new folder `target`.

    Raises:
        OSError: a file is missing or cannot be written.
        RecordError, UserError: a record is damaged.
    """
    target.path.mkdir(parents=True, exist_ok=True)
    for name in _COPIED:
        write_text(target / name, (run / name).read_text())
    write_text(target.config, _config(load_config([], run.config)))
    replicas = read_json(run.replicas, list[ReplicaRecord])
    node = _node_names([replica.node for replica in replicas])
    for replica in replicas:
        replica.node = node(replica.node)
        replica.engine = _plain(replica.engine)
        replica.model = _plain(replica.model)
    write_json(target.replicas, replicas)
    settings = read_json(run.settings, SettingsRecord)
    if settings.tokenizer:
        settings.tokenizer = PurePath(settings.tokenizer).name
    write_json(target.settings, settings)
    verdict = read_json(run.verdict, Verdict)
    verdict.reason = WITHHELD if verdict.reason else ""
    for check in verdict.checks:
        check.note = WITHHELD if check.note else ""
        check.limit, check.value = _plain(check.limit), _plain(check.value)
    write_json(target.verdict, verdict)
    if run.clock.exists():
        write_json(target.clock, read_json(run.clock, ClockRecord))
    events: list[EventRecord] = list(read_lines(run.events, EventRecord))
    for event in events:
        event.node = None if event.node is None else node(event.node)
        event.cause = WITHHELD
    encoded = [msgspec.json.encode(event).decode() for event in events]
    write_text(target.events, "".join(f"{line}\n" for line in encoded))


def _node_names(hosts: list[str]) -> Callable[[str], str]:
    """Return a function from a host's name to its name in the tree."""
    names = {host: f"node-{n}" for n, host in enumerate(dict.fromkeys(hosts), 1)}
    return lambda host: names.get(host, WITHHELD)


def _config(config: Config) -> str:
    tree = {name: _published(name, value) for name, value in asdict(config).items()}
    return OmegaConf.to_yaml(OmegaConf.create(tree))


def _published(name: str, value: Any) -> Json:
    if isinstance(value, Enum):
        return value.value
    if name == "engine.options":
        return _plain(value)
    if name == "engine.env":
        return {
            key: _plain(item, key) if _ENVIRONMENT.fullmatch(key) else WITHHELD
            for key, item in value.items()
        }
    if isinstance(value, dict):
        return {key: _published(f"{name}.{key}", item) for key, item in value.items()}
    if not isinstance(value, str) or name in _TEXTS:
        return value
    return PurePath(value).name if name in _PATHS else WITHHELD


def _plain(value: Json, name: str = "") -> Json:
    """Return `value`, in which text that is not a plain word is withheld."""
    if isinstance(value, dict):
        return {key: _plain(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item, name) for item in value]
    if not isinstance(value, str):
        return value
    private = is_secret(name) or _LOCATION.search(name)
    return value if _PLAIN.fullmatch(value) and not private else WITHHELD
