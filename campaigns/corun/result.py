"""Writes `corun.json` and `corun.md`: each workload alone against together."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from base.benchmark import ScenarioName
from base.log import logger
from campaigns.corun.competition import competition
from campaigns.corun.plan import configurations
from campaigns.corun.record import (
    NAME,
    Corun,
    CorunRun,
    Measured,
    Workload,
    WorkloadResult,
)
from campaigns.corun.signals import (
    RunData,
    Signals,
    figures,
    read_run_data,
    read_signals,
)
from campaigns.output import Summary
from record.campaign import Status
from record.folder import RecordError, write_json, write_text
from record.structs import Json
from report.compare.ratios import paired
from report.rendering.words import markdown
from report.wording import sentence

_LOG = logger(__name__)
_WORSE = 0.95
"""With a single round, a ratio below this (or above its inverse) is a slowdown."""
_LABELS = {
    "tokens_per_s": ("Output tokens/s", "tokens/s", True),
    "ttft_ms_p50": ("TTFT p50", "ms", False),
    "ttft_ms_p99": ("TTFT p99", "ms", False),
    "tpot_ms_p50": ("TPOT p50", "ms", False),
    "tpot_ms_p99": ("TPOT p99", "ms", False),
    "latency_ms_p50": ("latency p50", "ms", False),
    "latency_ms_p99": ("latency p99", "ms", False),
}


@dataclass(slots=True, kw_only=True)
class _Side:
    """One run of a pair: its figures and signals in the common window."""

    figures: dict[str, float]
    signals: Signals


@dataclass(slots=True, kw_only=True)
class _Round:
    window_s: float
    alone: dict[str, _Side]
    together: dict[str, _Side]


def write_results(root: Path, corun: Corun) -> str:
    """Compare what was measured, write both files, and return the text to print.

    Raises:
        OSError: they cannot be written.
    """
    streamed = {
        name: config.scenario.name is not ScenarioName.offline
        for name, config in configurations(corun).items()
    }
    rounds = list(_rounds(root, corun, streamed))
    corun.results = [_result(corun, w, rounds) for w in corun.workloads]
    write_json(root / NAME, corun)
    text = "\n".join(_page(corun)) + "\n"
    write_text(root / "corun.md", text)
    return text


def summary(root: Path, corun: Corun, status: Status) -> Summary:
    """Return the result for `--json`: a row for each figure of each workload."""
    columns = ("workload", "figure", "unit", "alone", "together", "ratio", "low")
    rows: list[dict[str, Json]] = [
        {
            "workload": result.workload,
            "figure": one.name,
            "unit": one.unit,
            "alone": one.alone,
            "together": one.together,
            "ratio": one.ratio,
            "low": one.low,
            "high": one.high,
        }
        for result in corun.results
        for one in result.measures
    ]
    return Summary(
        campaign="corun",
        status=status,
        conclusion=" ".join(
            f"{r.workload}: {r.note}." for r in corun.results if r.note
        ),
        folder=str(root),
        report=str(root / "corun.md"),
        columns={name: name for name in (*columns, "high")},
        rows=rows,
    )


def _rounds(root: Path, corun: Corun, streamed: dict[str, bool]) -> Iterator[_Round]:
    """Yield the rounds of which every run was measured."""
    names = [workload.name for workload in corun.workloads]
    for number in range(corun.repeats):
        runs = [run for run in corun.runs if run.round == number and run.measured]
        data: dict[tuple[str, bool], RunData] = {}
        for run in runs:
            if (found := _read(root, run)) is not None:
                data[run.workload, run.together] = found
        if len(data) < 2 * len(names):
            continue
        # From the common start to the first end: later the others are not there.
        window = min(data[name, True].length_s for name in names)
        try:
            sides = {
                key: _side(one, min(window, one.length_s), streamed[key[0]])
                for key, one in data.items()
            }
        except RecordError as error:
            _LOG.warning("round %d is left out: %s", number + 1, error)
            continue
        yield _Round(
            window_s=window,
            alone={name: sides[name, False] for name in names},
            together={name: sides[name, True] for name in names},
        )


def _read(root: Path, run: CorunRun) -> RunData | None:
    try:
        return None if run.run is None else read_run_data(root / run.run)
    except RecordError as error:
        _LOG.warning("left out: %s", error)
        return None


def _side(data: RunData, window_s: float, streamed: bool) -> _Side:
    return _Side(
        figures=figures(data, window_s, streamed), signals=read_signals(data, window_s)
    )


def _result(
    corun: Corun, workload: Workload, rounds: Sequence[_Round]
) -> WorkloadResult:
    name = workload.name
    runs = [run for run in corun.runs if run.workload == name]
    result = WorkloadResult(
        workload=name,
        rounds=len(rounds),
        valid_alone=sum(run.valid for run in runs if not run.together),
        valid_together=sum(run.valid for run in runs if run.together),
    )
    if not rounds:
        result.note = "no round has all its runs"
        return result
    result.window_s = float(np.mean([one.window_s for one in rounds]))
    result.measures = list(_measures(name, rounds))
    result.slowed = any(_is_worse(measure) for measure in result.measures)
    if not result.slowed:
        result.note = "no figure is worse together by more than noise"
        return result
    middle = rounds[len(rounds) // 2]
    others = [side.signals for key, side in middle.together.items() if key != name]
    result.competes_for = competition(
        middle.alone[name].signals, middle.together[name].signals, others
    )
    if not result.competes_for:
        result.note = (
            "slower together, but the record does not show which resource they share"
        )
    return result


def _measures(name: str, rounds: Sequence[_Round]) -> Iterator[Measured]:
    for key, (label, unit, higher) in _LABELS.items():
        alone = [one.alone[name].figures.get(key, 0.0) for one in rounds]
        together = [one.together[name].figures.get(key, 0.0) for one in rounds]
        if min(alone + together) <= 0:
            continue
        estimate = paired(alone, together)
        known = math.isfinite(estimate.low)
        yield Measured(
            name=label,
            unit=unit,
            higher_is_better=higher,
            alone=float(np.exp(np.mean(np.log(alone)))),
            together=float(np.exp(np.mean(np.log(together)))),
            ratio=estimate.ratio,
            low=estimate.low if known else None,
            high=estimate.high if known else None,
        )


def _is_worse(measure: Measured) -> bool:
    if measure.low is None or measure.high is None:
        ratio = measure.ratio if measure.higher_is_better else 1 / measure.ratio
        return ratio < _WORSE
    return measure.high < 1 if measure.higher_is_better else measure.low > 1


def _page(corun: Corun) -> Iterator[str]:
    names = [workload.name for workload in corun.workloads]
    yield f"# {' and '.join(names)} together"
    yield ""
    yield (
        "Each workload alone and beside the others, started at the same moment. Figures"
        " are of the time in which all of them ran. The interval (95%) is of the ratio"
        " of paired rounds."
    )
    yield ""
    if any(result.measures for result in corun.results):
        yield (
            "| workload | figure | alone | together | together / alone | 95% interval |"
        )
        yield "| --- | --- | ---: | ---: | ---: | --- |"
    for result in corun.results:
        for measure in result.measures:
            yield _row(result.workload, measure)
    yield ""
    yield "| workload | rounds | VALID alone | VALID together | common time, s |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    for result in corun.results:
        yield (
            f"| {result.workload} | {result.rounds} | {result.valid_alone} |"
            f" {result.valid_together} | {result.window_s:.1f} |"
        )
    yield ""
    yield "## What they compete for"
    for result in corun.results:
        for found in result.competes_for:
            evidence = sentence(found.evidence)
            yield f"- {result.workload}: **{found.resource}**. {evidence}"
        if result.note:
            yield f"- {result.workload}: {result.note}."
    yield ""
    yield "## Runs"
    yield "| round | workload | how | verdict | report |"
    yield "| ---: | --- | --- | --- | --- |"
    for run in corun.runs:
        how = "together" if run.together else "alone"
        verdict = "passed" if run.valid else markdown(run.reason)
        link = f"[{run.run}]({run.run}/report.md)" if run.run else ""
        yield f"| {run.round + 1} | {run.workload} | {how} | {verdict} | {link} |"


def _row(workload: str, measure: Measured) -> str:
    interval = "one round"
    if measure.low is not None:
        interval = f"{measure.low:.3f} to {measure.high:.3f}"
    return (
        f"| {workload} | {measure.name}, {measure.unit} | {measure.alone:.4g} |"
        f" {measure.together:.4g} | {measure.ratio:.3f} | {interval} |"
    )
