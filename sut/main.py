"""`python -m sut.main`: one run, from the command line to its report.

This is the composition root: it builds all parts, connects them, and decides what
happens after a run.
"""

from sut.interrupts import (
    abort_on_interrupt,
    ignore_interrupts,
    start_command,
    stop_on_request,
)

if __name__ == "__main__":
    # Before the imports below, which take a second or more.
    start_command("sut.main")

import contextlib
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import mlperf_loadgen as lg

from base.barrier import wait_for_others
from base.child import announce_folder
from base.command import run_command
from base.errors import Aborted, ExitCode, Stopped, UserError
from base.log import be_quiet, logger
from base.memory import spare_garbage_collector
from conf.help import help_text, version_text
from conf.load import load_config, to_yaml
from conf.schema import Config, LiveView
from conf.secrets import require_secrets
from qsl.dataset import Dataset, load_dataset
from record.folder import RecordError, RunFolder, write_json, write_text
from record.source import write_source
from record.status import finish_status
from record.structs import Verdict
from record.writer import RecordWriter
from scenarios import gate
from scenarios.plan import ScenarioPlan
from scenarios.planner import plan_scenario
from scenarios.settings import build_settings, record_settings, set_expected_latency
from sut.console import warn_of_shared_devices
from sut.coordinator.coordinator import Coordinator
from sut.coordinator.live import RunView
from sut.coordinator.loadgen import LoadGenRun
from sut.fit import check_fits, fit_lengths
from sut.launch import build_coordinator, model_for, run_facts
from sut.metrics import Serve, metrics_server
from sut.model import Model
from sut.postprocess import conclude
from sut.scratch import Scratch

_LOG = logger(__name__)

