"""`python -m sut.main`: one run, from the command line to its report.

This is the composition root: everything is built here and handed on, and only this
module knows what follows a run.
"""

from sut.interrupts import abort_on_interrupt, ignore_interrupts, leave_on_interrupt

# The imports below take a second or more, in which Ctrl-C must work too.
leave_on_interrupt()

import contextlib
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

import mlperf_loadgen as lg

from base.child import announce_folder
from base.errors import Aborted, UserError
from conf.help import help_text, version_text
from conf.load import load_config, to_yaml
from conf.schema import Config
from qsl.dataset import Dataset, check_prompts, load_dataset
from record.errors import RecordError
from record.folder import RunFolder, write_json, write_text
from record.source import write_source
from record.writer import RecordWriter
from scenarios import gate
from scenarios.plan import ScenarioPlan, plan_scenario
from scenarios.rules import MAX_TOKENS
from scenarios.settings import build_settings, record_settings, set_expected_latency
from sut.aftermath import report_on, score
from sut.answers import Sinks
from sut.console import say, summarise, warn_of_neighbours
from sut.coordinator import Coordinator
from sut.garbage import spare_garbage_collector
from sut.launch import build_coordinator, check_fits, model_for
from sut.live import RunView
from sut.model import Model
from sut.scratch import Scratch
from sut.system import LoadGenRun

GOOD, NOT_GOOD, BAD_INPUT, ABORTED = 0, 1, 2, 3
_UPDATE_S = 0.25
_SWITCH_INTERVAL_S = 0.0005
"""Longest that a thread holds Python's lock while LoadGen's thread waits for it."""


def main(arguments: Sequence[str]) -> int:
    """Run the command line; return the exit code."""
    abort_on_interrupt()
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    try:
        if "--help" in arguments or "-h" in arguments:
            print(help_text(), end="")
            return GOOD
        if "--version" in arguments:
            print(version_text())
            return GOOD
        resolved, overrides = _split(arguments)
        return run(load_config(overrides, resolved))
    except UserError as error:
        say(f"error: {error}")
        return BAD_INPUT
    except Aborted as error:
        say(f"aborted: {error}")
        return ABORTED


def run(config: Config) -> int:
    """Make one run; return its exit code.

    Raises:
        UserError: bad input or configuration.
        Aborted: the run ended before its time.
    """
    dataset = load_dataset(config.dataset)
    plan = plan_scenario(config, len(dataset))
    model = model_for(config, say)
    check_fits(config, model, dataset)
    limit = config.model.max_model_len - MAX_TOKENS
    check_prompts(dataset, config.dataset, model.vocab_size, limit)
    label = f"{config.scenario.name.value}-{config.mode.value}"
    try:
        folder = RunFolder.create(Path(config.run.dir), label)
        announce_folder(folder.path)
        write_text(folder.config, to_yaml(config))
        write_source(folder)
    except OSError as error:
        raise UserError(f"run.dir={config.run.dir}: {error.strerror}") from error
    say(f"run folder: {folder.path}")
    try:
        _measure(config, model, dataset, plan, folder)
        return _conclude(folder)
    except (Aborted, UserError) as error:
        with contextlib.suppress(OSError):
            write_json(folder.verdict, gate.aborted(folder, str(error)))
        raise
    except (OSError, RecordError) as error:
        with contextlib.suppress(OSError):
            write_json(folder.verdict, gate.aborted(folder, str(error)))
        raise Aborted(f"{folder.path}: {error}") from error
    except Exception as error:
        trace = folder / "traceback.txt"
        with contextlib.suppress(OSError):
            write_text(trace, traceback.format_exc())
            write_json(folder.verdict, gate.aborted(folder, str(error)))
        raise Aborted(f"{type(error).__name__}: {error}; see {trace}") from error


def _measure(
    config: Config,
    model: Model,
    dataset: Dataset,
    plan: ScenarioPlan,
    folder: RunFolder,
) -> None:
    settings = build_settings(plan, folder)
    for note in plan.notes:
        say(note)
    digest = dataset.sha256 or None
    facts = (model.stop_token_ids, model.tokenizer, digest)
    record_settings(settings, plan, folder, *facts)
    with Scratch() as scratch, RecordWriter(folder) as writer:
        coordinator = build_coordinator(
            config, model, dataset, plan.streaming, folder, writer, scratch.path, say
        )
        try:
            with RunView(coordinator, config.run.live) as view:
                _start_replicas(coordinator, view, folder)
                write_json(folder.replicas, coordinator.members.records())
                warn_of_neighbours(coordinator.members.records())
                if plan.needs_latency:
                    latency_ns = _slowest_warm_request_ns(coordinator)
                    set_expected_latency(settings, plan, folder, latency_ns)
                    record_settings(settings, plan, folder, *facts)
                view.begin_run(plan.expected_samples(len(dataset)))
                _run_loadgen(config, settings, dataset, coordinator, view, folder)
                ignore_interrupts()
        except BaseException as error:
            ignore_interrupts()
            coordinator.abort(str(error))
            raise
        coordinator.close()
        write_json(folder.replicas, coordinator.members.records())
        write_json(folder.clock, coordinator.clock.record())
    if writer.failure is not None:
        raise Aborted(f"the run folder cannot be written: {writer.failure}")


def _start_replicas(coordinator: Coordinator, view: RunView, folder: RunFolder) -> None:
    coordinator.start()
    while not coordinator.ready.wait(_UPDATE_S):
        view.update()
    if coordinator.members.misconfigured:
        raise UserError(coordinator.failure)
    if coordinator.failure:
        raise Aborted(f"{coordinator.failure}; see {folder / 'replicas'}")


def _slowest_warm_request_ns(coordinator: Coordinator) -> int:
    records = coordinator.members.records()
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
    sinks = Sinks(first_tokens=test.first_tokens, complete=test.complete)
    coordinator.connect(sinks, test.mean_gap_s)
    test.start()
    while not test.wait(_UPDATE_S):
        view.update()
        if coordinator.failure:
            raise Aborted(coordinator.failure)
    if test.error is not None:
        raise Aborted(f"LoadGen: {type(test.error).__name__}: {test.error}")
    if coordinator.failure:
        raise Aborted(coordinator.failure)


def _conclude(folder: RunFolder) -> int:
    verdict = gate.judge(folder)
    accuracy = score(folder, verdict)
    write_json(folder.verdict, verdict)
    report_on(folder)
    summarise(folder, verdict, accuracy)
    return GOOD if verdict.outcome == "passed" else NOT_GOOD


def _split(arguments: Sequence[str]) -> tuple[Path | None, list[str]]:
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


def _leave(code: int) -> None:
    """End the process at once: LoadGen crashes Python's own shutdown after an abort."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, AttributeError):
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    _leave(main(sys.argv[1:]))
