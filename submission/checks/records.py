"""What holds for each run of a result: its log and its own records."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from conf.engines import VllmConfig
from conf.schema import Mode
from record.folder import RunFolder
from submission.checks.loaded import AGAIN, BUILD, LoadedResult, LoadedRun, TreeFinding
from submission.plan import measures_step_model
from submission.runs import conditions, differences

_AUDIT_WARNING = "Found Audit Config file"
_PREFIX_CACHING = "enable_prefix_caching"
_LOADGEN_MODES = {
    Mode.performance: "PerformanceOnly",
    Mode.accuracy: "AccuracyOnly",
    Mode.compliance: "PerformanceOnly",
}


def record_findings(result: LoadedResult) -> Iterator[TreeFinding]:
    """Yield what is wrong with any of the runs."""
    for run in result.runs.values():
        yield from _log(result, run)
        yield from _verdict(result, run)
        yield from _config(run)


def _log(result: LoadedResult, run: LoadedRun) -> Iterator[TreeFinding]:
    path, values = run.folder.detail_log, run.log.values
    if run.log.errors:
        yield TreeFinding(
            check="loadgen_errors",
            path=path,
            problem=f"{len(run.log.errors)} error(s), first: {run.log.errors[0]}",
            remedy=AGAIN,
        )
    seen = (values.get("effective_scenario"), values.get("effective_test_mode"))
    wanted = (
        result.folder.scenario.replace("Interactive", "Server"),
        _LOADGEN_MODES[run.mode],
    )
    if seen != wanted:
        yield TreeFinding(
            check="scenario",
            path=path,
            problem=f"is of {seen[0]} {seen[1]}, not of {wanted[0]} {wanted[1]}",
            remedy=BUILD,
        )
    audited = any(_AUDIT_WARNING in warning for warning in run.log.warnings)
    if audited != (run.mode is Mode.compliance):
        yield TreeFinding(
            check="audit_file",
            path=path,
            problem="an audit file was read" if audited else "no audit file was read",
            remedy=AGAIN,
        )


def _verdict(result: LoadedResult, run: LoadedRun) -> Iterator[TreeFinding]:
    path, verdict = run.folder.verdict, run.verdict
    if verdict.outcome != "passed":
        yield TreeFinding(
            check="gate",
            path=path,
            problem=f"{verdict.outcome}: {verdict.reason}",
            remedy=AGAIN,
        )
    lost = [e for e in run.events if e.kind in ("death", "fence")]
    if verdict.degraded or lost:
        yield TreeFinding(
            check="degraded",
            path=run.folder.events,
            problem="a replica was lost during the run",
            remedy=AGAIN,
        )
    if any(event.kind == "protocol" for event in run.events):
        yield TreeFinding(
            check="protocol",
            path=run.folder.events,
            problem="an answer began with another token than was reported first",
            remedy=AGAIN,
        )
    settings = run.settings
    if settings.kind != "full" or settings.relaxed or settings.mode != run.mode.value:
        names = ", ".join(r.setting for r in settings.relaxed)
        yield TreeFinding(
            check="full_run",
            path=run.folder.settings,
            problem=f"mode={settings.mode} run={settings.kind}"
            + (f", with {names} relaxed" if names else ""),
            remedy=AGAIN,
        )
    if result.closed and not settings.is_benchmark:
        yield TreeFinding(
            check="benchmark",
            path=run.folder.settings,
            problem="engine, model or data set is not the benchmark's own",
            remedy="submit it to the open division",
        )
    if run.mode is not Mode.performance and not any(
        check.name == "token_checks" and check.outcome == "passed"
        for check in verdict.checks
    ):
        yield TreeFinding(
            check="token_checks",
            path=path,
            problem="the checks of tokens over all samples did not pass",
            remedy=AGAIN,
        )


def _config(run: LoadedRun) -> Iterator[TreeFinding]:
    engine = run.config.engine
    asked = isinstance(engine, VllmConfig) and engine.options.get(_PREFIX_CACHING)
    if asked or any(replica.engine.get(_PREFIX_CACHING) for replica in run.replicas):
        yield TreeFinding(
            check="prefix_caching",
            path=run.folder.config,
            problem="prefix caching was on, which carries over from query to query",
            remedy=AGAIN,
        )
    if measures_step_model(run.config):
        yield TreeFinding(
            check="step_model",
            path=run.folder.config,
            problem="adaptive batching measured its model of step time in this run, so"
            " that performance, accuracy and compliance runs had different ones",
            remedy="give engine.step_model to all runs, and make them again",
        )


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
