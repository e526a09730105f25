"""The latency limits of a run, from its `settings.json`."""

from msgspec import Struct

from record.folder import RecordError, RunFolder, read_json
from record.structs import Json, SettingsRecord


class Limits(Struct, kw_only=True):
    """Limits in s; None where the scenario has none."""

    ttft_s: float | None = None
    tpot_s: float | None = None
    percentile: float = 0.99


def read_settings(folder: RunFolder) -> SettingsRecord | None:
    """Return the settings of the run; None if there are none that can be read."""
    try:
        return read_json(folder.settings, SettingsRecord)
    except RecordError:
        return None


def limits_of(settings: SettingsRecord | None) -> Limits:
    """Return the limits that LoadGen judges by."""
    if settings is None or settings.loadgen_scenario != "Server":
        return Limits()
    effective = settings.effective
    percentile = effective.get("server_target_latency_percentile")
    return Limits(
        ttft_s=_seconds(effective.get("ttft_latency")),
        tpot_s=_seconds(effective.get("tpot_latency")),
        percentile=float(percentile) if isinstance(percentile, int | float) else 0.99,
    )


def _seconds(nanoseconds: Json) -> float | None:
    if not isinstance(nanoseconds, int | float) or nanoseconds <= 0:
        return None
    return nanoseconds / 1e9
