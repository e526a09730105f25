"""What one run of a search showed about its rate, read from its folder."""

import math
from dataclasses import dataclass
from pathlib import Path

from base.benchmark import EARLY_STOPPING_CONFIDENCE
from record.folder import RecordError, RunFolder, read_json, read_lines
from record.loadgen_log import read_detail
from record.structs import SampleRecord, SettingsRecord, Verdict
from report.statistics.rates import RATE_CHECKS
from scenarios.steady_state import Judgment, judge_samples


@dataclass(slots=True, kw_only=True)
class Trial:
    """What one run at one rate showed."""

    within_limits: bool
    """Whether LoadGen and the gate accept it: the limits were kept."""
    too_few: bool = False
    """Whether LoadGen had too few queries to judge latency."""
    stop_reason: str = ""
    """Why no other rate can help; empty where one can."""
    steady: Judgment
    """Whether its queue grew."""
    full: bool = False
    """Whether it had the length that the benchmark's rules ask for."""
    percentile: float = 0.9
    """At which latency was judged."""
    ttft_limit_s: float = 0.0
    """Limit on TTFT in s; 0: none."""

    @property
    def sustained(self) -> bool:
        """Whether the system sustains the rate, by this run."""
        if self.full and self.steady.word == "too_short":
            return self.within_limits
        return self.within_limits and self.steady.word == "steady"

    @property
    def too_short(self) -> bool:
        """Whether the run shows nothing about its rate."""
        judged = self.full or self.steady.word != "too_short"
        return self.too_few or (self.within_limits and not judged)


def read_trial(path: Path) -> Trial:
    """Return what the run in the folder `path` showed."""
    folder = RunFolder(path)
    try:
        return _read(folder)
    except RecordError as error:
        return _stopped(str(error))


def shows_rate(verdict: Verdict, *, stopped: bool = False) -> bool:
    """Return whether a run shows that its rate is, or is not, sustained.

    Such a run failed at most the checks of the gate that a lower rate can pass.

    Args:
        verdict: of the run.
        stopped: whether a run that its campaign stopped early counts.
    """
    if verdict.ended_early and not (stopped and verdict.outcome == "stopped"):
        return False
    return not {check.name for check in verdict.failures} - RATE_CHECKS


def _read(folder: RunFolder) -> Trial:
    verdict = read_json(folder.verdict, Verdict)
    failures = {check.name for check in verdict.failures}
    if not shows_rate(verdict):
        return _stopped(verdict.reason)
    settings = read_json(folder.settings, SettingsRecord)
    log = read_detail(folder.detail_log)
    percentile = settings.number("server_target_latency_percentile") or 0.0
    queries = int(log.number("result_query_count") or 0)
    few = queries < fewest_queries(percentile)
    too_few = few and log.values.get("result_perf_constraints_met") is True
    full = settings.kind == "full"
    return Trial(
        within_limits="loadgen_validity" not in failures,
        too_few=too_few,
        stop_reason=verdict.reason if too_few and full else "",
        steady=judge_samples(read_lines(folder.samples, SampleRecord)),
        full=full,
        percentile=percentile,
        ttft_limit_s=(settings.number("ttft_latency") or 0.0) / 1e9,
    )


def _stopped(reason: str) -> Trial:
    return Trial(
        within_limits=False,
        stop_reason=reason or "the run left no verdict",
        steady=Judgment(word="too_short", reason=reason),
    )


def fewest_queries(percentile: float) -> int:
    """Return how many queries LoadGen's early stopping needs if all are in time.

    Source: the binomial bound in LoadGen's early stopping, for none over the limit.

    Args:
        percentile: at which latency is judged, e.g. 0.99; 0 and 1 need none.
    """
    if not 0 < percentile < 1:
        return 0
    return math.ceil(math.log(1 - EARLY_STOPPING_CONFIDENCE) / math.log(percentile))
