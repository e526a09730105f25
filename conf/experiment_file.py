"""Experiment files outside of the package, in the form of `conf/experiment`."""

import re
from pathlib import Path
from typing import Any

from base.decode import DecodeError, load_yaml
from base.errors import UserError

OPTION = "experiment_file"
_LARGEST_FILE = 1 << 20
Tree = dict[str, Any]


def read_experiment(text: str) -> tuple[dict[str, str], Tree]:
    """Return the groups that an experiment file chooses, and its other values.

    Args:
        text: path of the file.

    Raises:
        UserError: it cannot be read, or is no experiment.
    """
    path = Path(text).expanduser()
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST_FILE + 1)
        if len(data) > _LARGEST_FILE:
            raise UserError(f"{OPTION}={text}: not an experiment (over 1 MiB)")
        tree = load_yaml(data)
    except OSError as error:
        raise UserError(f"{OPTION}={text}: {error.strerror}") from error
    except DecodeError as error:
        raise UserError(f"{OPTION}={text}: {error}") from error
    if not isinstance(tree, dict) or not all(isinstance(key, str) for key in tree):
        raise UserError(
            f"{OPTION}={text}: not a mapping of options; see conf/experiment/*.yaml"
        )
    return _groups(text, tree.pop("defaults", [])), tree


def _groups(text: str, defaults: Any) -> dict[str, str]:
    groups = {}
    for entry in defaults if isinstance(defaults, list) else [defaults]:
        if entry == "_self_":
            continue
        pairs = list(entry.items()) if isinstance(entry, dict) else [(entry, None)]
        found = re.fullmatch(r"override\s+/([a-z]+)", str(pairs[0][0]))
        if len(pairs) != 1 or found is None or not isinstance(pairs[0][1], str):
            raise UserError(
                f"{OPTION}={text}: an entry of defaults must be"
                f" 'override /GROUP: CHOICE', e.g. 'override /engine: vllm'"
            )
        groups[found[1]] = pairs[0][1]
    return groups


def merge(tree: Tree, other: Tree) -> None:
    """Put the values of `other` into `tree`; mappings are merged."""
    for key, value in other.items():
        if isinstance(value, dict) and isinstance(tree.get(key), dict):
            merge(tree[key], value)
        else:
            tree[key] = value
