"""`mlperf-sut doctor [OPTION=VALUE ...]`: whether this host is ready for a run.

Options are those of `mlperf-sut run`: a model or a data set that is named is checked,
run.dir and cluster.listen are the folder and the port that are looked at. Each line is
good, warning or bad and says how to fix it. Exit code: 1 where a line is bad, else 0.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from base.command import ArgumentParser, run_command
from base.errors import ExitCode, UserError
from base.files import cache_folder
from base.version import VERSION
from cli.diagnosis import Diagnosis, Level, bad, good
from cli.gpu_checks import gpu_checks, gpu_health
from cli.host_checks import check_reachable, host_checks
from cli.software_checks import software_checks
from conf.clusters import ExternalConfig
from conf.load import load_config
from conf.schema import Config
from submission.machine import describe_gpus
from sut.clusters.factory import listening

_PORT = 5555
_COLORS = {Level.good: "32", Level.warning: "33", Level.bad: "31"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the diagnoses; return the exit code."""
    return run_command(lambda: _command(arguments))


def _command(arguments: Sequence[str] | None) -> int:
    options = _parser().parse_args(arguments)
    config = load_config(options.overrides)
    found = list(_checks(config, options.overrides, options.connect))
    if options.json:
        print(json.dumps([asdict(line) for line in found], indent=2))
    else:
        _show(found)
    worst = any(line.level is Level.bad for line in found)
    return ExitCode.NOT_GOOD if worst else ExitCode.GOOD


def _checks(
    config: Config, overrides: Sequence[str], connect: str | None
) -> Iterator[Diagnosis]:
    yield good("version", f"mlperf-loadgen-sut {VERSION}")
    health = gpu_health()
    yield from software_checks(describe_gpus(), health)
    yield from gpu_checks(health)
    port = _PORT
    if isinstance(config.cluster, ExternalConfig):
        _, port = listening(config.cluster.listen)
    yield from host_checks(Path(config.run.dir).absolute(), cache_folder(), port)
    if _names(overrides, "model"):
        yield _tried("model", lambda: _model(config))
    if _names(overrides, "dataset"):
        yield _tried("data set", lambda: _dataset(config))
    if _names(overrides, "model") and _names(overrides, "dataset"):
        yield _tried("model and data", lambda: _fit(config))
    if connect is not None:
        yield check_reachable(connect)


def _names(overrides: Sequence[str], group: str) -> bool:
    return any(text.startswith((f"{group}=", f"{group}.")) for text in overrides)


def _tried(name: str, look: Callable[[], str]) -> Diagnosis:
    """Return what `look` found; what it refuses, a run would refuse as well."""
    try:
        return good(name, look())
    except UserError as error:
        return bad(name, str(error), "correct the option, then run doctor again")


def _model(config: Config) -> str:
    from sut.launch import model_for

    model = model_for(config, _notify)
    facts = [f"{config.model.name} in {model.path}"]
    if model.architecture:
        facts.append(model.architecture)
    facts.append(f"a vocabulary of {model.vocab_size:,}")
    if model.longest is not None:
        facts.append(f"up to {model.longest:,} tokens")
    return ", ".join(facts)


def _dataset(config: Config) -> str:
    from qsl.dataset import load_dataset

    dataset = load_dataset(config.dataset)
    facts = [f"{config.dataset.name}, {len(dataset):,} samples"]
    facts.append(f"prompts of {dataset.lengths.min():,} to {dataset.lengths.max():,}")
    answers = dataset.output_tokens
    if answers is not None:
        facts.append(f"answers of {answers.min():,} to {answers.max():,}")
    facts[-1] += " tokens"
    if not dataset.references:
        facts.append("no references")
    return ", ".join(facts)


def _fit(config: Config) -> str:
    from qsl.dataset import load_dataset
    from sut.fit import check_fits, fit_lengths
    from sut.launch import model_for

    model, dataset = model_for(config, _notify), load_dataset(config.dataset)
    check_fits(config, model, dataset)
    fit_lengths(config, model, dataset)
    return f"they fit; model.max_model_len={config.model.max_model_len}"


def _notify(text: str) -> None:
    print(text, file=sys.stderr)


def _show(found: Sequence[Diagnosis]) -> None:
    width = max(len(line.name) for line in found)
    for line in found:
        level = f"{line.level:<7}"
        if sys.stdout.isatty():
            level = f"\x1b[{_COLORS[line.level]}m{level}\x1b[0m"
        print(f"{level}  {line.name:<{width}}  {line.found}")
        if line.remedy:
            print(f"{'':<7}  {'':<{width}}  to fix it: {line.remedy}")


def _parser() -> argparse.ArgumentParser:
    parser = ArgumentParser(
        prog="mlperf-sut doctor",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("overrides", nargs="*", metavar="OPTION=VALUE")
    parser.add_argument("--json", action="store_true", help="print a JSON list")
    parser.add_argument(
        "--connect", metavar="HOST:PORT", help="a coordinator to be reached from here"
    )
    return parser
