"""A run's own records, without what is nobody's business: paths and host names."""

from pathlib import Path, PurePath

import msgspec
from omegaconf import OmegaConf

from record.folder import RunFolder, read_json, write_json, write_text
from record.json_types import Json
from submission.layout import LOADGEN_LOGS, RECORDS

_PATHS = ("model.path", "dataset.path", "run.dir", "run.user_conf", "run.audit_conf")


def publish(run: RunFolder, target: Path) -> None:
    """Copy LoadGen's logs and the run's records into the new folder `target`.

    Raises:
        OSError: a file is missing or cannot be written.
        RecordError: a record is damaged.
    """
    target.mkdir(parents=True, exist_ok=True)
    there = RunFolder(target)
    nodes = _node_names(run)
    for name in (*LOADGEN_LOGS, *RECORDS):
        write_text(there / name, _without((run / name).read_text(), nodes))
    write_text(there.config, _config(run))
    settings = read_json(run.settings, dict[str, Json])
    if settings["tokenizer"]:
        settings["tokenizer"] = PurePath(settings["tokenizer"]).name
    write_json(there.settings, settings)


def _node_names(run: RunFolder) -> dict[str, str]:
    """Return what each host is called in the tree."""
    hosts = [str(r["node"]) for r in read_json(run.replicas, list[dict[str, Json]])]
    unique = dict.fromkeys(hosts)
    return {host: f"node-{number}" for number, host in enumerate(unique, 1)}


def _without(text: str, nodes: dict[str, str]) -> str:
    """Return the text of a record with other names for the hosts."""
    for host, name in nodes.items():
        quoted = msgspec.json.encode(host).decode()
        for gap in ("", " "):
            text = text.replace(f'"node":{gap}{quoted}', f'"node":{gap}"{name}"')
    return text


def _config(run: RunFolder) -> str:
    tree = OmegaConf.load(run.config)
    for key in _PATHS:
        value = OmegaConf.select(tree, key)
        if value:
            OmegaConf.update(tree, key, PurePath(value).name)
    return OmegaConf.to_yaml(tree)
