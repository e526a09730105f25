"""Output tokens: in all, per device, per sample."""

import numpy as np

from record.json_types import Json
from report.figures import Section, figure, table
from report.findings.quality import MAX_TOKENS
from report.reading.run import Run
from report.statistics.busy import busy_s
from report.statistics.numbers import known, lengths, ratio, rounded


def tokens(run: Run) -> Section:
    """Return the output tokens of a run."""
    done = run.done
    rates = done.output_tokens / done.service_ns * 1e9
    per_node = [
        float(known(own.output_tokens / own.service_ns).mean())
        for own in run.by_node.values()
        if len(own)
    ]
    devices = sum(max(1, len(r.devices)) for r in run.replicas)
    longer = int((done.output_tokens > MAX_TOKENS).sum())
    return {
        "output_tokens": figure(
            int(done.output_tokens.sum()), "tokens", "of completed samples"
        ),
        "tokens_per_s": figure(
            rounded(run.tokens_per_s), "tokens/s", "output tokens / wall time"
        ),
        "tokens_per_s_per_device": figure(
            ratio(run.tokens_per_s, devices), "tokens/s", "the same over all devices"
        ),
        "prompt_and_output_tokens_per_s": figure(
            ratio(
                float(done.output_tokens.sum() + done.prompt_tokens.sum()), run.wall_s
            ),
            "tokens/s",
            "prompt and output tokens of completed samples / wall time",
        ),
        "tokens_per_sample": figure(
            lengths(done.output_tokens), "tokens", f"the limit is {MAX_TOKENS}"
        ),
        "over_limit": figure(
            longer, "samples", f"answers of more than {MAX_TOKENS} tokens"
        ),
        "ended_by_length": figure(
            ratio(100.0 * float(done.cut.sum()), len(done)),
            "%",
            "answers cut at the limit, of all",
        ),
        "sample_peak": figure(
            _extreme(run, rates, True), "tokens/s", "fastest sample: tokens / service"
        ),
        "sample_lowest": figure(
            _extreme(run, rates, False), "tokens/s", "slowest sample: tokens / service"
        ),
        "consistency": figure(
            ratio(100 * min(per_node), max(per_node)) if per_node else None,
            "%",
            "least / most of the nodes' mean tokens/s per sample",
        ),
        "replicas": table(
            [
                ("node", "", "host"),
                ("replica", "", "its number"),
                ("tokens", "tokens", "output tokens of its samples"),
                ("tokens/s", "tokens/s", "the same / seconds in which it had work"),
                ("per device", "tokens/s", "the same / its devices"),
                ("per sample", "tokens", "mean answer"),
                ("fastest sample", "tokens/s", "tokens / service"),
                ("slowest sample", "tokens/s", "tokens / service"),
            ],
            [_row(run, r.replica, max(1, len(r.devices))) for r in run.replicas],
        ),
    }


def _row(run: Run, replica: int, devices: int) -> list[Json]:
    own = run.by_replica[replica]
    seconds, total = busy_s(own), int(own.output_tokens.sum())
    rates = known(own.output_tokens / own.service_ns * 1e9)
    return [
        run.node_of[replica],
        replica,
        total,
        ratio(total, seconds),
        ratio(total, seconds * devices),
        ratio(total, len(own)),
        rounded(rates.max()) if len(rates) else None,
        rounded(rates.min()) if len(rates) else None,
    ]


def _extreme(run: Run, rates: np.ndarray, most: bool) -> dict[str, Json] | None:
    if not len(known(rates)):
        return None
    place = int(np.nanargmax(rates) if most else np.nanargmin(rates))
    replica = int(run.done.replica[place])
    return {
        "value": rounded(rates[place]),
        "seq": int(run.done.seq[place]),
        "replica": replica,
        "node": run.node_of.get(replica),
    }
