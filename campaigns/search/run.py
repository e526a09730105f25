"""One run of a search: made as a process, stopped early where it is hopeless."""

import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from base.errors import UserError
from campaigns.outcome import fewest_queries, shows_rate
from forecast.evidence import Evidence, read_evidence
from forecast.limits import Limits, LimitState
from record.folder import RecordError, RunFolder, read_json, read_lines
from record.loadgen_log import read_detail
from record.structs import SampleRecord, SettingsRecord, Verdict
from scenarios.steady_state import Judgment, judge_samples

_NO_JUDGEMENT = Judgment(word="too_short", reason="The run was not judged.")


@dataclass(slots=True, kw_only=True)
class SearchRun:
    """What one run showed."""

    rate: float
    """`scenario.target_qps`, queries/s."""
    queries: int
    """Requested number of queries."""
    evidence: Evidence | None = None
    """None: too little was recorded to forecast from."""
    states: list[LimitState] = field(default_factory=list)
    """Of each limit, over the completed samples."""
    steady: Judgment = _NO_JUDGEMENT
    """Whether its queue grew."""
    stopped: str = ""
    """Why it was stopped early; empty: it was not."""
    problem: str = ""
    """Why no other rate can help; empty: one can."""
    full: bool = False
    """Whether it had the length that the benchmark's rules ask for."""
    valid: bool = False
    """Whether LoadGen calls it VALID."""

    @property
    def holds(self) -> bool:
        """Whether it confirms its rate.

        A run of full length that LoadGen calls VALID is never rejected.
        """
        if self.stopped or self.problem:
            return False
        if self.full and self.valid:
            return True
        return self.kept and self.steady.word == "steady"

    @property
    def kept(self) -> bool:
        """Whether it held every limit."""
        within = all(state.load <= 1 for state in self.states)
        return within and (self.valid or not self.full)

    @property
    def reason(self) -> str:
        """Why it does not confirm its rate; empty: it does."""
        if self.holds:
            return ""
        missed = [s for s in self.states if s.load > 1]
        if self.problem or self.stopped:
            return self.problem or self.stopped
        if missed:
            return "; ".join(
                f"{s.name} is {s.value:,.4g} {s.unit}, limit {s.limit:,.4g}"
                for s in missed
            )
        if self.full:
            return "LoadGen calls it INVALID"
        return self.steady.reason


def read_search_run(
    path: Path, rate: float, queries: int, limits: Limits | None, stopped: str
) -> SearchRun:
    """Return what the run in the folder `path` showed.

    Args:
        path: of the run.
        rate: `scenario.target_qps` that it was made with.
        queries: that it was made with.
        limits: of the user's own; None: those of the run.
        stopped: why it was stopped early; empty: it was not.
    """
    folder = RunFolder(path)
    made = SearchRun(rate=rate, queries=queries, stopped=stopped)
    try:
        verdict = read_json(folder.verdict, Verdict)
        settings = read_json(folder.settings, SettingsRecord)
    except RecordError as error:
        made.problem = str(error)
        return made
    made.full = settings.kind == "full"
    if not shows_rate(verdict, stopped=True):
        made.problem = verdict.reason
        return made
    if verdict.outcome == "stopped":
        made.stopped = stopped or verdict.reason
    try:
        made.evidence = read_evidence(path)
        made.steady = judge_samples(read_lines(folder.samples, SampleRecord))
        if not made.stopped:
            made.valid = (
                read_detail(folder.detail_log).values.get("result_validity") == "VALID"
            )
    except (RecordError, UserError) as error:
        if not made.stopped:
            made.problem = str(error)
        return made
    # LoadGen's early stopping asks for a margin: that is its VALID, not the limit.
    own = limits or replace(made.evidence.limits, early_stopping=False)
    made.states = own.judge(made.evidence.samples)
    return made


@dataclass(slots=True)
class HopelessRule:
    """Stops a run as soon as its limits are missed, whatever the rest of it does.

    A percentile p of n queries allows (1 - p) n of them above its limit. Once more
    than that are above it, no later query can change the result.
    """

    limits: Limits
    queries: int
    reason: str = ""
    """Why it asked to stop; empty: it did not."""
    _place: int = 0
    _over: dict[str, int] = field(default_factory=dict)

    def __call__(self, folder: Path) -> bool:
        """Return whether the run in `folder` is to be stopped."""
        for sample in self._new_samples(folder):
            self._take(sample)
        for limit in self.limits.percentiles:
            allowed = limit.over_allowed(self.queries)
            over = self._over.get(limit.name, 0)
            if over > allowed:
                self.reason = (
                    f"stopped early: {over} queries are above the limit of"
                    f" {limit.name}, and the run allows {allowed} of {self.queries:,}"
                )
                return True
        goodput = self.limits.goodput
        if goodput is not None:
            bad = self._over.get("goodput", 0)
            allowed = goodput.over_allowed(self.queries)
            if bad > allowed:
                self.reason = (
                    f"stopped early: {bad} queries missed a limit of goodput, and"
                    f" {allowed} of {self.queries:,} may"
                )
                return True
        return False

    def _take(self, sample: SampleRecord) -> None:
        if sample.completed_ns is None:
            return
        seconds = {"e2e": (sample.completed_ns - sample.issued_ns) / 1e9}
        if sample.first_token_ns is not None:
            seconds["ttft"] = (sample.first_token_ns - sample.issued_ns) / 1e9
            later = (sample.completed_ns - sample.first_token_ns) / 1e9
            if sample.output_tokens > 1:
                seconds["tpot"] = later / (sample.output_tokens - 1)
        for limit in self.limits.percentiles:
            if seconds.get(limit.metric, 0.0) > limit.seconds:
                self._over[limit.name] = self._over.get(limit.name, 0) + 1
        goodput = self.limits.goodput
        if goodput is not None and any(
            seconds.get(metric, 0.0) > most for metric, most in goodput.limits
        ):
            self._over["goodput"] = self._over.get("goodput", 0) + 1

    def _new_samples(self, folder: Path) -> list[SampleRecord]:
        try:
            with RunFolder(folder).samples.open("rb") as file:
                file.seek(self._place)
                data = file.read()
        except OSError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._place += len(whole)
        return [
            msgspec.json.decode(line, type=SampleRecord) for line in whole.splitlines()
        ]


@dataclass(slots=True)
class TimeRule:
    """Stops the probe once it has run for as long as a run of the search."""

    seconds: float
    reason: str = ""
    _began: float | None = None

    def __call__(self, folder: Path) -> bool:
        """Return whether the run in `folder` is to be stopped."""
        samples = RunFolder(folder).samples
        if self._began is None:
            if samples.exists() and samples.stat().st_size:
                self._began = time.monotonic()
            return False
        if time.monotonic() - self._began < self.seconds:
            return False
        self.reason = f"stopped after {self.seconds:.0f} s: the probe has enough steps"
        return True


def fewest_for(limits: Limits) -> int:
    """Return the fewest queries that say something about every limit."""
    shares = [limit.share for limit in limits.percentiles]
    if limits.goodput is not None:
        shares.append(limits.goodput.share)
    return max((fewest_queries(share) for share in shares), default=0)
