"""Makes the runs of a search, each a process of its own."""

from collections.abc import Sequence
from dataclasses import dataclass

from base.log import logger
from campaigns.outcome import read_trial
from campaigns.progress import expect_end, left_words
from campaigns.search.forecast_search import RUNS, RunLength
from campaigns.search.run import HopelessRule, SearchRun, TimeRule, read_search_run
from campaigns.series import FinishedRun, RunSeries
from conf.engines import VllmConfig
from conf.schema import Config
from forecast.evidence import run_limits
from forecast.limits import Limits
from record.campaign import CampaignRun, Phase
from record.folder import RunFolder, read_json
from record.structs import SettingsRecord

_LOG = logger(__name__)

_PROBE_QUERIES = 512
"""For each replica; with more sequences at once than half of it, twice as many."""
_MOST_PROBE_QUERIES = 4096
_LONGEST_PROBE_S = 120.0
"""Where the length of a run is not stated in seconds."""


@dataclass(slots=True, kw_only=True)
class SearchRunner:
    """Makes the runs of a search as processes."""

    series: RunSeries
    config: Config
    size: int
    limits: Limits | None
    """None: those of the runs."""
    length: RunLength
    earlier: Sequence[CampaignRun] = ()
    """Runs of the search that was interrupted, in their order."""

    def probe(self) -> SearchRun:
        """Make the run that the model is fitted from."""
        engine = self.config.engine
        known: object = getattr(engine, "max_num_seqs", None)
        if isinstance(engine, VllmConfig):
            known = engine.options.get("max_num_seqs")
        sequences = known if isinstance(known, int) else 0
        each = max(_PROBE_QUERIES, min(_MOST_PROBE_QUERIES, 2 * sequences))
        longest_s = self.length.seconds or _LONGEST_PROBE_S
        # All at once: it arrives within a second.
        queries = each * self.size
        rule = TimeRule(longest_s)
        return self._run("search", float(queries), queries, rule)

    def confirm(self, rate: float, queries: int) -> SearchRun:
        """Make a run at `rate`."""
        limits = self.limits
        if limits is None:
            path = self.series.finished[0].folder
            limits = run_limits(read_json(RunFolder(path).settings, SettingsRecord))
        return self._run("confirm", rate, queries, HopelessRule(limits, queries))

    def _run(
        self, phase: Phase, rate: float, queries: int, rule: HopelessRule | TimeRule
    ) -> SearchRun:
        changes = [f"scenario.target_qps={rate:.6g}"]
        if phase == "search":
            changes.append("run=smoke")
        if phase == "search" or self.length.by_rules is None:
            changes.append(f"run.min_queries={queries}")
        if self.config.cluster.replicas is not None:
            changes.append(f"cluster.replicas={self.size}")
        rate = float(f"{rate:.6g}")
        begin, known = self.series.clock(), self._earlier(phase, rate, queries)
        if known is not None:
            folder, stopped = self.series.root / known.run, known.reason
            _LOG.info("== run %s is already done", known.run)
        else:
            left = self._left(rate, queries)
            self.series.announce(self.size, phase, rate, queries, progress=left)
            folder = self.series.launch(changes, self.size, rule)
            stopped = rule.reason
        made = read_search_run(folder, rate, queries, self.limits, stopped)
        seconds = self.series.clock() - begin if known is None else known.seconds
        record = CampaignRun(
            run=folder.name,
            replicas=self.size,
            phase=phase,
            rate=rate,
            queries=queries,
            seconds=round(seconds, 3),
            counts=phase == "confirm" and made.holds,
            reason=made.reason if phase == "confirm" else made.problem or made.stopped,
        )
        trial = read_trial(folder)
        self.series.add(FinishedRun(record=record, folder=folder, trial=trial))
        return made

    def _left(self, rate: float, queries: int) -> str:
        """Record and return how long the search takes at most, after its first run."""
        series = self.series
        made = len(series.finished)
        if not made:
            return f"{RUNS} runs at most"
        # A confirmation takes its arrivals, and what the probe took: start and drain.
        each = queries / rate + series.finished[0].record.seconds
        left = (RUNS - made) * each
        expect_end(series.campaign, left)
        series.save()
        return f"{RUNS - made} runs left at most{left_words(left)}"

    def _earlier(self, phase: Phase, rate: float, queries: int) -> CampaignRun | None:
        """Return the run that an interrupted search made in this place, if any."""
        number = len(self.series.finished)
        if number >= len(self.earlier):
            return None
        run = self.earlier[number]
        same = (run.phase, run.rate, run.queries) == (phase, rate, queries)
        return run if same else None
