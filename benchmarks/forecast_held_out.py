"""How close forecasts are to held-out runs of vLLM, and how often intervals hold them.

    python -m benchmarks.forecast_held_out FOLDER [--raw FILE]

FOLDER has the runs of `benchmarks.forecast_runs`. *Leave one rate out*: each run is
forecast from the runs of the same model and engine limits at the other rates. *Leave
one setting out*: from the runs of the same model at all other engine limits. Prints two
Markdown tables.
"""

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from base.errors import SutError
from benchmarks.forecast_runs import Load, loads, run_of
from forecast.evidence import Evidence, read_evidence
from forecast.limits import Limits
from forecast.measures import measures
from forecast.predict import forecast
from forecast.target import Target, recorded_target

_SHOWN = (
    "samples_per_s",
    "ttft_ms_p50",
    "ttft_ms_p99",
    "tpot_ms_p50",
    "tpot_ms_p99",
    "latency_ms_p99",
)
_NO_LIMITS = Limits(ttft_s=None, tpot_s=None, percentile=0.99)
_MOST_FITTED = 4
"""Runs that a forecast is fitted from: those of the nearest rates."""


def main() -> None:
    """Forecast and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--raw", type=Path, help="a line of JSON for each figure")
    options = parser.parse_args()
    runs = _read(options.folder)
    print(f"{len(runs)} runs")
    rows: list[dict[str, Any]] = []
    for kind in ("rate", "setting"):
        for load, held in runs:
            others = [one for one in runs if _fits(kind, load, one[0])]
            others.sort(key=lambda one: _distance(load, one[0]))
            fitted = [evidence for _, evidence in others[:_MOST_FITTED]]
            if fitted:
                rows += _compare(kind, load, fitted, held)
    if options.raw:
        options.raw.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for kind in ("rate", "setting"):
        print(f"\nLeave one {kind} out:\n")
        print_table([row for row in rows if row["kind"] == kind])


def _read(folder: Path) -> list[tuple[Load, Evidence]]:
    found = []
    for load in loads():
        path = run_of(folder / load.name)
        if path is None:
            print(f"missing: {load.name}")
            continue
        try:
            found.append((load, read_evidence(path)))
        except SutError as error:
            print(f"left out: {load.name}: {error}")
    return found


def _fits(kind: str, held: Load, other: Load) -> bool:
    same_setting = (held.sequences, held.budget) == (other.sequences, other.budget)
    # Offline is forecast from runs that stream too.
    comparable = held.rate is None or other.rate is not None
    if held.model != other.model or not comparable:
        return False
    if kind == "rate":
        return same_setting and held != other
    return not same_setting


def _distance(held: Load, other: Load) -> float:
    if held.rate is None or other.rate is None:
        # A full batch is most like the highest rate.
        return -(other.rate or 0.0)
    return abs(math.log(held.rate / other.rate))


def _compare(
    kind: str, load: Load, fitted: Sequence[Evidence], held: Evidence
) -> list[dict[str, Any]]:
    target: Target = replace(recorded_target(held), limits=_NO_LIMITS)
    found = forecast(fitted, target)
    measured = measures(held.samples)
    rows = []
    for name, estimate in found.figures.items():
        if name not in measured:
            continue
        again = found.backtest.get(name)
        rows.append(
            {
                "kind": kind,
                "run": load.name,
                "figure": name,
                "value": estimate.value,
                "low": estimate.low,
                "high": estimate.high,
                "measured": measured[name],
                "backtest": again,
                "extrapolated": bool(found.beyond),
            }
        )
    return rows


def print_table(rows: Sequence[dict[str, Any]]) -> None:
    """Print errors and coverage by figure, as Markdown."""
    print(
        "| figure | forecasts | median error | p90 error | within the 90% interval"
        " | median half width |"
    )
    print("|---|---:|---:|---:|---:|---:|")
    for name in _SHOWN:
        own = [row for row in rows if row["figure"] == name]
        if not own:
            continue
        errors = [abs(row["value"] / row["measured"] - 1) for row in own]
        held = [row["low"] <= row["measured"] <= row["high"] for row in own]
        widths = [(row["high"] - row["low"]) / 2 / row["value"] for row in own]
        print(
            f"| {name} | {len(own)} | {np.median(errors):.1%}"
            f" | {np.quantile(errors, 0.9):.1%} | {sum(held)} ({np.mean(held):.0%})"
            f" | {np.median(widths):.1%} |"
        )


if __name__ == "__main__":
    main()
