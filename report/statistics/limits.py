"""The latency limits of Server and Interactive, and how far a run is from them."""

from dataclasses import dataclass

from base.percentiles import loadgen_percentile
from record.latency_limits import latency_limits
from report.reading.run import Run
from report.statistics.breakdown import logged_percentile
from report.statistics.numbers import known, ratio


@dataclass(slots=True)
class Limit:
    """A latency limit of Server or Interactive, with the latency of the run."""

    name: str
    percentile: float
    value_ns: float | None
    allowed_ns: float
    over: int

    @property
    def headroom_pct(self) -> float | None:
        """(allowed - value) / allowed, in percent; None if the value is unknown."""
        if self.value_ns is None:
            return None
        return ratio(100 * (self.allowed_ns - self.value_ns), self.allowed_ns)


def limits(run: Run) -> list[Limit]:
    """Return the latency limits that apply to a run (Server, Interactive)."""
    allowed_by = latency_limits(run.settings)
    share = allowed_by.percentile
    found = []
    for name, allowed, values in (
        ("TTFT", allowed_by.ttft_ns, run.done.ttft_ns),
        ("TPOT", allowed_by.tpot_ns, run.done.tpot_ns),
    ):
        if allowed is None:
            continue
        logged = logged_percentile(run, name, share)
        found.append(
            Limit(
                name=name,
                percentile=100 * share,
                value_ns=logged or loadgen_percentile(values, share),
                allowed_ns=allowed,
                over=int((known(values) > allowed).sum()),
            )
        )
    return found
