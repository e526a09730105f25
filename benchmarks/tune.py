"""Tuning campaigns on an engine whose best settings are known, in simulated time.

    python -m benchmarks.tune [--seeds 10] [--noise 0.02] [--null]
    python -m benchmarks.tune --procedure 300

The engine of `tests.forecast.made_up` (its step times are known), in Server at a fixed
rate. Knobs: token budget, sequences, and a kernel that the forecast knows nothing of.
Each run is a simulated one that leaves a run folder with step records; its speed is off
by a factor of its own (standard deviation `--noise`). The campaign is the product's:
it reads these folders. The truth is every setting, simulated without that factor.
`--null`: the settings make no difference. `--procedure`: campaigns without Optuna, on
runs that are numbers with noise: how often noise is taken for a gain, and how often the
interval holds the true gain. Prints Markdown.
"""

import argparse
import itertools
import logging
import math
import os
import statistics
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

# One campaign a process; torch's threads would only compete.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from campaigns.sweep.points import Point
from campaigns.tune.forecast import ForecastSimulator, known_knobs
from campaigns.tune.knobs import Knob, Space
from campaigns.tune.measure import Measurement, Objective, read_measurement
from campaigns.tune.proposals import OptunaProposer
from campaigns.tune.record import Tune
from campaigns.tune.tuner import Effort, Tuner
from forecast.limits import Limit, Limits
from record.folder import RunFolder, write_json
from record.structs import Verdict
from tests.campaigns.tune.test_tuner import InTurn, Runs
from tests.forecast.made_up import SHAPE, TRUE, write_run

BUDGETS = tuple(str(128 * n) for n in (4, 5, 6, 7, 8, 9, 10, 12, 14, 16, 20, 32))
SEQUENCES = ("16", "32", "64", "128")
KERNELS = {"a": 1.0, "b": 0.95, "c": 1.08}
"""Factor on the time of every step."""
_BUDGET, _SEQUENCES, _KERNEL = (
    "engine.options.max_num_batched_tokens",
    "engine.options.max_num_seqs",
    "engine.options.attention_backend",
)
RATE = 40.0
QUERIES = 600
LIMITS = Limits(
    ttft_s=None,
    tpot_s=None,
    percentile=0.9,
    more=(Limit("ttft", 0.25, 0.9), Limit("tpot", 0.025, 0.9)),
)


@dataclass(slots=True)
class Simulated:
    """Implements `campaigns.tune.tuner.RunMaker`."""

    root: Path
    noise: float
    null: bool
    generator: np.random.Generator
    made: int = field(default=0)

    def run(self, point: Point, seed: int | None) -> Measurement:
        """Return what one simulated run shows."""
        self.made += 1
        factor = float(np.exp(self.generator.normal(0, self.noise)))
        kernel = 1.0 if self.null else KERNELS[point.get(_KERNEL, "a")]
        shape = SHAPE
        if not self.null:
            shape = replace(
                SHAPE,
                max_num_batched_tokens=int(point.get(_BUDGET, "2048")),
                max_num_seqs=int(point.get(_SEQUENCES, "64")),
            )
        path = self.root / f"run{self.made}"
        write_run(
            path,
            RATE,
            QUERIES,
            shape,
            tuple(kernel * factor * value for value in TRUE),
            self.made,
            seed or 12345,
        )
        # The gate would miss LoadGen's log.
        verdict = Verdict(
            outcome="passed", degraded=False, submission_candidate=False, relaxed=[]
        )
        write_json(RunFolder(path).verdict, verdict)
        return read_measurement(path, 0, 1.0, Objective("limit_load"), LIMITS)


