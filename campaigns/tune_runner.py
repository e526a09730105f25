"""Makes the runs of a tuning campaign, each a process of its own."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from base.child import Children, module_command, module_environment
from campaigns.sweep_points import Point
from campaigns.tune_measure import Measurement, Objective, read_measurement
from forecast.limits import Limits


def point_options(point: Point) -> list[str]:
    """Return a setting as options of a run."""
    return [f"{name}={value}" for name, value in point.items()]


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
        command = module_command("sut.main", *self.shared, *options)
        began = time.monotonic()
        ended = self.children.run(command, module_environment())
        self.children.check()
        seconds = time.monotonic() - began
        return read_measurement(
            ended.folder, ended.code, seconds, self.objective, self.limits
        )

    def accuracy(self, options: Sequence[str]) -> tuple[Path | None, int]:
        """Make a run in accuracy mode; return its folder and its exit code.

        Raises:
            Aborted: a signal came.
        """
        command = module_command("sut.main", *options, f"run.dir={self.root}")
        ended = self.children.run(command, module_environment())
        self.children.check()
        return ended.folder, ended.code
