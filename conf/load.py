"""Composes the command line into a typed `Config`; every mistake is a `UserError`.

Hydra only composes the groups (`engine=synthetic experiment=harness`) from our own
files. Types, defaults and unknown options are checked here, against `conf.schema`, and
`conf.values` reads single values. So all messages about user input are our own.
"""

import copy
import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, Field, asdict, fields, is_dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import yaml
from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from base.decode import DecodeError, load_yaml
from base.errors import UserError
from base.files import data_path
from conf import schema
from conf.clusters import ClusterConfig, ExternalConfig, RayConfig
from conf.consistency import check_effects, name_origins, place_endpoints
from conf.engines import EndpointConfig, SyntheticConfig, VllmConfig
from conf.experiment_file import OPTION, merge, read_experiment
from conf.option import range_error
from conf.secrets import masked
from conf.values import from_plain, from_text, value_kind

GROUPS = ("scenario", "model", "dataset", "engine", "cluster", "run", "experiment")
_VARIANTS: dict[str, dict[str, type]] = {
    "engine": {
        "vllm": VllmConfig,
        "synthetic": SyntheticConfig,
        "endpoint": EndpointConfig,
    },
    "cluster": {
        "local": ClusterConfig,
        "external": ExternalConfig,
        "ray": RayConfig,
    },
}
"""Groups whose choices have options of their own, by the name of the choice."""
_LARGEST_FILE = 1 << 20
Tree = dict[str, Any]


def load_config(
    overrides: Sequence[str], resolved: Path | None = None
) -> schema.Config:
    """Return the typed configuration for the command line `overrides`.

    Args:
        overrides: options, e.g. `["scenario=server", "cluster.replicas=2"]`; if one
            is given twice, the last one counts.
        resolved: the `config.yaml` of an earlier run to start from, instead of the
            defaults. Overrides then change single values, not groups.

    Raises:
        UserError: unknown key or choice, wrong type, empty or out-of-range value, or
            an option that cannot have an effect.
    """
    given = [_split(text) for text in overrides]
    groups = {key: value for key, value in given if key in GROUPS}
    file = next((text for key, text in reversed(given) if key == OPTION), None)
    values = [(key, text) for key, text in given if key not in (*GROUPS, OPTION)]
    if file is not None:
        tree = _with_experiment(file, groups, resolved)
    elif resolved is None:
        tree = copy.deepcopy(_compose(tuple(sorted(groups.items()))))
    else:
        tree = _from_file(resolved)
        for key, text in groups.items():
            raise UserError(
                f"'{key}={text}': with --config only single values can be changed"
            )
    for key, text in values:
        _set(tree, key, text)
    config: schema.Config = _build(schema.Config, tree, "")
    for key, problem in _range_errors(config):
        raise UserError(f"{key} {problem}")
    keys = {key for key, _ in values}
    check_effects(config, keys)
    place_endpoints(config)
    name_origins(config, keys, new=resolved is None)
    return config


def _with_experiment(text: str, groups: dict[str, str], resolved: Path | None) -> Tree:
    """Return the presets of `groups` and of the experiment file `text`, and its values.

    Raises:
        UserError: it is no experiment, or there is another one.
    """
    if resolved is not None or "experiment" in groups:
        other = "--config" if resolved is not None else "experiment="
        raise UserError(f"{OPTION}={text}: give either it or {other}")
    chosen, values = read_experiment(text)
    for group, name in chosen.items():
        if group not in GROUPS or group == "experiment":
            raise UserError(f"{OPTION}={text}: override /{group}: no such group")
        _check_choice(group, name)
    composed = _compose(tuple(sorted({**chosen, **groups}.items())))
    tree = copy.deepcopy(composed)
    merge(tree, values)
    return tree


def to_yaml(config: schema.Config) -> str:
    """Return the configuration as YAML, with masked secrets.

    `load_config(resolved=)` can read it.
    """
    return yaml.dump(
        _plain(asdict(masked(config))),
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
    )


def choices(group: str) -> list[str]:
    """Return the names that `group=` takes."""
    folder = data_path("conf", group)
    return sorted(path.stem for path in folder.glob("*.yaml"))


def _split(text: str) -> tuple[str, str]:
    """Return the key and the value of an option on the command line."""
    key, separator, value = text.lstrip("+").partition("=")
    if not separator or not re.fullmatch(r"[A-Za-z][\w.\-]*", key):
        plain = text.lstrip("-")
        hint = f": {plain}" if text.startswith("-") and "=" in plain else ""
        raise UserError(f"{text!a}: options are written KEY=VALUE{hint} (see --help)")
    if key.startswith("hydra"):
        raise UserError(f"{key}: options of Hydra itself are not available")
    if key in ("scenario.name", "engine.name", "cluster.name"):
        group = key.partition(".")[0]
        example = f"{group}={choices(group)[0]}"
        raise UserError(f"{key}: choose it with {group}=, e.g. {example}")
    if key in GROUPS:
        _check_choice(key, value)
    elif not value.strip() and "." in key:
        raise UserError(f"{key} is empty; write {key}=null to leave it out")
    return key, value


