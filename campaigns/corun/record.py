"""`corun.json`: what a corun asked for, its runs, and what they show."""

from msgspec import Struct, field

NAME = "corun.json"


class Workload(Struct, kw_only=True):
    """One model with its data, scenario and rate."""

    name: str
    options: list[str] = field(default_factory=list)
    """Options of `mlperf-sut run`."""
    gpus: str | None = None
    """GPUs that it may use, as CUDA_VISIBLE_DEVICES has them; None: all."""
    cores: list[int] | None = None
    """Cores that it may use; None: all of the campaign."""


class CorunRun(Struct, kw_only=True):
    """One run of a corun."""

    round: int
    """From 0."""
    workload: str
    together: bool
    """Whether the other workloads ran at the same time."""
    run: str | None
    """Name of its folder; None: it made none."""
    seconds: float
    """From its start to its end, loading included."""
    valid: bool = False
    """Whether it passed as `mlperf-sut run` judges it."""
    measured: bool = False
    """Whether it ran to its end with nothing lost: then its figures count."""
    reason: str = ""
    """Why it is not valid."""


class Measured(Struct, kw_only=True):
    """One figure of a workload, alone and together."""

    name: str
    unit: str
    higher_is_better: bool
    alone: float
    """Geometric mean of the rounds."""
    together: float
    ratio: float
    """together / alone."""
    low: float | None
    """95% interval of the ratio, by paired rounds; None with a single round."""
    high: float | None


class Competition(Struct, kw_only=True):
    """A resource for which a workload competes, and why that is known."""

    resource: str
    evidence: str


class WorkloadResult(Struct, kw_only=True):
    """What the runs of one workload show."""

    workload: str
    rounds: int
    """With both runs measured."""
    valid_alone: int
    """Runs alone that passed."""
    valid_together: int
    window_s: float = 0.0
    """Mean time from the start in which all workloads ran; figures are from it."""
    measures: list[Measured] = field(default_factory=list)
    slowed: bool = False
    """Whether a figure is worse together by more than noise."""
    competes_for: list[Competition] = field(default_factory=list)
    note: str = ""


class Corun(Struct, kw_only=True):
    """A corun as far as it has come."""

    shared: list[str]
    """Options of every run."""
    workloads: list[Workload]
    repeats: int
    seed: int
    runs: list[CorunRun] = field(default_factory=list)
    results: list[WorkloadResult] = field(default_factory=list)

    def problem(self) -> str:
        """Return why its parts do not fit each other; empty: they do."""
        names = {workload.name for workload in self.workloads}
        if any(run.workload not in names for run in self.runs):
            return "a run is of a workload that is not there"
        return ""
