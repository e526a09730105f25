"""Reads a run folder into a `Run`."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from record.folder import RecordError, RunFolder, cut_off, read_json, read_lines
from record.loadgen_log import DetailLog, read_detail, read_trace
from record.structs import EventRecord, ReplicaRecord, SettingsRecord, Verdict
from report.reading.accuracy import read_accuracy, read_logged_answers
from report.reading.config import RunConfig, read_config
from report.reading.forecast import read_forecast
from report.reading.run import Run
from report.reading.samples import UNKNOWN, Samples, read_samples
from report.reading.telemetry import no_telemetry, read_telemetry

T = TypeVar("T")


def read_run(path: Path) -> Run:
    """Return the run in the folder `path`.

    Files that a run could not write because it died are replaced by empty values, and
    `Run.notes` names them.

    Raises:
        RecordError: the folder does not exist, a file that every run writes is missing,
            or a file is damaged.
    """
    if not path.is_dir():
        raise RecordError(path, "no such run folder")
    folder, notes = RunFolder(path), list[str]()
    if not folder.config.exists():
        raise RecordError(path, "not a run folder: it has no config.yaml")
    config = read_config(folder.config)
    verdict = _verdict(folder, notes)
    died = verdict.ended_early

    def read(file: Path, reader: Callable[[Path], T], without: T, cost: str) -> T:
        if file.exists():
            return reader(file)
        notes.append(f"{file.name} is missing: {cost}")
        return without

    def read_unless_died(
        file: Path, reader: Callable[[Path], T], without: T, cost: str
    ) -> T:
        return read(file, reader, without, cost) if died else reader(file)

    run = Run(
        name=path.resolve().name,
        path=path,
        config=config,
        verdict=verdict,
        settings=read_unless_died(
            folder.settings,
            lambda file: read_json(file, SettingsRecord),
            _no_settings(config),
            "LoadGen's settings are unknown",
        ),
        replicas=read_unless_died(
            folder.replicas,
            lambda file: read_json(file, list[ReplicaRecord]),
            [],
            "the run ended before its replicas were ready",
        ),
        samples=read_unless_died(
            folder.samples,
            read_samples,
            _no_samples(),
            "nothing was issued",
        ),
        events=read(
            folder.events,
            lambda file: list(read_lines(file, EventRecord)),
            [],
            "faults and retries are unknown",
        ),
        telemetry=read(
            folder.telemetry,
            read_telemetry,
            no_telemetry(),
            "clocks, power, memory and load over time are unknown, and causes that show"
            " in them cannot be found",
        ),
        log=read_unless_died(
            folder.detail_log,
            read_detail,
            DetailLog(),
            "LoadGen's own figures are unknown",
        ),
        trace=read_trace(folder / "mlperf_log_trace.json"),
        notes=notes,
        accuracy=read_accuracy(folder / "accuracy.json"),
    )
    run.forecast = read_forecast(folder.forecast, run.replicas)
    if not died:
        run.answers = read_logged_answers(folder.accuracy_log, run.samples)
    _note_cut_lines(folder, notes)
    _check_replicas(run, folder.samples)
    return run


def _note_cut_lines(folder: RunFolder, notes: list[str]) -> None:
    for file in (folder.samples, folder.events, folder.telemetry):
        if file.exists() and cut_off(file):
            notes.append(f"the last line of {file.name} was cut off and is ignored")


def _check_replicas(run: Run, path: Path) -> None:
    """Check that `replicas.json` lists the replica of every sample.

    Raises:
        RecordError: a sample names a replica that is not listed.
    """
    known = np.array([UNKNOWN, *run.node_of], np.int64)
    unlisted = ~np.isin(run.samples.replica, known)
    if unlisted.any():
        line = int(np.flatnonzero(unlisted)[0]) + 1
        where = "replicas.json" if run.replicas else "replicas.json, which is missing"
        raise RecordError(
            path, f"replica {run.samples.replica[line - 1]} is not in {where}", line
        )


def _verdict(folder: RunFolder, notes: list[str]) -> Verdict:
    if folder.verdict.exists():
        return read_json(folder.verdict, Verdict)
    notes.append(
        "verdict.json is missing: the run was killed before the gate judged it"
    )
    return Verdict(
        outcome="aborted",
        degraded=True,
        submission_candidate=False,
        relaxed=[],
        reason="the run was killed before the gate judged it",
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
