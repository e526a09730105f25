"""Everything that a run folder holds, read once."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np

from record.errors import RecordError
from record.folder import RunFolder, read_json
from record.lines import cut_off, read_lines
from record.loadgen_log import DetailLog, read_detail
from record.structs import (
    EventRecord,
    ReplicaRecord,
    SettingsRecord,
    Verdict,
)
from record.trace import Trace, read_trace
from report.config import RunConfig, read_config
from report.samples import UNKNOWN, Samples, join, read_samples
from report.telemetry import Telemetry, no_telemetry, read_telemetry

T = TypeVar("T")


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
    """One run, as its folder tells it."""

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
    """What the folder lacks and what that costs the report."""
    path: Path | None = None
    """Its folder; None where it has none."""

    @cached_property
    def done(self) -> Samples:
        """Samples that were answered."""
        return self.samples.where(self.samples.done)

    @cached_property
    def lost(self) -> Samples:
        """Samples that were not."""
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
        """Name of a replica's node."""
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
        """First issue."""
        return int(self.samples.issued.min()) if len(self.samples) else 0

    @cached_property
    def end_ns(self) -> int:
        """Last completion; the first issue where nothing was completed."""
        return int(self.done.completed.max()) if len(self.done) else self.begin_ns

    @cached_property
    def absences(self) -> list[Absence]:
        """When replicas were away, from leaving to coming back, in order of time."""
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
                # The fence says why the coordinator gave it up.
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
        """Samples that LoadGen says it issued; those on record where it says nothing.

        A damaged record holds fewer.
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
        """Whether LoadGen was told of first tokens."""
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
        """Completed samples / first issue to last completion; 0 where there are none.

        LoadGen's own figure where it logs one, so that one name has one number. For
        Server it logs another measure: see `completed_per_s`.
        """
        logged = self._logged("result_samples_per_second")
        return logged or self._per_s(float(len(self.done)))

    @property
    def tokens_per_s(self) -> float:
        """Output tokens of completed samples / the same seconds, likewise."""
        logged = self._logged("result_tokens_per_second")
        return logged or self._per_s(float(self.done.output_tokens.sum()))

    @property
    def completed_per_s(self) -> tuple[float, float] | None:
        """LoadGen's completed samples/s and tokens/s of Server; None: not logged.

        Their seconds end with the completion of the last issued sample.
        """
        samples = self._logged("result_completed_samples_per_sec")
        tokens = self._logged("result_completed_tokens_per_second")
        return None if samples is None or tokens is None else (samples, tokens)

    def _logged(self, key: str) -> float | None:
        """Return a rate from LoadGen's log, unless the record lacks samples of it."""
        value = self.log.values.get(key)
        whole = len(self.done) == self.issued
        return float(value) if whole and isinstance(value, int | float) else None

    def _per_s(self, work: float) -> float:
        return work / self.wall_s if self.wall_s > 0 else 0.0


def read_run(path: Path) -> Run:
    """Return the run in the folder `path`.

    What a run that died could not write is left out and told in `notes`.

    Raises:
        RecordError: there is no such folder, a file that every run writes is missing,
            or a file is damaged.
    """
    if not path.is_dir():
        raise RecordError(path, "no such run folder")
    folder, notes = RunFolder(path), list[str]()
    if not folder.config.exists():
        raise RecordError(path, "no run folder: it holds no config.yaml")
    config = read_config(folder.config)
    verdict = _verdict(folder, notes)
    died = verdict.outcome == "aborted"

    def read(file: Path, reader: Callable[[Path], T], without: T, cost: str) -> T:
        if file.exists():
            return reader(file)
        notes.append(f"{file.name} is missing: {cost}")
        return without

    def must(file: Path, reader: Callable[[Path], T], without: T, cost: str) -> T:
        return read(file, reader, without, cost) if died else reader(file)

    run = Run(
        name=path.resolve().name,
        path=path,
        config=config,
        verdict=verdict,
        settings=must(
            folder.settings,
            lambda file: read_json(file, SettingsRecord),
            _no_settings(config),
            "LoadGen's settings are not known",
        ),
        replicas=must(
            folder.replicas,
            lambda file: read_json(file, list[ReplicaRecord]),
            [],
            "the run ended before its replicas were ready",
        ),
        samples=must(
            folder.samples,
            read_samples,
            _no_samples(),
            "nothing was issued",
        ),
        events=read(
            folder.events,
            lambda file: list(read_lines(file, EventRecord)),
            [],
            "faults and retries are not known",
        ),
        telemetry=read(
            folder.telemetry,
            read_telemetry,
            no_telemetry(),
            "clocks, power, memory and load over time are not known, and causes that"
            " show there cannot be told",
        ),
        log=must(
            folder.detail_log,
            read_detail,
            DetailLog(),
            "LoadGen's own figures are not known",
        ),
        trace=read_trace(folder / "mlperf_log_trace.json"),
        notes=notes,
    )
    _note_cut(folder, notes)
    _refuse_strangers(run, folder.samples)
    return run


def _note_cut(folder: RunFolder, notes: list[str]) -> None:
    for file in (folder.samples, folder.events, folder.telemetry):
        if file.exists() and cut_off(file):
            notes.append(f"the last line of {file.name} was cut off; it is left out")


def _refuse_strangers(run: Run, path: Path) -> None:
    """Refuse samples of replicas that `replicas.json` does not list.

    Raises:
        RecordError: there is one.
    """
    known = np.array([UNKNOWN, *run.node_of], np.int64)
    strange = ~np.isin(run.samples.replica, known)
    if strange.any():
        line = int(np.flatnonzero(strange)[0]) + 1
        where = "replicas.json" if run.replicas else "replicas.json, which is missing"
        raise RecordError(
            path, f"replica {run.samples.replica[line - 1]} is not in {where}", line
        )


def _verdict(folder: RunFolder, notes: list[str]) -> Verdict:
    if folder.verdict.exists():
        return read_json(folder.verdict, Verdict)
    notes.append("verdict.json is missing: the run was killed before it was judged")
    return Verdict(
        outcome="aborted",
        degraded=True,
        submission_candidate=False,
        relaxed=[],
        reason="the run left no verdict",
    )


def _no_samples() -> Samples:
    return read_samples(Path("/dev/null"))


def _no_settings(config: RunConfig) -> SettingsRecord:
    return SettingsRecord(
        benchmark="",
        scenario=config.scenario.name,
        mode="",
        kind="",
        streaming=False,
        loadgen_model="",
        loadgen_scenario="",
        is_benchmark=False,
        stop_token_ids=[],
        tokenizer=None,
        effective={},
        rules={},
        relaxed=[],
    )
