"""The latency limits that LoadGen judged a run by, from its `settings.json`."""

from dataclasses import dataclass

from record.structs import SettingsRecord

_PERCENTILE = 0.99
"""Of settings that do not have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyLimits:
    """Limits on TTFT and TPOT; None where the scenario has none."""

    ttft_ns: float | None = None
    tpot_ns: float | None = None
    percentile: float = _PERCENTILE
    """Of both, 0 to 1."""

    @property
    def ttft_s(self) -> float | None:
        """The limit on TTFT in s."""
        return None if self.ttft_ns is None else self.ttft_ns / 1e9

    @property
    def tpot_s(self) -> float | None:
        """The limit on TPOT in s."""
        return None if self.tpot_ns is None else self.tpot_ns / 1e9


def latency_limits(settings: SettingsRecord) -> LatencyLimits:
    """Return the limits of a run; only Server and Interactive have any."""
    percentile = _positive(settings, "server_target_latency_percentile")
    if settings.loadgen_scenario != "Server":
        return LatencyLimits(percentile=percentile or _PERCENTILE)
    return LatencyLimits(
        ttft_ns=_positive(settings, "ttft_latency"),
        tpot_ns=_positive(settings, "tpot_latency"),
        percentile=percentile or _PERCENTILE,
    )


def _positive(settings: SettingsRecord, name: str) -> float | None:
    value = settings.number(name)
    return value if value is not None and value > 0 else None
