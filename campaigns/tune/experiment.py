"""Writes the experiment file of the settings that a tuning campaign found."""

import platform
import subprocess
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from base.errors import UserError
from base.files import ROOT, data_path
from base.version import VERSION
from campaigns.folders import check_target
from campaigns.sweep.points import Point
from campaigns.tune.record import Gain, Tune, TuneResult
from campaigns.tune.result import shell
from conf.experiment_file import OPTION, merge, read_experiment
from record.folder import RecordError, RunFolder, read_json, write_text
from record.source import source_digest
from record.structs import ReplicaRecord

_FIRST = "# @package _global_\n# Found by python -m campaigns.tune"
_KEPT_GROUPS = ("scenario", "engine")
"""Groups that the file chooses; model, data and cluster are those of the user."""
_LENGTH = ("run.min_queries", "run.min_duration_s", "run.ttft_ms", "run.tpot_ms")
_LENGTHS = (*_LENGTH, "run.latency_percentile", "run.steps")
_WIDTH = 88


def check_path(path: Path) -> None:
    """Check that the experiment file may be written.

    Raises:
        UserError: it cannot be written, or it is a file of somebody else.
        OSError: the disk is full.
    """
    check_target("--write", path)
    if path.exists() and not path.read_text(errors="replace").startswith(_FIRST):
        raise UserError(
            f"--write {path}: the file exists and was not written by this command;"
            " name another one"
        )


def write_experiment(path: Path, root: Path, tune: Tune, command: str) -> None:
    """Write the settings that were found, with the evidence in comments.

    Args:
        path: of the file; `experiment_file=PATH` reads it.
        root: folder of the campaign.
        tune: with a result.
        command: that made the campaign.

    Raises:
        OSError: it cannot be written.
    """
    result = tune.result
    assert result is not None
    groups, tree = settings(tune.shared, result.point)
    lines = [_FIRST, *_comments(path, root, tune, result, command)]
    if groups:
        lines.append("defaults:")
        lines += [f"  - override /{name}: {choice}" for name, choice in groups.items()]
    body = yaml.safe_dump(tree, sort_keys=False, width=_WIDTH) if tree else ""
    write_text(path, "\n".join(lines) + "\n" + body)


def settings(
    shared: Sequence[str], point: Point
) -> tuple[dict[str, str], dict[str, Any]]:
    """Return the groups and the values of the experiment.

    They are those of the campaign's own experiment, its options of the engine, and the
    setting that was found.

    Raises:
        UserError: the campaign's experiment cannot be read any more.
    """
    groups: dict[str, str] = {}
    tree: dict[str, Any] = {}
    pairs = [text.partition("=")[::2] for text in shared]
    for key, value in pairs:
        path = value
        if key == "experiment" and value != "null":
            path = str(data_path("conf", f"experiment/{value}.yaml"))
        elif key != OPTION:
            continue
        own, values = read_experiment(path)
        groups.update(own)
        merge(tree, values)
    for key, value in [*pairs, *point.items()]:
        if key in _KEPT_GROUPS:
            groups[key] = value
        elif key.startswith("engine.") or key in point:
            *parents, last = key.split(".")
            node = tree
            for name in parents:
                node = node.setdefault(name, {})
            node[last] = yaml.safe_load(value)
    return groups, tree


def rest(shared: Sequence[str]) -> list[str]:
    """Return the options of a run that the experiment file does not hold."""
    left = []
    for text in shared:
        key = text.partition("=")[0]
        held = key in (*_KEPT_GROUPS, "experiment", OPTION) or key.startswith("engine.")
        if not held:
            left.append(text)
    return left


def accuracy_options(shared: Sequence[str]) -> list[str]:
    """Return the options of the accuracy run, without those of the setting itself."""
    return [
        *(o for o in shared if o.partition("=")[0] not in (*_LENGTHS, "mode")),
        "mode=accuracy",
    ]


def _comments(
    path: Path, root: Path, tune: Tune, result: TuneResult, command: str
) -> Iterator[str]:
    yield f"#   {command}"
    yield f"# Gain in {tune.objective} over the default ({tune.better} is better):"
    yield f"#   {_interval(result.own)}"
    if result.others is not None:
        seeds = ", ".join(f"{s.seed}: {100 * s.gain:+.1f}%" for s in result.seeds)
        yield f"# With other seeds of LoadGen ({seeds}):"
        yield f"#   {_interval(result.others)}"
    yield f"# {result.runs} runs in {result.seconds:,.0f} s, in {root}"
    yield from _wrapped(f"Runs with these settings: {', '.join(_runs(tune, result))}.")
    yield from _wrapped(_origin(root, tune, result))
    yield "# Measured with these other options:"
    yield from _wrapped(shell(rest(tune.shared)) or "none", "#   ")
    options = [f"{OPTION}={path}", *rest(accuracy_options(tune.shared))]
    yield "# Accuracy check that these settings need:"
    yield f"#   mlperf-sut run {shell(options)}"
    done = result.accuracy
    if done is None:
        yield "#   not made"
    elif done.passed:
        yield f"#   made, passed: {done.run}"
    else:
        yield from _wrapped(f"made, NOT passed: {done.run}: {done.reason}", "#   ")


def _runs(tune: Tune, result: TuneResult) -> list[str]:
    own = [run for run in tune.made if run.candidate == result.candidate]
    return [run.run for run in own if run.run is not None and run.phase != "screen"]


def _interval(gain: Gain | None) -> str:
    if gain is None or gain.low is None or gain.high is None:
        return "unknown"
    low, high = 100 * gain.low, 100 * gain.high
    return (
        f"{100 * gain.gain:+.2f}%, 95% interval {low:+.2f} to {high:+.2f}%,"
        f" {gain.pairs} pairs of alternating runs"
    )


def _origin(root: Path, tune: Tune, result: TuneResult) -> str:
    names = _runs(tune, result)
    words = [f"mlperf-loadgen-sut {VERSION}", f"commit {_commit()}"]
    try:
        replicas = read_json(RunFolder(root / names[0]).replicas, list[ReplicaRecord])
        first = replicas[0]
        words += [f"{name} {version}" for name, version in first.versions.items()]
        words.append(f"{len(replicas)} replica(s) on {first.devices or 'a CPU'}")
    except (RecordError, IndexError):
        pass
    words.append(f"source {source_digest()[:12]}")
    words.append(f"{platform.machine()}, Linux {platform.release()}")
    return ", ".join(words) + "."


def _commit() -> str:
    """Return the commit of this code; `unknown` of an installed package."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
    if not (ROOT / ".git").exists():
        return "unknown (installed package)"
    try:
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


def _wrapped(text: str, prefix: str = "# ") -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=prefix,
        subsequent_indent=prefix + "  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