_QUIET, _JSON = "--quiet", "--json"
_UPDATE_S = 0.25
_SWITCH_INTERVAL_S = 0.0005
"""Longest that a thread holds Python's lock while LoadGen's thread waits for it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code.

    Args:
        arguments: options; None: those of the process.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    return run_command(lambda: _command(given))


def _command(arguments: list[str]) -> int:
    abort_on_interrupt()
    stop_on_request()
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    if "--help" in arguments or "-h" in arguments:
        print(help_text(), end="")
        return ExitCode.GOOD
    if "--version" in arguments:
        print(version_text())
        return ExitCode.GOOD
    flags = {text for text in arguments if text in (_QUIET, _JSON)}
    rest = [text for text in arguments if text not in flags]
    resolved, overrides = split_arguments(rest)
    config = load_config(overrides, resolved)
    require_secrets(config)
    if _QUIET in flags:
        be_quiet()
        config.run.live = LiveView.quiet
    return run(config, as_json=_JSON in flags)


def run(config: Config, *, as_json: bool = False) -> int:
    """Make one run; return its exit code.

    Args:
        config: what to run.
        as_json: whether the summary is printed as JSON.

    Raises:
        UserError: bad input or configuration.
        Aborted: the run ended early.
    """
    dataset = load_dataset(config.dataset)
    plan = plan_scenario(config, len(dataset))
    model = model_for(config, _LOG.info)
    check_fits(config, model, dataset)
    fit_lengths(config, model, dataset)
    with metrics_server(config.run) as serve_metrics:
        folder = _make_folder(config)
        verdict = _judged(config, model, dataset, plan, folder, serve_metrics)
        return conclude(folder, verdict, as_json=as_json)


def _judged(
    config: Config,
    model: Model,
    dataset: Dataset,
    plan: ScenarioPlan,
    folder: RunFolder,
    serve_metrics: Serve,
) -> Verdict:
    """Measure; return the verdict, which is in the folder however the run ended.

    Raises:
        UserError: bad input or configuration.
        Aborted: the run ended early.
    """
    try:
        with _prepared(config, model, dataset, plan, folder) as (settings, coordinator):
            announce_folder(folder.path)
            _LOG.info("run folder: %s", folder.path)
            if (problem := folder.become_latest()) is not None:
                _LOG.info("note: %s", problem)
            serve_metrics(folder)
            _measure(config, model, dataset, plan, folder, settings, coordinator)
        verdict = gate.judge(folder)
        _record_verdict(folder, verdict)
    except (Aborted, Stopped, UserError) as error:
        _record_end(folder, error)
        raise
    except (OSError, RecordError) as error:
        _record_end(folder, error)
        raise Aborted(f"{folder.path}: {error}") from error
    except Exception as error:
        trace = folder / "traceback.txt"
        with contextlib.suppress(OSError):
            write_text(trace, traceback.format_exc())
        _record_end(folder, error)
        raise Aborted(f"{type(error).__name__}: {error}; see {trace}") from error
    return verdict


def _record_verdict(folder: RunFolder, verdict: Verdict) -> None:
    write_json(folder.verdict, verdict)
    # A run that was refused has no status.
    with contextlib.suppress(RecordError):
        finish_status(folder, verdict.outcome, time.time_ns())


def _record_end(folder: RunFolder, error: Exception) -> None:
    """Write why the run ended into its folder, unless the folder was removed."""
    with contextlib.suppress(OSError):
        judge = gate.stopped if isinstance(error, Stopped) else gate.aborted
        _record_verdict(folder, judge(folder, str(error)))
        announce_folder(folder.path)
        folder.become_latest()


def _make_folder(config: Config) -> RunFolder:
    """Make the run's folder, with the configuration and digests of the code.

    Raises:
        UserError: the folder cannot be written.
    """
    label = f"{config.scenario.name.value}-{config.mode.value}"
    with ExitStack() as undo:
        try:
            folder = RunFolder.create(Path(config.run.dir), label)
            undo.callback(folder.discard)
            write_text(folder.config, to_yaml(config))
            write_source(folder)
        except OSError as error:
            raise UserError(f"run.dir={config.run.dir}: {error.strerror}") from error
        undo.pop_all()
    return folder


@contextmanager
def _prepared(
    config: Config,
    model: Model,
    dataset: Dataset,
    plan: ScenarioPlan,
    folder: RunFolder,
) -> Iterator[tuple[lg.TestSettings, Coordinator]]:
    """Yield LoadGen's settings, and a coordinator whose replicas are not started.

    If the run is refused here, its folder is removed.

    Raises:
        UserError: bad input or configuration.
        Aborted: the records of the run could not be written.
    """
    with ExitStack() as stack:
        try:
            settings = build_settings(plan, folder)
            for note in plan.notes:
                _LOG.info("%s", note)
            record_settings(settings, plan, folder, run_facts(model, dataset))
            scratch = stack.enter_context(ExitStack())
            writer = stack.enter_context(RecordWriter(folder, steps=config.run.steps))
            coordinator = build_coordinator(
                config,
                model,
                dataset,
                plan.streaming,
                folder,
                writer,
                lambda: scratch.enter_context(Scratch()).path,
                _LOG.info,
                settings.tpot_latency / 1e9 if _has_limits(plan) else None,
            )
        except UserError:
            stack.close()
            folder.discard()
            raise
        yield settings, coordinator
    if writer.failure is not None:
        raise Aborted(f"the run folder cannot be written: {writer.failure}")


def _has_limits(plan: ScenarioPlan) -> bool:
    """Return whether LoadGen judges TTFT and TPOT."""
    return plan.loadgen_scenario == "Server"


def _measure(
    config: Config,
    model: Model,
    dataset: Dataset,
    plan: ScenarioPlan,
    folder: RunFolder,
    settings: lg.TestSettings,
    coordinator: Coordinator,
) -> None:
    try:
        with RunView(coordinator, config.run.live) as view:
            _start_replicas(coordinator, view, folder)
            write_json(folder.replicas, coordinator.replicas.records())
            warn_of_shared_devices(coordinator.replicas.records())
            if plan.needs_latency:
                latency_ns = _slowest_warm_request_ns(coordinator)
                set_expected_latency(settings, plan, folder, latency_ns)
                record_settings(settings, plan, folder, run_facts(model, dataset))
            wait_for_others(lambda: _update(coordinator, view))
            view.begin_run(plan.expected_samples(len(dataset)))
            _run_loadgen(config, settings, dataset, coordinator, view, folder)
            ignore_interrupts()
    except Stopped:
        ignore_interrupts()
        coordinator.close(still_open="unfinished")
        write_json(folder.replicas, coordinator.replicas.records())
        raise
    except BaseException as error:
        ignore_interrupts()
        coordinator.abort(str(error))
        raise
    coordinator.close()
    write_json(folder.replicas, coordinator.replicas.records())
    write_json(folder.clock, coordinator.clock.record())


def _start_replicas(coordinator: Coordinator, view: RunView, folder: RunFolder) -> None:
    coordinator.start()
    while not coordinator.ready.wait(_UPDATE_S):
        view.update()
    if coordinator.replicas.misconfigured:
        raise UserError(coordinator.failure)
    if coordinator.failure:
        raise Aborted(f"{coordinator.failure}; see {folder / 'replicas'}")


def _update(coordinator: Coordinator, view: RunView) -> None:
    view.update()
    if coordinator.failure:
        raise Aborted(coordinator.failure)


def _slowest_warm_request_ns(coordinator: Coordinator) -> int:
    records = coordinator.replicas.records()
    return int(max(record.last_request_s for record in records) * 1e9)


def _run_loadgen(
    config: Config,
    settings: lg.TestSettings,
    dataset: Dataset,
    coordinator: Coordinator,
    view: RunView,
    folder: RunFolder,
) -> None:
    test = LoadGenRun(
        settings,
        dataset,
        folder,
        coordinator.issue,
        coordinator.flush,
        config.run.trace,
    )
    spare_garbage_collector()
    coordinator.begin_test(test.mean_gap_s)
    test.start()
    while not test.wait(_UPDATE_S):
        _update(coordinator, view)
    if test.error is not None:
        raise Aborted(f"LoadGen: {type(test.error).__name__}: {test.error}")
    if coordinator.failure:
        raise Aborted(coordinator.failure)


def split_arguments(arguments: Sequence[str]) -> tuple[Path | None, list[str]]:
    """Return the file after --config, and the overrides."""
    rest: list[str] = []
    for argument in arguments:
        name, equals, value = argument.partition("=")
        rest += [name, value] if name == "--config" and equals else [argument]
    if "--config" not in rest:
        return None, rest
    place = rest.index("--config")
    if not rest[place + 1 :] or not rest[place + 1]:
        raise UserError("--config needs a file, e.g. runs/latest/config.yaml")
    path = Path(rest[place + 1])
    del rest[place : place + 2]
    return path, rest
