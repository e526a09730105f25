"""One code, one configuration and one user.conf for all runs of a result."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from conf.schema import Mode
from record.folder import RunFolder
from submission.checks.finding import AGAIN, BUILD, TreeFinding
from submission.checks.loaded import LoadedResult, LoadedRun
from submission.conditions import conditions, differences

_LOADGEN = "loadgen_version"


def sameness_findings(result: LoadedResult) -> Iterator[TreeFinding]:
    """Yield where runs differ that must not."""
    first = result.runs.get(Mode.performance)
    if first is None:
        return
    for run in result.runs.values():
        if run is not first:
            yield from _pair(first, run)
    yield from _user_conf(result, first)
    yield from _source(result, first)


def _pair(first: LoadedRun, run: LoadedRun) -> Iterator[TreeFinding]:
    if names := differences(conditions(first.config), conditions(run.config)):
        yield _finding(run.folder, "config.yaml", "one_config", ", ".join(names))
    if first.user_conf != run.user_conf:
        yield _finding(run.folder, "user.conf", "one_user_conf", "its lines")
    if names := differences(first.source, run.source):
        yield _finding(run.folder, "source.json", "one_code", ", ".join(names[:5]))
    if _versions(first) != _versions(run):
        yield _finding(run.folder, "replicas.json", "one_version", "a package")
    if first.log.values.get(_LOADGEN) != run.log.values.get(_LOADGEN):
        yield _finding(
            run.folder, "mlperf_log_detail.txt", "one_loadgen", "LoadGen's version"
        )


def _user_conf(result: LoadedResult, first: LoadedRun) -> Iterator[TreeFinding]:
    path = result.folder.user_conf
    try:
        same = path.read_text(errors="replace") == first.user_conf
    except OSError:
        same = False
    if not same:
        yield TreeFinding(
            check="user_conf",
            path=path,
            problem="is not the file that LoadGen read in the performance run",
            remedy=BUILD,
        )


def _source(result: LoadedResult, first: LoadedRun) -> Iterator[TreeFinding]:
    source = result.home.source
    other = [
        name for name, digest in first.source.items() if _sha256(source, name) != digest
    ]
    if other:
        yield TreeFinding(
            check="source",
            path=source,
            problem=f"not the code that made the runs: {', '.join(other[:3])}"
            + (f" and {len(other) - 3} more" if len(other) > 3 else ""),
            remedy=BUILD,
        )


def _sha256(source: Path, name: str) -> str | None:
    try:
        return hashlib.sha256((source / name).read_bytes()).hexdigest()
    except OSError:
        return None


def _versions(run: LoadedRun) -> set[tuple[tuple[str, str], ...]]:
    return {tuple(sorted(replica.versions.items())) for replica in run.replicas}


def _finding(folder: RunFolder, name: str, check: str, what: str) -> TreeFinding:
    return TreeFinding(
        check=check,
        path=folder / name,
        problem=f"differs from the performance run in {what}",
        remedy=AGAIN,
    )
