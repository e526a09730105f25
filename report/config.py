"""The part of a run's configuration that the report tells of."""

from pathlib import Path

import msgspec

from base.decode import DecodeError, decode_yaml
from record.errors import RecordError


class Named(msgspec.Struct):
    """A part of the configuration that has a name."""

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
    """What the report tells of the configuration."""

    model: ModelPart
    dataset: Named
    cluster: ClusterPart
    engine: Named = msgspec.field(default_factory=lambda: Named(name=""))
    scenario: ScenarioPart = msgspec.field(default_factory=ScenarioPart)


def read_config(path: Path) -> RunConfig:
    """Return what the report needs of the run's `config.yaml`.

    Raises:
        RecordError: the file is missing or damaged.
    """
    try:
        return decode_yaml(path.read_bytes(), RunConfig)
    except OSError as error:
        raise RecordError(path, error.strerror or str(error)) from error
    except DecodeError as error:
        raise RecordError(path, str(error)) from error
