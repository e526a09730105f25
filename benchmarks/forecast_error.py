"""How far forecasts are from runs that were made.

    python -m benchmarks.forecast_error RUN RUN...

Each run is forecast from each other one alone. All have to be of one model, device and
scenario; rates and engine limits may differ. Prints a Markdown table of errors, and how
often the 90% interval held what was measured.
"""

import argparse
import itertools
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np

from forecast.evidence import Evidence, read_evidence
from forecast.limits import Limits
from forecast.measures import measures
from forecast.predict import forecast
from forecast.target import recorded_target

_SHOWN = ("samples_per_s", "ttft_ms_p50", "ttft_ms_p99", "tpot_ms_p50", "tpot_ms_p99")
_NO_LIMITS = Limits(ttft_s=None, tpot_s=None, percentile=0.99)


def main() -> None:
    """Forecast and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", nargs="+", type=Path)
    runs = [read_evidence(path) for path in parser.parse_args().run]
    errors: dict[str, list[float]] = defaultdict(list)
    held: dict[str, list[bool]] = defaultdict(list)
    print(f"| fitted on | forecast | {' | '.join(_SHOWN)} | extrapolated |")
    print("|---:|---:|" + "---:|" * len(_SHOWN) + "---|")
    for one, other in itertools.permutations(runs, 2):
        # Without limits no highest rate is looked for.
        target = replace(recorded_target(other), limits=_NO_LIMITS)
        found = forecast([one], target)
        measured = measures(other.samples)
        cells = []
        for name in _SHOWN:
            if name not in found.figures or name not in measured:
                cells.append("")
                continue
            estimate, truth = found.figures[name], measured[name]
            errors[name].append(abs(estimate.value / truth - 1))
            held[name].append(estimate.low <= truth <= estimate.high)
            cells.append(
                f"{estimate.value:,.2f} / {truth:,.2f}"
                f" ({100 * (estimate.value / truth - 1):+.1f}%)"
            )
        print(
            f"| {_name(one)} | {_name(other)} | {' | '.join(cells)}"
            f" | {'; '.join(found.beyond) or 'no'} |",
            flush=True,
        )
    print("\n| figure | median error | p90 error | within the interval |")
    print("|---|---:|---:|---:|")
    for name in _SHOWN:
        if errors[name]:
            print(
                f"| {name} | {100 * np.median(errors[name]):.1f}%"
                f" | {100 * np.quantile(errors[name], 0.9):.1f}%"
                f" | {sum(held[name])} of {len(held[name])} |"
            )


def _name(run: Evidence) -> str:
    rate = run.setting("server_target_qps")
    server = run.settings.loadgen_scenario == "Server"
    return f"{rate:g}/s" if server else "offline"


if __name__ == "__main__":
    main()
