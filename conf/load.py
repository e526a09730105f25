"""Composes the command line into a typed `Config`; every mistake is a `UserError`."""

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_module
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    OmegaConfBaseException,
)

from base.decode import DecodeError, plain_yaml
from base.errors import UserError
from conf import schema
from conf.option import range_error

GROUPS = ("scenario", "model", "dataset", "engine", "cluster", "run", "experiment")
_VARIANTS: dict[str, dict[str, type]] = {
    "engine": {"vllm": schema.VllmConfig, "synthetic": schema.SyntheticConfig},
    "cluster": {"local": schema.ClusterConfig, "external": schema.ExternalConfig},
}
"""Groups whose choices have options of their own, by the name of the choice."""
_FREE = ("engine.options", "engine.env", "engine.slowdown")
_SCHEMAS: dict[str, type] = {
    "scenario": schema.ScenarioConfig,
    "model": schema.ModelConfig,
    "dataset": schema.DatasetConfig,
    "run": schema.RunConfig,
}


def load_config(
    overrides: Sequence[str], resolved: Path | None = None
) -> schema.Config:
    """Return the typed configuration for the command line `overrides`.

    Args:
        overrides: Hydra overrides, e.g. `["scenario=server", "cluster.replicas=2"]`.
        resolved: the `config.yaml` of an earlier run to start from, instead of the
            defaults; overrides then change single values, not groups.

    Raises:
        UserError: unknown key or choice, wrong type, empty or out-of-range value.
    """
    overrides = [_normalised(text) for text in overrides]
    try:
        tree = _from_file(resolved, overrides) if resolved else _compose(overrides)
        missing = sorted(OmegaConf.missing_keys(tree))
        if missing:
            raise UserError(f"{missing[0]}: no value is given")
        config = OmegaConf.to_object(tree)
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise UserError(_one_line(error, overrides)) from error
    assert isinstance(config, schema.Config)
    for key, problem in _range_errors(config):
        raise UserError(f"{key} {problem}")
    return config


def to_yaml(config: schema.Config) -> str:
    """Return the whole configuration as YAML that `load_config(resolved=)` reads."""
    return OmegaConf.to_yaml(OmegaConf.structured(config))


def choices(group: str) -> list[str]:
    """Return the names that `group=` takes."""
    folder = Path(__file__).parent / group
    return sorted(path.stem for path in folder.glob("*.yaml"))


def _compose(overrides: Sequence[str]) -> DictConfig:
    store = ConfigStore.instance()
    store.store(name="schema", node=schema.Config)
    for group, node in _SCHEMAS.items():
        store.store(group=group, name="schema", node=node)
    for group, variants in _VARIANTS.items():
        for name, node in variants.items():
            store.store(group=group, name=f"schema_{name}", node=node)
    GlobalHydra.instance().clear()
    with initialize_config_module("conf", version_base="1.3"):
        tree = compose("config", overrides=list(overrides))
    _refuse_unknown(tree, "")
    return tree


def _normalised(text: str) -> str:
    """Return the override, with free keys (`engine.options.x`) marked as additions."""
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise UserError(f"{text!r}: holds bytes that are no UTF-8")
    key, separator, value = text.lstrip("+").partition("=")
    if not separator or not re.fullmatch(r"[A-Za-z][\w.\-]*", key):
        raise UserError(f"{text!r}: options are written KEY=VALUE (see --help)")
    if not value.strip() and key not in GROUPS and "." in key:
        raise UserError(f"{key} is empty; write {key}=null to leave it out")
    if key.startswith("hydra"):
        raise UserError(f"{key}: Hydra's own settings are not used here")
    if key in ("scenario.name", "engine.name", "cluster.name"):
        group = key.partition(".")[0]
        example = f"{group}={choices(group)[0]}"
        raise UserError(f"{key}: choose it with {group}=, e.g. {example}")
    if key.startswith(_FREE):
        return "++" + text.lstrip("+")
    return text


