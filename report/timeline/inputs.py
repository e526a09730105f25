"""Takes what the analysis of time needs from a run as it was recorded."""

import numpy as np

from record.folder import RecordError, RunFolder
from record.latency_limits import latency_limits
from record.steps import read_steps
from report.reading.run import Run
from report.reading.samples import UNKNOWN, FloatArray, IntArray
from report.reading.telemetry import COORDINATOR
from report.reading.telemetry import Readings as Lines
from report.timeline.grid import Readings
from report.timeline.series import GAUGES, Absence, Inputs, Requests
from report.timeline.steps import StepRecords

_PROCESSOR = "cpu"
"""Name of the device of an engine that uses no GPU."""


def inputs_of(run: Run) -> Inputs:
    """Return a run as the analysis of time reads it."""
    numbers = [record.replica for record in run.replicas]
    samples = run.samples
    begin = run.begin_ns
    completed = np.where(samples.done, samples.completed, UNKNOWN)
    done_s = _seconds(completed, begin)
    first_s = _seconds(samples.first_token, begin)
    streamed = bool((~np.isnan(first_s)).any())
    if not streamed:
        first_s = done_s - samples.decode / 1e9
    scenario = run.settings.loadgen_scenario
    limits = latency_limits(run.settings)
    return Inputs(
        requests=Requests(
            replica=_index(samples.replica, numbers),
            arrived=_seconds(samples.issued, begin),
            first=first_s,
            completed=done_s,
            prompt_tokens=samples.prompt_tokens,
            output_tokens=samples.output_tokens,
            outside=samples.overhead_ns / 1e9,
        ),
        names=[f"replica {number}" for number in numbers],
        host=np.array([run.nodes.index(run.node_of[n]) for n in numbers], np.int64),
        hosts=run.nodes,
        readings=_readings(run, numbers),
        steps=_steps(run, numbers),
        absences=[
            Absence(
                replica=numbers.index(one.replica),
                begin_s=(max(one.begin_ns, begin) - begin) / 1e9,
                # A replica may be lost after the last completion.
                end_s=(max(one.begin_ns, one.end_ns or run.end_ns, begin) - begin)
                / 1e9,
                cause=one.cause,
            )
            for one in run.absences
            if one.replica in numbers and (one.end_ns or run.end_ns) > begin
        ],
        poisson=scenario == "Server",
        streamed=streamed,
        ttft_limit_s=limits.ttft_s,
        tpot_limit_s=limits.tpot_s,
        percentile=limits.percentile,
        asked_per_s=run.config.scenario.target_qps,
        forecast_per_s=None
        if run.forecast is None
        else (run.forecast.value, run.forecast.low, run.forecast.high),
    )


def _steps(run: Run, numbers: list[int]) -> StepRecords | None:
    """Return the step records; None where the run has none.

    Damaged ones are not used, and `Run.notes` says so: the rest of the report does not
    need them.
    """
    file = None if run.path is None else RunFolder(run.path).steps
    if file is None or not file.exists() or not file.stat().st_size:
        return None
    try:
        records = read_steps(file)
    except RecordError as error:
        problem = str(error).removeprefix(f"{file}: ")
        note = f"{file.name} is not used: {problem}"
        if note not in run.notes:
            run.notes.append(note)
        return None
    return StepRecords(records=records, begin_ns=run.begin_ns, numbers=numbers)


def _readings(run: Run, numbers: list[int]) -> dict[str, Readings]:
    """Return the telemetry by measure.

    The share of the host's processors is a figure of the host, written with the
    coordinator's lines and with each replica's.
    """
    found: dict[str, Readings] = {}
    telemetry = run.measured
    for lines in (telemetry.engines, telemetry.devices, telemetry.hosts):
        for name in (*GAUGES, "throttle_reasons"):
            if name in lines.values:
                one = _reading(lines, name, run.begin_ns, numbers)
                if not np.isnan(one.value).all():
                    found[name] = one
    return found


def _reading(lines: Lines, name: str, begin: int, numbers: list[int]) -> Readings:
    """Return the readings of a measure.

    The utilization of a processor that takes the place of a GPU is left out: its idle
    time says nothing of a host that is late.
    """
    owned = lines.replica != COORDINATOR
    if name == "utilization_pct":
        owned &= np.array([device != _PROCESSOR for device in lines.device], bool)
    return Readings(
        t_s=_seconds(lines.t_ns[owned], begin),
        replica=_index(lines.replica[owned], numbers),
        value=lines.values[name][owned],
    )


def _index(replica: IntArray, numbers: list[int]) -> IntArray:
    """Return the place of each replica's number in `numbers`; -1 where it is not."""
    if not numbers:
        return np.full(len(replica), -1, np.int64)
    known = np.array(numbers)
    order = np.argsort(known)
    place = np.minimum(np.searchsorted(known[order], replica), len(known) - 1)
    found = order[place]
    return np.where(known[found] == replica, found, -1).astype(np.int64)


def _seconds(t_ns: IntArray, begin: int) -> FloatArray:
    return np.where(t_ns == UNKNOWN, np.nan, (t_ns - begin) / 1e9)
