"""Submission trees from logs of runs that really lasted 600 s (fixtures/README.md)."""

import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from base.benchmark import Benchmark
from conf.schema import Mode
from record.folder import RunFolder
from record.source import source_digests
from submission.build import copy_source
from submission.layout import (
    BENCHMARK_FOLDERS,
    ResultFolder,
    SubmitterFolder,
    submitter_folders,
)

FIXTURES = Path(__file__).parent / "fixtures"
SYSTEM = "synthetic-1"


class Tree:
    """A tree in a folder of the test's own."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def home(self) -> SubmitterFolder:
        return submitter_folders(self.root)[0]

    @property
    def system(self) -> Path:
        return self.home.system(SYSTEM)

    def result(self, scenario: str) -> ResultFolder:
        folder = BENCHMARK_FOLDERS[Benchmark.datacenter]
        return self.home.result(SYSTEM, folder, scenario)

    def copy(self, root: Path) -> "Tree":
        # No check reads these parts of src/.
        left_out = shutil.ignore_patterns("benchmarks", "docs", "requirements", "tests")
        shutil.copytree(self.root, root, ignore=left_out)
        return Tree(root)

    def close(self) -> "Tree":
        """Move it from the open division to closed."""
        (self.root / "open").rename(self.root / "closed")
        edit_json(self.system, lambda system: system.update(division="closed"))
        return self

    def with_made_up_accuracy(self) -> "Tree":
        """Give every result the made-up scores of the second fixture."""
        text = (FIXTURES / "MADE_UP_accuracy.txt").read_text()
        for result in self.home.results():
            _, _, expected = result.scores.read_text().partition("\nhash=")
            result.scores.write_text(f"{text.rstrip()}\n\nhash={expected}")
        return self


def unpack(root: Path, name: str = "datacenter", source: bool = True) -> Tree:
    """Return the tree of a fixture, with the present code as that of the runs.

    Without `source` it has no src/, which is most of its files.
    """
    with tarfile.open(FIXTURES / f"{name}_600s.tar.xz") as archive:
        archive.extractall(root, filter="data")
    tree = Tree(root)
    if source:
        copy_source(tree.home.source)
    digests = json.dumps(source_digests())
    for path in root.rglob("results/**/source.json"):
        path.write_text(digests)
    return tree


def edit(path: Path, old: str, new: str) -> None:
    """Replace `old`, which must be there, in a file."""
    text = path.read_text()
    assert old in text, f"{path}: no {old}"
    path.write_text(text.replace(old, new))


def edit_json(path: Path, change: Callable[[Any], object]) -> None:
    """Change what a JSON file holds."""
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def log_value(path: Path, key: str, value: object) -> None:
    """Change a value in LoadGen's detail log; None removes its line."""
    lines, found = [], False
    for line in path.read_text().splitlines():
        entry = json.loads(line.removeprefix(":::MLLOG "))
        if entry["key"] == key:
            found = True
            if value is None:
                continue
            entry["value"] = value
            line = f":::MLLOG {json.dumps(entry)}"
        lines.append(line)
    assert found, f"{path}: no {key}"
    path.write_text("\n".join(lines) + "\n")


def log_error(path: Path, message: str) -> None:
    """Add an error to LoadGen's detail log."""
    lines = path.read_text().splitlines()
    entry = json.loads(lines[-1].removeprefix(":::MLLOG "))
    entry |= {"key": "error_runtime", "value": message}
    entry["metadata"]["is_error"] = True
    path.write_text("\n".join([*lines, f":::MLLOG {json.dumps(entry)}"]) + "\n")


def _name_as_now(config: Path) -> None:
    """Name model, type and data as the fixture's options name them now."""
    tree = yaml.safe_load(config.read_text())
    tree["model"] |= {"name": "synthetic", "vocabulary": None, "weights": "none"}
    tree["model"]["dtype"] = "auto"
    tree["dataset"] |= {"name": "repeated_13368", "vocabulary": None}
    config.write_text(yaml.safe_dump(tree))


def as_runs(tree: Tree, runs: Path) -> None:
    """Lay out the fixture's runs as `python -m submission run` leaves them.

    The whole accuracy logs are not part of the fixture: made-up ones stand for them.
    """
    for result in tree.home.results():
        name = f"20260101T000000Z-{result.scenario.lower()}"
        for mode in Mode:
            run = runs / f"{name}-{mode.value}"
            shutil.copytree(result.run(mode).path, run)
            _name_as_now(run / "config.yaml")
        compliance = RunFolder(runs / f"{name}-compliance")
        shutil.copy(result.compliance_answers, compliance.accuracy_log)
        accuracy = RunFolder(runs / f"{name}-accuracy")
        scores, log = accuracy / "accuracy.txt", accuracy.accuracy_log
        scores.write_text(scores.read_text().partition("\nhash=")[0])
        log.write_text("[\n" + '{ "seq_id" : 0 },\n' * 2000 + "]\n")
