"""Makes the runs of a qualification: each replica alone, then all together."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from base.errors import Aborted, ExitCode, UserError
from base.log import logger
from campaigns.progress import expect_end, left_words, time_left
from campaigns.qualify.checks import judge, suspects
from campaigns.qualify.measure import fill, odd_answers
from campaigns.qualify.options import QualifyOptions
from campaigns.qualify.peers import Yardsticks
from campaigns.qualify.record import (
    NAME,
    Phase,
    Qualification,
    QualifyRun,
    ReplicaMeasure,
)
from campaigns.series import RunSeries
from record.campaign import CampaignRun
from record.folder import write_json
from report.reading.run import Run
from report.wording import name_replicas

_LOG = logger(__name__)

_RATE_SHARE = 0.6
"""Server: rate of a replica as a share of its Offline samples/s, if none is given."""
_SERVER_S = 60.0
_FEWEST_QUERIES = 64
ANSWERS = 64
"""Prompts for each replica where answers are compared."""
_ORDERS = ("false", "true")
"""Two runs compare answers. In the second, prompts go out by length: otherwise both
runs would give a prompt to the same replica."""
TITLES: dict[Phase, str] = {
    "offline_all": "Offline, all together",
    "offline_alone": "Offline, alone on its node",
    "answers": "answers",
    "server_alone": "Server, alone on its node",
    "server_all": "Server, all together",
}


@dataclass(slots=True, kw_only=True)
class QualifyRunner:
    """Makes the runs, one after another, and writes the record after each."""

    options: QualifyOptions
    series: RunSeries
    record: Qualification
    earlier: Sequence[QualifyRun]
    """Runs of the qualification that was interrupted, in their order."""
    size: int
    """Replicas of the whole cluster."""
    rows: int
    """Of the data set."""
    alive: list[int] = field(init=False)
    """Replicas that take part in further runs."""
    nodes: dict[int, str] = field(default_factory=dict, init=False)
    """Node of each replica that was seen."""
    planned: int = field(default=0, init=False)
    """Runs that are still to be made, as far as it is known."""
    causes: set[str] = field(default_factory=set, init=False)
    """Why replicas refused the configuration."""

    def __post_init__(self) -> None:
        """Begin with all replicas."""
        self.alive = list(range(self.size))

    def make_all(self, yardsticks: Yardsticks) -> None:
        """Make all runs, and write the results into the record.

        Raises:
            UserError: a run was refused.
            Aborted: a signal came, or a run ended for a reason of its own.
        """
        self._find_replicas()
        rounds = self._rounds(self.alive)
        several = len(self.alive) > 1
        self.planned = 2 * len(rounds) + 2 * several + 1
        for members in rounds:
            self._run("offline_alone", members)
        if several:
            runs = [self._run("answers", self.alive) for _ in _ORDERS]
            odd, pairs = odd_answers([run for run in runs if run is not None])
            self.record.odd_answers, self.record.answer_pairs = odd, pairs
        self.record.rate = self.options.rate or self._rate()
        if self.record.rate is not None:
            for members in rounds:
                self._run("server_alone", members)
            self._run("server_all", self.alive)
        judge(self.record, yardsticks)
        self._confirm(yardsticks)
        self.save()

    def save(self) -> None:
        """Write the record.

        Raises:
            OSError: it cannot be written.
        """
        write_json(self.series.root / NAME, self.record)

    def _find_replicas(self) -> None:
        """Start all replicas; leave out those that cannot start, one after another."""
        while self.alive:
            run = self._run("offline_all", self.alive)
            if run is not None and not run.verdict.ended_early:
                return

    def _rounds(self, members: Sequence[int]) -> list[list[int]]:
        """Return rounds in which at most one replica of each node has work."""
        by_node: dict[str, list[int]] = {}
        for number in members:
            by_node.setdefault(self.nodes.get(number, ""), []).append(number)
        count = max(map(len, by_node.values()), default=0)
        return [
            sorted(own[place] for own in by_node.values() if place < len(own))
            for place in range(count)
        ]

    def _rate(self) -> float | None:
        """Return a Server rate that every healthy replica sustains."""
        speeds = []
        for run in self.record.of("offline_alone"):
            for measure in run.measures:
                if measure.tokens_per_s is not None and measure.tokens_per_sample:
                    speeds.append(measure.tokens_per_s / measure.tokens_per_sample)
        if not speeds:
            return None
        return float(f"{_RATE_SHARE * statistics.median(speeds):.3g}")

    def _confirm(self, yardsticks: Yardsticks) -> None:
        """Measure again what failed: the median of all its runs then counts."""
        for _ in range(self.options.confirm):
            found = suspects(self.record)
            again: list[tuple[Phase, list[int]]] = []
            for phase, members in found.items():
                own = [number for number in members if number in self.alive]
                if phase in ("offline_all", "server_all"):
                    again += [(phase, self.alive)] if own else []
                else:
                    again += [(phase, group) for group in self._rounds(own)]
            if not again:
                return
            _LOG.info("%d run(s) to confirm what failed", len(again))
            self.planned = len(again)
            for phase, members in again:
                self._run(phase, members)
            judge(self.record, yardsticks)

    def _run(self, phase: Phase, wanted: Sequence[int]) -> Run | None:
        """Make one run, or read the one that is there.

        Args:
            phase: what the run is for.
            wanted: replicas; those that were lost before are left out.

        Returns:
            The run; None: none of the replicas is left.
        """
        members = [number for number in wanted if number in self.alive]
        if not members:
            return None
        before = [r for r in self.record.of(phase) if r.members == members]
        made = QualifyRun(
            phase=phase,
            members=members,
            round=len(before),
            run="",
            seconds=0.0,
            rate=self._run_rate(phase, members),
        )
        code = self._repeat(made) or self._launch(made)
        run = self._read(made)
        self.planned = max(0, self.planned - 1)
        self.record.runs.append(made)
        self.nodes |= {m.replica: m.node for m in made.measures}
        for measure in made.measures:
            if measure.died:
                _LOG.info("   replica %d: %s", measure.replica, measure.died)
                self._leave_out(measure, code)
        self.save()
        if run.verdict.ended_early and not any(m.died for m in made.measures):
            raise Aborted(f"{made.run}: {run.verdict.reason}")
        return run

    def _leave_out(self, measure: ReplicaMeasure, code: ExitCode | int) -> None:
        """Make no more runs with a replica.

        Raises:
            UserError: a second one refuses the configuration for the same reason.
        """
        if measure.replica in self.alive:
            self.alive.remove(measure.replica)
        if code == ExitCode.BAD_INPUT:
            if measure.died in self.causes:
                raise UserError(f"several replicas refuse to start: {measure.died}")
            self.causes.add(measure.died)

    def _repeat(self, made: QualifyRun) -> ExitCode | None:
        """Take the run that an interrupted qualification made in this place."""
        number = len(self.record.runs)
        if number >= len(self.earlier):
            return None
        known = self.earlier[number]
        if (known.phase, known.members, known.rate) != (
            made.phase,
            made.members,
            made.rate,
        ):
            return None
        made.run, made.seconds = known.run, known.seconds
        _LOG.info("== run %s is already done", made.run)
        return ExitCode.NOT_GOOD

    def _launch(self, made: QualifyRun) -> int:
        """Make a run as a process; return its exit code.

        Raises:
            UserError: it was refused.
            Aborted: a signal came, or it left no folder.
        """
        self._announce(made)
        begin = self.series.clock()
        # It sees all cores: each replica has the same ones in every run.
        ended = self.series.start(self._options_of(made), self.size)
        made.seconds = round(self.series.clock() - begin, 3)
        if ended.folder is None:
            if ended.code == ExitCode.BAD_INPUT:
                raise UserError("the run was refused; see above")
            raise Aborted(
                f"the run ended with exit code {ended.code} and left no run folder"
            )
        made.run = ended.folder.name
        self.series.campaign.runs.append(
            CampaignRun(
                run=made.run,
                replicas=len(made.members),
                phase="repeat",
                rate=made.rate,
                seconds=made.seconds,
                counts=ended.code in (ExitCode.GOOD, ExitCode.NOT_GOOD),
            )
        )
        self.series.save()
        return ended.code

    def _read(self, made: QualifyRun) -> Run:
        """Add to `made` what its folder shows; return the run."""
        return fill(made, self.series.root / made.run)

    def _options_of(self, made: QualifyRun) -> list[str]:
        """Return the options of a run over those that every run has."""
        count, options = len(made.members), self.options
        server = made.phase.startswith("server")
        changes = [
            *(options.server if server else options.offline),
            "run.live=plain",
            f"scenario={'server' if server else 'offline'}",
        ]
        if count < self.size:
            changes.append(f"cluster.only=[{','.join(map(str, made.members))}]")
        if server:
            queries = options.queries or max(
                _FEWEST_QUERIES, round(_SERVER_S * (self.record.rate or 1))
            )
            changes += [
                f"scenario.target_qps={made.rate:.6g}",
                f"run.min_queries={queries * count}",
            ]
        elif made.phase == "answers":
            prompts = min(options.answers or ANSWERS * count, self.rows)
            changes += [
                "mode=accuracy",
                f"cluster.longest_first={_ORDERS[made.round % len(_ORDERS)]}",
                f"dataset.count={prompts}",
            ]
        else:
            changes.append(f"run.min_queries={options.samples * count}")
        return changes

    def _run_rate(self, phase: Phase, members: Sequence[int]) -> float | None:
        if not phase.startswith("server") or self.record.rate is None:
            return None
        return float(f"{self.record.rate * len(members):.6g}")

    def _announce(self, made: QualifyRun) -> None:
        number = len(self.record.runs) + 1
        total = f" of {number + self.planned - 1}" if self.planned else ""
        # Only the number of runs that are left is known, not their kinds.
        timed = [(run.phase, run.seconds) for run in self.record.runs if run.seconds]
        seconds = time_left(timed, [None] * self.planned) if self.planned else None
        expect_end(self.series.campaign, seconds)
        self.series.save()
        rate = f", {made.rate:.4g} queries/s" if made.rate else ""
        _LOG.info(
            "== run %d%s: %s, %s%s%s",
            number,
            total,
            TITLES[made.phase],
            name_replicas(made.members),
            rate,
            left_words(seconds),
        )
