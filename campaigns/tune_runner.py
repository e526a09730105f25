"""Makes the runs of a tuning campaign, each a process of its own."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from base.child import Children, module_command, module_environment
from base.files import carried_path
from campaigns.sweep_points import Point
from campaigns.tune_measure import Measurement, Objective, read_measurement
from conf.schema import Config
from forecast.limits import Limits
from record.folder import write_text

_SEEDS = ("qsl_rng_seed", "sample_index_rng_seed", "schedule_rng_seed")
"""LoadGen's settings that decide order and times of queries."""


def point_options(point: Point) -> list[str]:
    """Return a setting as options of a run."""
    return [f"{name}={value}" for name, value in point.items()]


@dataclass(slots=True, kw_only=True)
class TuneRunner:
    """Implements `campaigns.tuner.RunMaker`."""

    children: Children
    root: Path
    shared: Sequence[str]
    config: Config
    objective: Objective
    limits: Limits | None

    def run(self, point: Point, seed: int | None) -> Measurement:
        """Make one run to its end.

        Raises:
            Aborted: a signal came.
            OSError: the seeds cannot be written.
        """
        options = [*point_options(point), f"run.dir={self.root}"]
        if seed is not None:
            options.append(f"run.user_conf={self._user_conf(seed)}")
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

    def _user_conf(self, seed: int) -> Path:
        """Return the run's user.conf with other seeds, which it writes."""
        path = self.root / f"user-seed-{seed}.conf"
        own = Path(self.config.run.user_conf or carried_path("user.conf"))
        lines = [f"*.*.{name} = {seed + place}" for place, name in enumerate(_SEEDS)]
        write_text(path, own.read_text() + "\n".join(lines) + "\n")
        return path
