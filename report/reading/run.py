"""Everything that a run folder holds, read once."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from base.answer_pairs import ReplicaAnswer
from record.loadgen_log import DetailLog, Trace
from record.structs import (
    EventRecord,
    ReplicaRecord,
    SettingsRecord,
    Verdict,
)
from report.reading.accuracy import AccuracyFile
from report.reading.config import RunConfig
from report.reading.forecast import ForecastRate
from report.reading.samples import Samples, join
from report.reading.telemetry import Telemetry


@dataclass(slots=True, kw_only=True)
class Absence:
    """A span of time in which a replica was not part of the run."""

    replica: int
    node: str | None
    begin_ns: int
    end_ns: int | None
    """When it came back; None: it did not."""
    cause: str


@dataclass(kw_only=True)
class Run:
    """One run, as its folder records it."""

    name: str
    config: RunConfig
    settings: SettingsRecord
    verdict: Verdict
    replicas: list[ReplicaRecord]
    samples: Samples
    events: list[EventRecord]
    telemetry: Telemetry
    log: DetailLog
    trace: Trace | None
    notes: list[str] = field(default_factory=list)
    """What the folder lacks, and what the report cannot show because of that."""
    path: Path | None = None
    """Its folder; None where it has none."""
    accuracy: AccuracyFile | None = None
    """Its scores; None if it was not scored."""
    answers: list[ReplicaAnswer] = field(default_factory=list)
    """Answers in LoadGen's accuracy log, by its replicas' numbers."""
    forecast: ForecastRate | None = None
    """Highest rate that it would have held, by `forecast.json`; None: not forecast."""

    @cached_property
    def done(self) -> Samples:
        """Completed samples."""
        return self.samples.where(self.samples.done)

    @cached_property
    def lost(self) -> Samples:
        """Lost samples."""
        return self.samples.where(~self.samples.done)

    @property
    def size(self) -> int:
        """Number of replicas."""
        return len(self.replicas)

    @cached_property
    def nodes(self) -> list[str]:
        """Names of the nodes, in order of their first replica."""
        return list(dict.fromkeys(record.node for record in self.replicas))

    @cached_property
    def node_of(self) -> dict[int, str]:
        """Name of the node of each replica."""
        return {record.replica: record.node for record in self.replicas}

    @cached_property
    def by_replica(self) -> dict[int, Samples]:
        """Completed samples of each replica."""
        order = np.argsort(self.done.replica, kind="stable")
        ordered = self.done.where(order)
        numbers = [record.replica for record in self.replicas]
        begins = np.searchsorted(ordered.replica, numbers)
        ends = np.searchsorted(ordered.replica, numbers, side="right")
        return {
            number: ordered.where(np.arange(begin, end))
            for number, begin, end in zip(numbers, begins, ends, strict=True)
        }

    @cached_property
    def by_node(self) -> dict[str, Samples]:
        """Completed samples of each node."""
        parts: dict[str, list[Samples]] = {node: [] for node in self.nodes}
        for number, own in self.by_replica.items():
            parts[self.node_of[number]].append(own)
        return {node: join(own) for node, own in parts.items()}

    @cached_property
    def begin_ns(self) -> int:
        """Time of the first issue; 0 without samples."""
        return int(self.samples.issued.min()) if len(self.samples) else 0

    @cached_property
    def end_ns(self) -> int:
        """Time of the last completion; of the first issue if nothing was completed."""
        return int(self.done.completed.max()) if len(self.done) else self.begin_ns

    @cached_property
    def absences(self) -> list[Absence]:
        """Spans in which replicas were away from the run, ordered by their start."""
        found: list[Absence] = []
        away: dict[int, Absence] = {}
        for event in sorted(self.events, key=lambda event: event.t_ns):
            if event.replica is None:
                continue
            known = away.get(event.replica)
            if event.kind == "rejoin" and known is not None:
                known.end_ns = event.t_ns
                del away[event.replica]
            elif event.kind in ("fence", "death") and known is None:
                away[event.replica] = Absence(
                    replica=event.replica,
                    node=event.node,
                    begin_ns=event.t_ns,
                    end_ns=None,
                    cause=event.cause,
                )
                found.append(away[event.replica])
            elif event.kind == "fence" and known is not None:
                # The fence records why the coordinator gave the replica up.
                known.cause = event.cause or known.cause
        return found

    @cached_property
    def gone(self) -> set[int]:
        """Replicas that left the run and did not come back."""
        return {one.replica for one in self.absences if one.end_ns is None}

    def away(self, replica: int) -> list[tuple[int, int]]:
        """Return the spans in ns, within the run, in which a replica was away."""
        spans = [
            (
                max(one.begin_ns, self.begin_ns),
                self.end_ns if one.end_ns is None else min(one.end_ns, self.end_ns),
            )
            for one in self.absences
            if one.replica == replica
        ]
        return [(begin, end) for begin, end in spans if end > begin]

    def present_s(self, replica: int) -> float:
        """Return the seconds of the run in which a replica was part of it."""
        away = sum(end - begin for begin, end in self.away(replica))
        return max(0.0, self.wall_s - away / 1e9)

    @cached_property
    def issued(self) -> int:
        """Number of samples that LoadGen logged as issued; else the number recorded.

        A damaged record holds fewer samples than LoadGen issued.
        """
        queries = self.log.values.get("result_query_count")
        if not isinstance(queries, int):
            return len(self.samples)
        each = self.log.values.get("generated_samples_per_query", 1)
        return max(len(self.samples), queries * int(each))

    @property
    def wall_s(self) -> float:
        """Seconds from the first issue to the last completion."""
        return (self.end_ns - self.begin_ns) / 1e9

    @property
    def streaming(self) -> bool:
        """Whether first tokens were reported to LoadGen."""
        return self.settings.streaming

    @property
    def offline(self) -> bool:
        """Whether all samples were issued at once."""
        return self.settings.loadgen_scenario == "Offline"

    @cached_property
    def measured(self) -> Telemetry:
        """Telemetry between the first issue and the last completion."""
        return self.telemetry.during(self.begin_ns, self.end_ns)

    @property
    def samples_per_s(self) -> float:
        """Completed samples / seconds from first issue to last completion.

        0 if no sample completed. The value is LoadGen's own where LoadGen logs it, so
        that one name has one number. For Server LoadGen logs another measure: see
        `completed_per_s`.
        """
        logged = self._logged("result_samples_per_second")
        return logged or self._per_s(float(len(self.done)))

    @property
    def tokens_per_s(self) -> float:
        """Output tokens of completed samples / the same seconds, as above."""
        logged = self._logged("result_tokens_per_second")
        return logged or self._per_s(float(self.done.output_tokens.sum()))

    @property
    def completed_per_s(self) -> tuple[float, float] | None:
        """LoadGen's completed samples/s and tokens/s of Server; None: not logged.

        Their time ends with the completion of the last issued sample.
        """
        samples = self._logged("result_completed_samples_per_sec")
        tokens = self._logged("result_completed_tokens_per_second")
        return None if samples is None or tokens is None else (samples, tokens)

    def _logged(self, key: str) -> float | None:
        """Return a rate from LoadGen's log; None if the record lacks samples."""
        return self.log.number(key) if len(self.done) == self.issued else None

    def _per_s(self, work: float) -> float:
        return work / self.wall_s if self.wall_s > 0 else 0.0
