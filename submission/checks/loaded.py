"""A result of the tree, read once for all checks."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from base.benchmark import TITLES, Benchmark, ScenarioName
from base.errors import UserError
from conf.load import load_config
from conf.schema import Config, Mode
from record.folder import RecordError, RunFolder, read_json, read_lines
from record.loadgen_log import DetailLog, read_detail
from record.structs import EventRecord, Json, ReplicaRecord, SettingsRecord, Verdict
from scenarios.rules import rules
from submission.layout import BENCHMARK_FOLDERS, ResultFolder, SubmitterFolder


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeFinding:
    """A problem in the tree: where, what, and what to do."""

    check: str
    """Name of the check, the same in every run of this package."""
    path: Path
    problem: str
    remedy: str

    def within(self, root: Path) -> "TreeFinding":
        """Return it with a path relative to `root`."""
        if not self.path.is_relative_to(root):
            return self
        return replace(self, path=self.path.relative_to(root))

    def __str__(self) -> str:
        """Return it as one line."""
        return f"{self.path}: {self.problem}; {self.remedy} [{self.check}]"


AGAIN = "make the run again with `mlperf-sut submission run`"
BUILD = "build the tree again"


P = ParamSpec("P")
T = TypeVar("T")

_LOADGEN = {
    "Offline": ("llama3_1-8b", "Offline"),
    "Server": ("llama3_1-8b", "Server"),
    "Interactive": ("llama3_1-8b-interactive", "Server"),
    "SingleStream": ("llama3_1-8b", "SingleStream"),
}


@dataclass(slots=True, kw_only=True)
class LoadedRun:
    """One run of a result."""

    mode: Mode
    folder: RunFolder
    log: DetailLog
    config: Config
    settings: SettingsRecord
    source: dict[str, str]
    verdict: Verdict
    replicas: list[ReplicaRecord]
    events: list[EventRecord]
    user_conf: str


@dataclass(slots=True, kw_only=True)
class LoadedResult:
    """One result: a scenario of a benchmark on a system."""

    home: SubmitterFolder
    folder: ResultFolder
    benchmark: Benchmark
    scenario: ScenarioName | None
    """None if the folder's name is not a scenario."""
    rules: dict[str, Json]
    """As `scenarios.rules`; empty without a scenario."""
    system: dict[str, Json]
    measurements: dict[str, Json]
    runs: dict[Mode, LoadedRun] = field(default_factory=dict)
    """The runs whose files could all be read."""
    unreadable: list[TreeFinding] = field(default_factory=list)

    @property
    def closed(self) -> bool:
        """Whether the result is in the closed division."""
        return self.home.division == "closed"

    @property
    def needs_compliance(self) -> bool:
        """Whether the rules ask for TEST06."""
        return self.closed and self.benchmark is Benchmark.datacenter


def load_result(home: SubmitterFolder, folder: ResultFolder) -> LoadedResult:
    """Return what can be read of a result, with a finding for each file that cannot."""
    titles = {title: scenario for scenario, title in TITLES.items()}
    edge = folder.benchmark == BENCHMARK_FOLDERS[Benchmark.edge]
    scenario = titles.get(folder.scenario)
    model, loadgen_scenario = _LOADGEN.get(folder.scenario, ("", ""))
    result = LoadedResult(
        home=home,
        folder=folder,
        benchmark=Benchmark.edge if edge else Benchmark.datacenter,
        scenario=scenario,
        rules=rules("llama3_1-8b-edge" if edge else model, loadgen_scenario)
        if scenario
        else {},
        system={},
        measurements={},
    )
    result.system = _read(result, _read_object, home.system(folder.system)) or {}
    result.measurements = _read(result, _read_object, folder.measurements) or {}
    wanted = [Mode.performance, Mode.accuracy]
    if result.needs_compliance or folder.compliance.path.exists():
        wanted.append(Mode.compliance)
    for mode in wanted:
        loaded = _read(result, _load_run, mode, folder.run(mode))
        if loaded is not None:
            result.runs[mode] = loaded
    return result


def _read_object(path: Path) -> dict[str, Json]:
    return read_json(path, dict[str, Any])


def _load_run(mode: Mode, folder: RunFolder) -> LoadedRun:
    return LoadedRun(
        mode=mode,
        folder=folder,
        log=read_detail(folder.detail_log),
        config=load_config([], folder.config),
        settings=read_json(folder.settings, SettingsRecord),
        source=read_json(folder.source, dict[str, str]),
        verdict=read_json(folder.verdict, Verdict),
        replicas=read_json(folder.replicas, list[ReplicaRecord]),
        events=list(read_lines(folder.events, EventRecord)),
        user_conf=folder.user_conf.read_text(errors="replace"),
    )


def _read(
    result: LoadedResult, reader: Callable[P, T], *arguments: P.args, **named: P.kwargs
) -> T | None:
    try:
        return reader(*arguments, **named)
    except (RecordError, UserError, OSError) as error:
        result.unreadable.append(
            TreeFinding(
                check="readable",
                path=result.folder.path,
                problem=str(error),
                remedy=BUILD,
            )
        )
        return None
