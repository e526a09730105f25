"""`python -m sut.main`: one run, from the command line to its report.

This is the composition root: everything is built here and handed on, and only this
module knows what follows a run.
"""

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import mlperf_loadgen as lg

from conf.errors import UserError
from conf.help import help_text
from conf.load import load_config, to_yaml
from conf.schema import Config, ScenarioName
from qsl.dataset import Dataset, load_dataset
from record.errors import RecordError
from record.folder import RunFolder, write_json, write_text
from record.writer import RecordWriter
from scenarios import gate
from scenarios.plan import ScenarioPlan, plan_scenario
from scenarios.settings import build_settings, record_settings, set_expected_latency
from sut.aftermath import report_on, score
from sut.console import say, summarise
from sut.coordinator import Coordinator, Sinks
from sut.errors import Aborted
from sut.launch import MAX_TOKENS, build_coordinator, model_for
from sut.live import RunView
from sut.model import Model
from sut.system import LoadGenRun

GOOD, NOT_GOOD, BAD_INPUT, ABORTED = 0, 1, 2, 3
_UPDATE_S = 0.25


def main(arguments: Sequence[str]) -> int:
    """Run the command line; return the exit code."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        if "--help" in arguments or "-h" in arguments:
            print(help_text(), end="")
            return GOOD
        resolved, overrides = _split(arguments)
        return run(load_config(overrides, resolved))
    except (UserError, OSError) as error:
        say(f"error: {error}")
        return BAD_INPUT
    except (Aborted, RecordError) as error:
        say(f"aborted: {error}")
        return ABORTED


def run(config: Config) -> int:
    """Make one run; return its exit code.

    Raises:
        UserError: bad input or configuration.
        Aborted: the run ended before its time.
    """
    model = model_for(config, say)
    limit = config.model.max_model_len - MAX_TOKENS
    dataset = load_dataset(config.dataset, model.vocab_size, limit)
    plan = plan_scenario(config, len(dataset))
    label = f"{config.scenario.name.value}-{config.mode.value}"
    folder = RunFolder.create(Path(config.run.dir), label)
    write_text(folder.config, to_yaml(config))
    say(f"run folder: {folder.path}")
    try:
        _measure(config, model, dataset, plan, folder)
    except (Aborted, UserError) as error:
        write_json(folder.verdict, gate.aborted(folder, str(error)))
        raise
    return _conclude(folder)


def _measure(
    config: Config,
    model: Model,
    dataset: Dataset,
    plan: ScenarioPlan,
    folder: RunFolder,
) -> None:
    settings = build_settings(plan, folder)
    record_settings(settings, plan, folder, model.stop_token_ids, model.tokenizer)
    with RecordWriter(folder) as writer:
        coordinator = build_coordinator(
            config, model, dataset, plan.streaming, folder, writer
        )
        try:
            with RunView(coordinator, config.run.live) as view:
                _start_replicas(coordinator, view)
                write_json(folder.replicas, coordinator.replica_records())
                if _needs_probe(config):
                    latency_ns = _slowest_warm_request_ns(coordinator)
                    set_expected_latency(settings, plan, folder, latency_ns)
                    record_settings(
                        settings, plan, folder, model.stop_token_ids, model.tokenizer
                    )
                view.begin_run(plan.expected_samples(len(dataset)))
                _run_loadgen(config, settings, dataset, coordinator, view, folder)
        except BaseException as error:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)
            coordinator.abort(str(error))
            raise
        coordinator.close()
        write_json(folder.replicas, coordinator.replica_records())


def _start_replicas(coordinator: Coordinator, view: RunView) -> None:
    coordinator.start()
    while not coordinator.ready.wait(_UPDATE_S):
        view.update()
    if coordinator.failure:
        kind = UserError if coordinator.misconfigured else Aborted
        raise kind(coordinator.failure)


def _needs_probe(config: Config) -> bool:
    singlestream = config.scenario.name is ScenarioName.singlestream
    return singlestream and config.scenario.expected_latency_ms is None


def _slowest_warm_request_ns(coordinator: Coordinator) -> int:
    records = coordinator.replica_records()
    return int(max(record.last_request_s for record in records) * 1e9)


def _run_loadgen(
    config: Config,
    settings: lg.TestSettings,
    dataset: Dataset,
    coordinator: Coordinator,
    view: RunView,
    folder: RunFolder,
) -> None:
    test = LoadGenRun(settings, dataset, folder, coordinator.issue, config.run.trace)
    coordinator.connect(Sinks(first_token=test.first_token, complete=test.complete))
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
    write_json(folder.verdict, verdict)
    accuracy = score(folder)
    report_on(folder)
    summarise(folder, verdict, accuracy.scores if accuracy else None)
    good = verdict.outcome == "passed" and (accuracy is None or accuracy.good)
    return GOOD if good else NOT_GOOD


def _split(arguments: Sequence[str]) -> tuple[Path | None, list[str]]:
    """Return the file after --config, and the overrides."""
    rest = list(arguments)
    if "--config" not in rest:
        return None, rest
    place = rest.index("--config")
    if place + 1 == len(rest):
        raise UserError("--config needs a file, e.g. runs/latest/config.yaml")
    path = Path(rest[place + 1])
    del rest[place : place + 2]
    return path, rest


def _interrupt(number: int, _frame: FrameType | None) -> None:
    raise Aborted(f"interrupted by {signal.Signals(number).name}")


def _leave(code: int) -> None:
    """End the process at once: LoadGen crashes Python's own shutdown after an abort."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    _leave(main(sys.argv[1:]))
