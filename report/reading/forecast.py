"""The part of `forecast.json` that the report shows: the rate that a run had held."""

from pathlib import Path

from msgspec import Struct, field

from record.folder import read_json
from record.structs import ReplicaRecord

_ENGINE = ("max_num_seqs", "max_num_batched_tokens")


class ForecastRate(Struct, kw_only=True):
    """A rate in queries/s with its 90% interval."""

    value: float
    low: float
    high: float


class ForecastFile(Struct, kw_only=True):
    """The part of `forecast.json` that the report uses."""

    replicas: int = 0
    max_num_seqs: int = 0
    max_num_batched_tokens: int = 0
    highest_rate: ForecastRate | None = None
    beyond: list[str] = field(default_factory=list)

    def describes(self, replicas: list[ReplicaRecord]) -> bool:
        """Whether it is of a run with these replicas, not of other settings."""
        return len(replicas) == self.replicas and all(
            record.engine.get(name, getattr(self, name)) == getattr(self, name)
            for record in replicas
            for name in _ENGINE
        )


def read_forecast(path: Path, replicas: list[ReplicaRecord]) -> ForecastRate | None:
    """Return the highest rate that a run would have held, as it was forecast.

    None if nothing was forecast, if the forecast is of other settings, or if its steps
    are beyond those that were recorded.

    Args:
        path: `forecast.json`.
        replicas: of the run.

    Raises:
        RecordError: the file is damaged.
    """
    if not path.exists():
        return None
    found = read_json(path, ForecastFile)
    if found.beyond or not found.describes(replicas):
        return None
    return found.highest_rate
