"""Makes the runs of a tuning campaign, each a process of its own."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from base.child import Children
from campaigns.child_run import run_child
from campaigns.sweep_points import Point, point_options
from campaigns.tune_measure import Measurement, Objective, read_measurement
from forecast.limits import Limits


@dataclass(slots=True, kw_only=True)
class TuneRunner:
    """Implements `campaigns.tuner.RunMaker`."""

    children: Children
    root: Path
    shared: Sequence[str]
    objective: Objective
    limits: Limits | None

    def run(self, point: Point, seed: int | None) -> Measurement:
        """Make one run to its end.

        Raises:
            Aborted: a signal came.
        """
        options = [*point_options(point), f"run.dir={self.root}"]
        if seed is not None:
            options.append(f"run.loadgen_seed={seed}")
        began = time.monotonic()
        ended = run_child(self.children, [*self.shared, *options])
        seconds = time.monotonic() - began
        return read_measurement(
            ended.folder, ended.code, seconds, self.objective, self.limits
        )

    def accuracy(self, options: Sequence[str]) -> tuple[Path | None, int]:
        """Make a run in accuracy mode; return its folder and its exit code.

        Raises:
            Aborted: a signal came.
        """
        ended = run_child(self.children, [*options, f"run.dir={self.root}"])
        return ended.folder, ended.code