def _check_choice(group: str, name: str) -> None:
    names = choices(group)
    if name in names or (group == "experiment" and name == "null"):
        return
    near = difflib.get_close_matches(name, names, 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise UserError(
        f"{group}={name}: no such {group}; there is {', '.join(names)}{hint}"
    )


@cache
def _compose(groups: tuple[tuple[str, str], ...]) -> Tree:
    """Return the values that the presets of `groups` set."""
    GlobalHydra.instance().clear()
    with initialize_config_module("conf", version_base="1.3"):
        composed = compose("config", overrides=[f"{k}={v}" for k, v in groups])
    tree = OmegaConf.to_container(composed, resolve=False)
    assert isinstance(tree, dict)
    return {str(key): value for key, value in tree.items()}


class _Dumper(yaml.SafeDumper):
    """Writes repeated values in full, without YAML aliases."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def _from_file(path: Path) -> Tree:
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST_FILE + 1)
    except OSError as error:
        raise UserError(
            f"{path}: {error.strerror}; give a run's config.yaml"
        ) from error
    if len(data) > _LARGEST_FILE:
        raise UserError(f"{path}: not the config.yaml of a run (over 1 MiB)")
    try:
        tree = load_yaml(data)
    except DecodeError as error:
        raise UserError(f"{path}: {error}") from error
    if not isinstance(tree, dict):
        raise UserError(f"{path}: not the config.yaml of a run (no engine.name)")
    for group, variants in _VARIANTS.items():
        part = tree.get(group)
        name = part.get("name") if isinstance(part, dict) else None
        if not isinstance(name, str) or name not in variants:
            raise UserError(f"{path}: not the config.yaml of a run (no {group}.name)")
    return tree


def _set(tree: Tree, key: str, text: str) -> None:
    """Put the value of `key=text` into `tree`."""
    kind: Any = schema.Config
    parts = key.split(".")
    for depth, part in enumerate(parts):
        spec, hint = _field(kind, parts, depth)
        node, _ = value_kind(hint)
        if is_dataclass(node):
            kind = _variant(tree, part, node)
            tree_part = tree.setdefault(part, {})
            tree = tree_part if isinstance(tree_part, dict) else {}
            continue
        rest = parts[depth + 1 :]
        if not rest:
            tree[part] = from_text(key, spec, hint, text)
        elif get_origin(node) is dict:
            _set_item(tree, part, rest, from_text(key, spec, get_args(node)[1], text))
        else:
            whole = ".".join(parts[: depth + 1])
            raise UserError(f"{key}: no such option; {whole} is a single value")
        return
    raise UserError(
        f"{key}: name one of its options, e.g. {key}.{fields(kind)[0].name}"
    )


def _set_item(tree: Tree, part: str, rest: list[str], value: Any) -> None:
    """Put a value into a mapping, which may be nested."""
    for name in [part, *rest[:-1]]:
        if not isinstance(tree.get(name), dict):
            tree[name] = {}
        tree = tree[name]
    tree[rest[-1]] = value


def _variant(tree: Tree, group: str, node: Any) -> Any:
    part = tree.get(group)
    name = part.get("name") if isinstance(part, dict) else None
    return _VARIANTS.get(group, {}).get(str(name), node)


def _field(kind: Any, parts: list[str], depth: int) -> tuple[Field[Any], Any]:
    for spec in fields(kind):
        if spec.name == parts[depth]:
            return spec, get_type_hints(kind)[spec.name]
    raise UserError(_unknown(kind, parts[: depth + 1]))


def _unknown(kind: Any, parts: list[str]) -> str:
    name = ".".join(parts)
    for choice, other in _VARIANTS.get(parts[0], {}).items():
        if len(parts) == 2 and parts[1] in [f.name for f in fields(other)]:
            return f"{name}: only {parts[0]}={choice} has this option"
    known = [f.name for f in fields(kind)]
    near = difflib.get_close_matches(parts[-1], known, 1)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
    return f"{name}: no such option; {hint}"


def _build(kind: Any, tree: Any, prefix: str) -> Any:
    """Return the dataclass `kind` with the values of `tree`, else its defaults."""
    if not isinstance(tree, dict):
        raise UserError(f"{prefix.rstrip('.')}: not a mapping of options")
    hints = get_type_hints(kind)
    for name in tree:
        if name not in hints:
            raise UserError(_unknown(kind, [*prefix.split(".")[:-1], str(name)]))
    values = {}
    for spec in fields(kind):
        key, node = f"{prefix}{spec.name}", value_kind(hints[spec.name])[0]
        if is_dataclass(node):
            inner = _variant(tree, spec.name, node)
            values[spec.name] = _build(inner, tree.get(spec.name, {}), f"{key}.")
        elif spec.name in tree:
            values[spec.name] = from_plain(key, hints[spec.name], tree[spec.name])
        elif spec.default is MISSING and spec.default_factory is MISSING:
            raise UserError(f"{key}: no value was given")
    return kind(**values)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.name if isinstance(value, Enum) else value


def _range_errors(node: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    for spec in fields(node):
        value = getattr(node, spec.name)
        if is_dataclass(value):
            yield from _range_errors(value, f"{prefix}{spec.name}.")
        elif problem := range_error(spec, value):
            yield f"{prefix}{spec.name}", problem
