"""The latency limits that LoadGen judged a run by, from its `settings.json`."""

from collections.abc import Mapping
from dataclasses import dataclass

from base.decode import finite_number
from record.structs import Json, SettingsRecord

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

    @property
    def ttft_ms(self) -> float | None:
        """The limit on TTFT in ms."""
        return None if self.ttft_ns is None else self.ttft_ns / 1e6

    @property
    def tpot_ms(self) -> float | None:
        """The limit on TPOT in ms."""
        return None if self.tpot_ns is None else self.tpot_ns / 1e6


def latency_limits(settings: SettingsRecord) -> LatencyLimits:
    """Return the limits of a run; only Server and Interactive have any."""
    limits = limits_of(settings.effective)
    if settings.loadgen_scenario != "Server":
        return LatencyLimits(percentile=limits.percentile)
    return limits


def limits_of(settings: Mapping[str, Json]) -> LatencyLimits:
    """Return the limits in LoadGen's settings, by name of the TestSettings attribute.

    Args:
        settings: latencies in ns, the percentile as a fraction.
    """
    percentile = _positive(settings.get("server_target_latency_percentile"))
    return LatencyLimits(
        ttft_ns=_positive(settings.get("ttft_latency")),
        tpot_ns=_positive(settings.get("tpot_latency")),
        percentile=percentile or _PERCENTILE,
    )


def _positive(value: Json) -> float | None:
    number = finite_number(value)
    return number if number is not None and number > 0 else None
