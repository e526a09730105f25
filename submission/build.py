"""`mlperf-sut submission build`: puts the tree together from runs that passed."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from base.benchmark import TITLES, ScenarioName
from base.errors import UserError
from base.files import copy_project
from conf.engines import SyntheticConfig
from conf.schema import Config, Mode, Weights
from record.folder import RunFolder, read_json, write_json, write_text
from record.source import source_digests
from record.structs import SettingsRecord
from submission import documents
from submission.documents import truncated, verification_text, with_hash
from submission.layout import BENCHMARK_FOLDERS, ResultFolder, SubmitterFolder
from submission.machine import Machine, describe_machine
from submission.plan import PlannedRun, plan_runs
from submission.published import publish
from submission.request import Division, Request
from submission.runs import find_run, known_rates
from submission.system import system_description

Runs = dict[ScenarioName, dict[Mode, RunFolder]]


def build_tree(request: Request) -> Path:
    """Make the tree of `request` from the start and return its root.

    Raises:
        UserError: runs or facts are missing; each is named.
        RecordError: a record of a run is missing or damaged.
        OSError: the tree cannot be written.
    """
    planned = plan_runs(request, known_rates(request))
    runs = _found(request, planned)
    description = system_description(request, read_machines(request))
    draft = request.root / f".tree-{os.getpid()}"
    shutil.rmtree(draft, ignore_errors=True)
    try:
        home = SubmitterFolder(draft / request.division.value / request.submitter)
        copy_source(home.source)
        _write(home.system(request.system), description)
        performance = {}
        for scenario, folders in runs.items():
            title = TITLES[scenario]
            benchmark = BENCHMARK_FOLDERS[request.benchmark]
            result = home.result(request.system, benchmark, title)
            config = next(run.config for run in planned if run.scenario is scenario)
            _add_result(result, folders)
            write_json(
                result.measurements, documents.measurements(config, request.weights)
            )
            readme = documents.result_readme(title, config, result.performance)
            write_text(result.readme, readme)
            performance[title] = result.performance.path
        home.calibration.parent.mkdir(parents=True)
        write_text(home.calibration, documents.calibration(request))
        write_text(home.bandwidth, documents.bandwidth(request, performance))
        shutil.rmtree(request.tree, ignore_errors=True)
        draft.rename(request.tree)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return request.tree


def require_buildable(request: Request, planned: list[PlannedRun]) -> None:
    """Refuse a request from whose runs no tree can ever be built.

    Raises:
        UserError: answers that cannot be scored, a configuration that the division
            refuses, or a description that lacks fields; all of it is named.
        RecordError: a description of a machine is missing or damaged.
    """
    problems = [p for run in planned for p in _never_scored(run.config)]
    if request.division is Division.closed:
        problems += [p for run in planned for p in _never_closed(run.config)]
    try:
        system_description(request, read_machines(request))
    except UserError as error:
        problems.append(str(error))
    if problems:
        raise UserError(
            "no submission can be built from these runs: "
            + "; ".join(dict.fromkeys(problems))
        )


def _never_scored(config: Config) -> Iterator[str]:
    """Yield why answers of such a run are no text that could be compared."""
    model = config.model
    if isinstance(config.engine, SyntheticConfig):
        yield "engine=synthetic answers with synthetic tokens, which have no accuracy"
    elif model.path is not None and not Path(model.path, "tokenizer.json").is_file():
        yield f"model.path={model.path} has no tokenizer.json, so no answer is text"
    elif model.path is None and model.weights is Weights.dummy:
        yield f"model={model.name} has random weights and no tokenizer"
    if config.dataset.name == "synthetic":
        yield "dataset=synthetic has no references to score answers with"


def _never_closed(config: Config) -> Iterator[str]:
    if not config.model.is_benchmark:
        yield f"division: closed does not take model={config.model.name}"
    if not config.dataset.is_benchmark:
        yield f"division: closed does not take dataset={config.dataset.name}"


def read_machines(request: Request) -> list[Machine]:
    """Return the nodes as described; this host where none is named.

    Raises:
        RecordError: a description is missing or damaged.
    """
    paths = [Path(name) for name in request.machines]
    return [read_json(path, Machine) for path in paths] or [describe_machine()]


def copy_source(target: Path) -> None:
    """Copy the code to the new folder `target`.

    Raises:
        UserError: a file that runs depend on is not among the project's.
        OSError: a file cannot be read or written.
    """
    copy_project(target)
    if strange := source_digests().keys() - source_digests(target).keys():
        raise UserError(
            f"{min(strange)}: runs depend on it, but git does not track it; add it"
        )


def _found(request: Request, planned: list[PlannedRun]) -> Runs:
    source = source_digests()
    runs: Runs = {}
    missing = []
    for run in planned:
        found = find_run(request.runs, run, source)
        if found.folder is None:
            reason = f" ({found.refused})" if found.refused else ""
            missing.append(run.title + reason)
        else:
            runs.setdefault(run.scenario, {})[run.config.mode] = found.folder
    if missing:
        raise UserError(
            f"no run to build from: {'; '.join(missing)}; make it with"
            " `mlperf-sut submission run`"
        )
    return runs


def _add_result(result: ResultFolder, runs: dict[Mode, RunFolder]) -> None:
    for mode, run in runs.items():
        publish(run, result.run(mode))
    accuracy = runs[Mode.accuracy]
    scores, details = accuracy / "accuracy.txt", accuracy / "accuracy.json"
    for path in (scores, details):
        if not path.exists():
            raise UserError(
                f"{path}: missing; `mlperf-sut accuracy {accuracy.path}` makes it or"
                " says why it cannot be"
            )
    shutil.copy(details, result.accuracy.path)
    log = accuracy.accuracy_log.read_bytes()
    result.accuracy.accuracy_log.write_bytes(truncated(log))
    write_text(result.scores, with_hash(scores.read_text(), log))
    shutil.copy(result.performance.user_conf, result.user_conf)
    if Mode.compliance in runs:
        compliance = runs[Mode.compliance]
        shutil.copy(compliance.audit_conf, result.compliance.audit_conf)
        result.compliance_answers.parent.mkdir(parents=True)
        shutil.copy(compliance.accuracy_log, result.compliance_answers)
        settings = read_json(compliance.settings, SettingsRecord)
        text = verification_text(compliance.accuracy_log, settings)
        write_text(result.verification, text)


def _write(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, content)