def main() -> None:
    """Tune and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--noise", type=float, default=0.02)
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--null", action="store_true")
    parser.add_argument("--procedure", type=int, default=0)
    options = parser.parse_args()
    if options.procedure:
        _procedure(options.procedure, options.noise)
        return
    truth = _truth() if not options.null else {}
    if truth:
        order = sorted(truth, key=lambda key: -truth[key])
        print(f"default: gain 0; {len(truth)} settings; the best ones:")
        for key in order[:5]:
            print(f"  {key}: {100 * math.expm1(truth[key]):+.1f}%")
    print(
        "| seed | found | true gain | stated gain (95%) | other seeds | runs | ended |"
    )
    print("|---:|---|---:|---|---|---:|---|", flush=True)
    shares = []
    for seed in range(options.first, options.first + options.seeds):
        tune = _campaign(seed, options.noise, options.null, options.runs)
        result = tune.result
        assert result is not None
        found = tuple(result.point.get(name, "") for name in _NAMES)
        true = truth.get(found, 0.0) if result.better else 0.0
        if truth:
            shares.append(true / max(truth.values()))
        own, other = result.own, result.others
        cells = [
            str(seed),
            " ".join(found) if result.better else f"nothing: {result.reason}",
            f"{100 * math.expm1(true):+.1f}%",
            *(
                f"{100 * g.gain:+.1f}% ({100 * g.low:+.1f} to {100 * g.high:+.1f})"
                if g is not None and g.low is not None and g.high is not None
                else ""
                for g in (own, other)
            ),
            str(result.runs),
            result.ended,
        ]
        print(f"| {' | '.join(cells)} |", flush=True)
    if shares:
        print(
            f"\nShare of the best gain (of its logarithm): median"
            f" {statistics.median(shares):.3f}, least {min(shares):.3f}"
        )


def _procedure(count: int, noise: float) -> None:
    """Print false and true gains of campaigns on numbers."""
    logging.disable()
    for gains in ([0.0] * 10, [0.0] * 8 + [0.03, 0.05]):
        better = inside = 0
        for seed in range(count):
            tuner = Tuner(
                tune=Tune(
                    shared=[],
                    knobs=[],
                    where=[],
                    objective="tokens_per_s",
                    better="higher",
                    limits=[],
                ),
                objective=Objective("tokens_per_s"),
                effort=Effort(runs=40, pairs=6, seeds=(101, 202, 303)),
                make=Runs(gains, noise=noise, drift=0.002, seed=seed),
                propose=InTurn(len(gains)),
                save=lambda: None,
            )
            result = tuner.find()
            better += result.better
            if result.better and result.others is not None:
                true = math.expm1(gains[int(result.point["x"])])
                low, high = result.others.low, result.others.high
                assert low is not None
                assert high is not None
                inside += low <= true <= high
        print(
            f"| {max(gains):.0%} | {better} of {count} | {inside} of {better} |",
            flush=True,
        )


_NAMES = (_BUDGET, _SEQUENCES, _KERNEL)
_VALUES = (BUDGETS, SEQUENCES, tuple(KERNELS))


def _truth() -> dict[tuple[str, ...], float]:
    """Return the logarithm of the gain of every setting."""
    found: dict[tuple[str, ...], float] = {}
    with tempfile.TemporaryDirectory() as folder:
        maker = Simulated(Path(folder), 0.0, False, np.random.default_rng(0))
        default = maker.run({}, None).value
        assert default is not None
        for values in itertools.product(*_VALUES):
            point = dict(zip(_NAMES, values, strict=True))
            value = maker.run(point, None).value
            assert value is not None
            found[values] = math.log(default / value)
    return found


def _campaign(seed: int, noise: float, null: bool, runs: int) -> Tune:
    knobs = [
        Knob(option=name, values=values)
        for name, values in zip(_NAMES, _VALUES, strict=True)
    ]
    objective = Objective("limit_load")
    tune = Tune(
        shared=[],
        knobs=[str(knob) for knob in knobs],
        where=[],
        objective=objective.name,
        better=objective.better,
        limits=[],
    )
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        simulator = ForecastSimulator(
            knobs=known_knobs(knobs),
            allowed=lambda _: True,
            objective=objective,
            limits=LIMITS,
            folder=lambda name: root / name,
        )
        space = Space(knobs=knobs, allowed=lambda _: True)
        tuner = Tuner(
            tune=tune,
            objective=objective,
            effort=Effort(runs=runs, pairs=6, seeds=(101, 202, 303)),
            make=Simulated(root, noise, null, np.random.default_rng(seed)),
            propose=OptunaProposer(space=space, seed=seed, simulator=simulator),
            save=lambda: None,
        )
        tuner.find()
    return tune


if __name__ == "__main__":
    main()
