"""What a run without a fault leaves unused: memory, batches, power and clocks.

A gain is an upper bound from what the run itself shows. Where the record does not show
one, there is no opportunity.
"""

from collections.abc import Iterator

import numpy as np

from report.figures import figure
from report.findings.finding import Finding, Found, Recommendation
from report.reading.run import Run
from report.reading.telemetry import HARMFUL, POWER_CAP
from report.statistics.batches import SMALL, batch_fill, batches
from report.statistics.numbers import bits, known
from report.timeline.analysis import Analysis
from report.timeline.steps import StepRecords, fit_line
from report.wording import count

_LEAST_PCT = 2.0
"""Smallest gain that is worth a recommendation."""
_UNUSED = 0.7
"""KV cache in use, at most, below which a larger batch would fit."""
_FILL = 0.9
"""KV cache in use that a larger batch may have."""
_OFTEN = 0.5
_SELDOM = 0.1
_BUSY_PCT = 90.0
_SAMPLED = 20_000
"""Steps that are looked at for the share that holds prompts."""


class _Steps:
    """Speed of an engine by the sequences that it decodes at once."""

    def __init__(self, run: Run, records: StepRecords) -> None:
        self.step_s, self.prompt_token_s, self.sequence_s, self.prompts_s = fit_line(
            records
        ).tolist()
        chosen = records.records[:: max(1, len(records.records) // _SAMPLED)]
        self.prompted = float((chosen["prefill_tokens"] > 0).mean())
        self.output = float(run.done.output_tokens.mean())
        self.prompt = float(run.done.prompt_tokens.mean())

    def rate(self, sequences: float, larger: float = 1.0) -> float:
        """Return the output tokens/s with so many sequences at once.

        As many prompts enter the batch as answers leave it.

        Args:
            sequences: running at once.
            larger: how much larger that is than what was recorded.
        """
        seconds: float = (
            self.step_s
            + self.prompt_token_s * sequences / self.output * self.prompt
            + self.sequence_s * sequences
            + self.prompts_s * min(1.0, self.prompted * larger)
        )
        return sequences / seconds


def opportunities(run: Run, analysis: Analysis) -> Iterator[Found]:
    """Yield what a run leaves unused, each with the most that it could gain.

    Args:
        run: a run that passed.
        analysis: the run over time, with its step records.
    """
    records = analysis.inputs.steps
    if run.offline and len(run.done) and records is not None and len(records.records):
        yield from _batch(run, _Steps(run, records))
    yield from _clocks(run)


def _batch(run: Run, line: _Steps) -> Iterator[Found]:
    """Yield that larger batches fit: more sequences, or more prompt tokens a step."""
    fill = batch_fill(run)
    limits = {r.engine.get("max_num_seqs") for r in run.replicas}
    if not fill or len(limits) != 1:
        return
    limit, own = limits.pop(), batches(run, fill)
    if not isinstance(limit, int):
        return
    used = known(run.measured.engines.values["kv_used"])
    peak = float(np.quantile(used, 0.99)) if len(used) else 1.0
    running = own.filled * limit
    if not running:
        return
    if own.filled < SMALL:
        if own.no_waiting > _OFTEN or own.full_cache > _OFTEN:
            return
        code, wanted = "opportunity.batch", float(limit)
        title = f"Batches were {own.filled:.0%} full while samples waited"
        evidence = (
            f"{running:,.0f} of {limit:,} sequences ran on average, and samples waited"
            " in the engine. The KV cache was at most"
            f" {peak:.0%} full."
        )
        text = (
            "raise engine.options.max_num_batched_tokens, so that prompts enter the"
            f" batch as fast as answers leave it ({count(limit, 'sequence')} instead of"
            f" {running:,.0f})"
        )
    elif 0 < peak < _UNUSED:
        code, wanted = "opportunity.memory", running * _FILL / peak
        title = f"The KV cache was at most {peak:.0%} full"
        evidence = (
            f"{running:,.0f} of {limit:,} sequences ran on average; 99% of the readings"
            f" of the KV cache were below {peak:.0%}."
        )
        text = (
            f"raise engine.options.max_num_seqs to about {int(limit * _FILL / peak):,}:"
            " the KV cache has room for it"
        )
    else:
        return
    gain = 100 * (line.rate(wanted, wanted / running) / line.rate(running) - 1)
    if gain < _LEAST_PCT:
        return
    yield _found(
        code,
        title,
        evidence,
        text,
        gain,
        f"additional throughput at {wanted:,.0f} sequences at once: from a straight"
        " line through the recorded steps' prompt tokens and sequences, if it holds"
        " beyond what was recorded",
    )


def _clocks(run: Run) -> Iterator[Found]:
    """Yield that the power limit, or set clocks, held the devices below their most."""
    devices = run.measured.devices
    top = {r.limits[0].sm_clock_mhz for r in run.replicas if r.limits}
    clocks = known(devices.values["sm_clock_mhz"])
    reasons = known(devices.values["throttle_reasons"])
    busy = known(devices.values["utilization_pct"])
    if len(top) != 1 or not len(clocks) or not len(reasons) or not len(busy):
        return
    highest = top.pop()
    if not highest or busy.mean() < _BUSY_PCT:
        return
    given = bits(reasons)
    capped = float(((given & POWER_CAP) > 0).mean())
    harmed = float(((given & HARMFUL) > 0).mean())
    mean = float(clocks.mean())
    gain = 100 * (highest / mean - 1)
    if gain < _LEAST_PCT or harmed > _SELDOM:
        return
    evidence = (
        f"SM clock {mean:,.0f} MHz on average, at most {highest:,.0f} MHz; the power"
        f" limit held it down in {capped:.0%} of the readings; the devices were busy"
        f" {busy.mean():.0f}% of the time."
    )
    definition = (
        "highest SM clock / mean SM clock - 1: at most, if the clock alone sets the"
        " speed"
    )
    if capped >= _OFTEN:
        yield _found(
            "opportunity.power",
            f"The power limit held the clocks down in {capped:.0%} of the readings",
            evidence,
            "raise the power limit if the device allows it (nvidia-smi -q -d POWER"
            " shows the highest); otherwise only a device with more power, or less work"
            " per token (a smaller data type), is faster",
            gain,
            definition,
        )
    elif capped < _SELDOM:
        yield _found(
            "opportunity.clock",
            f"The devices ran at {mean / highest:.0%} of their highest clock",
            evidence,
            "check for locked GPU clocks (nvidia-smi -q -d CLOCK); nvidia-smi -rgc"
            " resets them",
            gain,
            definition,
        )


def _found(
    code: str, title: str, evidence: str, text: str, gain: float, definition: str
) -> Found:
    return Found(
        finding=Finding(
            code=code,
            severity="note",
            title=title,
            evidence=evidence,
            cause="This is not a fault: the run did not use this capacity.",
        ),
        advice=Recommendation(
            finding=code, text=text, estimate=figure(round(gain, 1), "%", definition)
        ),
    )