def _from_file(path: Path, overrides: Sequence[str]) -> DictConfig:
    try:
        given = OmegaConf.create(plain_yaml(path.read_bytes()))
    except DecodeError as error:
        raise UserError(f"{path}: {error}") from error
    except OSError as error:
        raise UserError(
            f"{path}: {error.strerror}; give a run's config.yaml"
        ) from error
    except Exception as error:
        raise UserError(f"{path}: not YAML: {error}".replace("\n", " ")) from error
    base = OmegaConf.structured(schema.Config)
    for group, variants in _VARIANTS.items():
        name = f"{group}.name"
        chosen = OmegaConf.select(given, name) if isinstance(given, DictConfig) else 0
        if chosen not in variants:
            raise UserError(f"{path}: not the config.yaml of a run (no {name})")
        base[group] = OmegaConf.structured(variants[chosen])
    for text in overrides:
        if text.split("=", 1)[0] in GROUPS:
            raise UserError(
                f"{text!r}: beside --config only single values can be changed"
            )
    changes = OmegaConf.from_dotlist([text.lstrip("+") for text in overrides])
    merged = OmegaConf.merge(base, given, changes)
    assert isinstance(merged, DictConfig)
    return merged


def _refuse_unknown(node: DictConfig, prefix: str) -> None:
    """Refuse keys that `+key=value` added to a typed node: Hydra lets them pass."""
    kind = OmegaConf.get_type(node)
    known = [f.name for f in fields(kind)] if is_dataclass(kind) else None
    for key in node:
        name = f"{prefix}{key!s}"
        if known is not None and key not in known:
            raise UserError(_unknown(name, known))
        if not OmegaConf.is_missing(node, key) and isinstance(node[key], DictConfig):
            _refuse_unknown(node[key], f"{name}.")


def _range_errors(node: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    for spec in fields(node):
        value = getattr(node, spec.name)
        if is_dataclass(value):
            yield from _range_errors(value, f"{prefix}{spec.name}.")
        elif problem := range_error(spec, value):
            yield f"{prefix}{spec.name}", problem


def _unknown(name: str, known: Sequence[str]) -> str:
    leaf = name.rsplit(".", 1)[-1]
    near = difflib.get_close_matches(leaf, known, 1)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
    return f"{name}: no such option; {hint}"


def _one_line(error: Exception, overrides: Sequence[str]) -> str:
    """Turn Hydra's or OmegaConf's several lines into one that names the option."""
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None:
        if not isinstance(cause, Exception):
            break
        chain.append(cause)
    text = "\n".join(str(link) for link in chain)
    group = re.search(r"Could not find '(\w+)/([^']*)'", text)
    if group and group[1] in GROUPS:
        names = ", ".join(choices(group[1]))
        return f"{group[1]}={group[2]}: no such {group[1]}; there is {names}"
    key = re.search(r"full_key: ([\w.\-]+)", text)
    if key is None:
        return f"{text.strip().splitlines()[0]} (in: {' '.join(overrides)})"
    if any(isinstance(link, ConfigKeyError | ConfigAttributeError) for link in chain):
        return _unknown(key[1], _siblings(key[1]))
    reasons = [link for link in chain if isinstance(link, OmegaConfBaseException)]
    return f"{key[1]}: {_readable(str(reasons[0]).splitlines()[0])}"


def _siblings(key: str) -> list[str]:
    parts = key.split(".")
    if len(parts) == 1:
        return [f.name for f in fields(schema.Config)]
    variants = _VARIANTS.get(parts[0])
    nodes = [_SCHEMAS[parts[0]]] if variants is None else list(variants.values())
    return sorted({f.name for node in nodes for f in fields(node)})


def _readable(reason: str) -> str:
    enum = re.search(r"Invalid value '(.*)', expected one of \[(.*)\]", reason)
    if enum:
        return f"{enum[1]!r} is not one of {enum[2]}"
    return reason
