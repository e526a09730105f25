"""The part of a run's configuration that the report uses."""

from pathlib import Path

import msgspec

from base.decode import flat
from record.folder import read_yaml
from record.structs import Json

_SAME = (
    "benchmark",
    "mode",
    "model",
    "dataset",
    "engine",
    "scenario.name",
    "cluster.balancer",
    "cluster.longest_first",
    "cluster.gpus_per_replica",
    "run.kind",
    "run.ttft_ms",
    "run.tpot_ms",
    "run.latency_percentile",
)
"""Options, or groups of options, that must be equal in runs that are compared."""
MAY_DIFFER = "replicas, arrival rate, number of queries, nodes, timeouts and output"
"""What may differ, for messages."""


class Named(msgspec.Struct):
    """A part of the configuration that has a name and a path."""

    name: str
    path: str | None = None


class ModelPart(msgspec.Struct):
    """The part of the configuration about the model."""

    name: str
    path: str | None = None
    weights: str = ""
    dtype: str = ""


class ClusterPart(msgspec.Struct):
    """The part of the configuration about the cluster."""

    balancer: str | None
    longest_first: bool = False


class ScenarioPart(msgspec.Struct):
    """The part of the configuration about the scenario."""

    name: str = ""
    target_qps: float | None = None


class RunConfig(msgspec.Struct):
    """The parts of the configuration that the report uses."""

    model: ModelPart
    dataset: Named
    cluster: ClusterPart
    engine: Named = msgspec.field(default_factory=lambda: Named(name=""))
    scenario: ScenarioPart = msgspec.field(default_factory=ScenarioPart)
    options: dict[str, Json] = msgspec.field(default_factory=dict)
    """Every option by its full name, e.g. engine.step_s."""


def differences(one: RunConfig, other: RunConfig) -> list[str]:
    """Return options that must be equal and differ, e.g. `engine.step_s: 1, 2`."""
    names = sorted(one.options.keys() | other.options.keys())
    return [
        f"{name}: {one.options.get(name)}, {other.options.get(name)}"
        for name in names
        if any(name == same or name.startswith(f"{same}.") for same in _SAME)
        and one.options.get(name) != other.options.get(name)
    ]


def read_config(path: Path) -> RunConfig:
    """Return the parts of the run's `config.yaml` that the report uses.

    Raises:
        RecordError: the file is missing or damaged.
    """
    config = read_yaml(path, RunConfig)
    config.options = dict(flat(read_yaml(path, dict[str, Json])))
    return config
