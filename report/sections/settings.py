"""LoadGen's settings in words: durations in s or ms, and settings that are relaxed."""

from record.structs import Json
from report.reading.run import Run
from report.statistics.numbers import MS
from report.wording import cell

_NANOSECONDS = ("ttft_latency", "tpot_latency")
"""Settings of LoadGen in ns whose names do not say so."""


def relaxed(run: Run) -> str:
    """Return the settings that differ from the rules."""
    settings = [
        f"{one.setting}: {setting(one.setting, one.value)}"
        f" (rule: {setting(one.setting, one.rule)})"
        for one in run.settings.relaxed
    ]
    return "; ".join(settings or run.verdict.relaxed)


def setting(name: str, value: Json) -> str:
    """Return the value of a LoadGen setting; a duration in s or ms."""
    nanoseconds = name in _NANOSECONDS or name.endswith("_ns")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return cell(value)
    if not nanoseconds and not name.endswith("_ms"):
        return cell(value)
    milliseconds = value / MS if nanoseconds else float(value)
    if abs(milliseconds) >= 1000 or not milliseconds:
        return f"{milliseconds / 1000:,.10g} s"
    return f"{milliseconds:,.10g} ms"
