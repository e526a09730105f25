"""What a tuning campaign found: its line, its page and the experiment file."""

import math
import shlex
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

from campaigns.output import Summary
from campaigns.progress import campaign_run
from campaigns.sweep.points import label
from campaigns.tune.measure import Objective
from campaigns.tune.record import Gain, Tune, TuneResult
from campaigns.tune.scores import TuneScores
from record.campaign import CampaignRun, Status
from record.folder import RecordError, write_text
from record.structs import Json
from report.compare.comparison import compare_sides
from report.compare.pages import write_comparison
from report.reading.folder import read_run
from report.reading.run import Run
from report.rendering.words import markdown

_PAIR = 2


def result_line(tune: Tune) -> str:
    """Return the result in one line."""
    result = tune.result
    if result is None:
        return "no result"
    words = []
    if result.better:
        words.append(f"{label(result.point)}: {_gained(result.own)} {tune.objective}")
        if result.others is not None:
            words.append(f"other seeds {_gained(result.others)}")
    else:
        words.append(f"nothing better than the default: {result.reason}")
        if result.candidate is not None:
            words.append(f"best {label(result.point)} {_gained(result.own)}")
    if result.accuracy is not None:
        words.append(
            "accuracy passed"
            if result.accuracy.passed
            else f"accuracy not passed: {result.accuracy.reason}"
        )
    words.append(f"{result.runs} runs in {result.seconds:,.0f} s")
    if result.still_possible is not None:
        more = 100 * result.still_possible
        words.append(f"another setting may gain {more:.1f}% more at most")
    return "; ".join(words)


def _gained(gain: Gain | None) -> str:
    if gain is None:
        return "without a pair of runs"
    text = f"{100 * gain.gain:+.1f}%"
    if gain.low is not None and gain.high is not None:
        text += (
            f" (95% interval {100 * gain.low:+.1f} to {100 * gain.high:+.1f}%,"
            f" {gain.pairs} pairs)"
        )
    return text


def campaign_runs(root: Path, tune: Tune) -> list[CampaignRun]:
    """Return the runs for `campaign.json`."""
    return [
        campaign_run(root, run.run, run.seconds, run.reason)
        for run in tune.made
        if run.run is not None
    ]


def summary(root: Path, tune: Tune, status: Status) -> Summary:
    """Return the result: a row for each setting, the best one first."""
    objective = Objective(tune.objective)
    scores = TuneScores(tune, objective).by_candidate()
    rows: list[dict[str, Json]] = []
    for number in sorted(scores, key=lambda n: -statistics.fmean(scores[n])):
        runs = [run for run in tune.made if run.candidate == number]
        values = [run.value for run in runs if run.value is not None]
        gain = 100 * math.expm1(statistics.fmean(scores[number]))
        rows.append(
            {
                "setting": label(tune.candidates[number].point) or "default",
                "proposed_by": tune.candidates[number].origin,
                "runs": len(runs),
                "value": statistics.fmean(values) if values else None,
                "gain": round(gain, 1) if number else None,
            }
        )
    return Summary(
        campaign="tune",
        status=status,
        conclusion=result_line(tune),
        folder=str(root),
        report=str(root / "tune.md") if tune.made else None,
        columns={
            "setting": "setting",
            "proposed_by": "proposed by",
            "runs": "runs",
            "value": tune.objective,
            "gain": "over the default, %",
        },
        rows=rows,
    )


def write_page(root: Path, tune: Tune) -> None:
    """Write tune.md, and the comparison of the default with the best setting.

    Raises:
        OSError: a file cannot be written.
    """
    objective = Objective(tune.objective)
    lines = ["# Tuning", result_line(tune), "", *_settings(tune, objective)]
    if tune.result is not None and tune.result.candidate is not None:
        lines += ["", *_pairs(tune, tune.result, objective)]
        compared = _compare(root, tune, tune.result.candidate)
        if compared is not None:
            page = compared.relative_to(root)
            lines += ["", f"[Every measure of both sides]({page})"]
    write_text(root / "tune.md", "\n".join(lines) + "\n")


def _settings(tune: Tune, objective: Objective) -> Iterator[str]:
    yield (
        f"| setting | proposed by | runs | {tune.objective} | over the default"
        " | predicted | |"
    )
    yield "|---|---|---:|---:|---:|---:|---|"
    scores = TuneScores(tune, objective).by_candidate()
    order = sorted(scores, key=lambda n: -statistics.fmean(scores[n]))
    for number in order:
        candidate = tune.candidates[number]
        runs = [r for r in tune.made if r.candidate == number and r.phase == "screen"]
        values = [run.value for run in runs if run.value is not None]
        mean = f"{statistics.fmean(values):,.5g}" if values else ""
        gain = f"{100 * math.expm1(statistics.fmean(scores[number])):+.1f}%"
        predicted = "" if candidate.predicted is None else f"{candidate.predicted:,.5g}"
        note = candidate.rejected or next((r.reason for r in runs if r.reason), "")
        yield (
            f"| {label(candidate.point) or 'default'} | {candidate.origin} |"
            f" {len(runs)} | {mean} | {gain if number else ''} | {predicted} |"
            f" {markdown(note)} |"
        )


def _pairs(tune: Tune, result: TuneResult, objective: Objective) -> Iterator[str]:
    assert result.candidate is not None
    yield f"## Runs in pairs: the default and {label(result.point)}"
    yield f"| seeds | pair | default, {tune.objective} | setting | gain |"
    yield "|---|---:|---:|---:|---:|"
    scores = TuneScores(tune, objective)
    for run in tune.made:
        if run.phase == "screen" or run.candidate != result.candidate:
            continue
        other = scores.made(run.candidate, 0, run.phase, run.seed, run.pair)
        values = [None if other is None else other.value, run.value]
        one, two = (f"{v:,.5g}" if v is not None else "" for v in values)
        gain = ""
        if values[0] is not None and values[1] is not None:
            ratio = values[1] / values[0]
            ratio = ratio if objective.better == "higher" else 1 / ratio
            gain = f"{100 * (ratio - 1):+.1f}%"
        seeds = "the benchmark's" if run.seed is None else str(run.seed)
        yield f"| {seeds} | {run.pair + 1} | {one} | {two} | {gain} |"


def _compare(root: Path, tune: Tune, number: int) -> Path | None:
    """Write the comparison of the runs in pairs; None: there are too few."""
    sides: list[list[Run]] = []
    for side in (0, number):
        names = [
            run.run
            for run in tune.made
            if run.phase == "pair" and run.against == number and run.candidate == side
        ]
        runs = []
        for name in names:
            try:
                runs.append(read_run(root / name) if name else None)
            except RecordError:
                return None
        sides.append([run for run in runs if run is not None])
    if min(len(side) for side in sides) < _PAIR:
        return None
    try:
        comparison = compare_sides(sides[0], sides[1], smallest=0.01)
    except RecordError:
        return None
    return write_comparison(comparison, root / "comparison")


def shell(words: Sequence[str]) -> str:
    """Return words as a shell takes them."""
    return " ".join(shlex.quote(word) for word in words)
