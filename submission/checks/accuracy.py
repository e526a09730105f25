"""The accuracy run: its scores, and its log as the tree carries it."""

import re
from collections.abc import Iterator

from accuracy.rouge import METRICS
from accuracy.targets import TARGETS, missed_targets
from base.benchmark import COMPLIANCE_SAMPLES
from base.files import data_path
from conf.schema import Mode
from record.folder import RecordError, read_json
from record.loadgen_log import read_answers
from record.structs import Json
from scenarios.checks import token_problems
from submission.checks.loaded import AGAIN, BUILD, LoadedResult, LoadedRun, TreeFinding
from submission.documents import LARGEST_BYTES, hash_in, verification_text

_SCORES = (*METRICS, "gen_len")
_SCORE = r"'{}':\s(?P<value>[\d.]+)[,}}]"
"""A plain number: the official checker reads no `np.int64(...)`."""


def accuracy_findings(result: LoadedResult) -> Iterator[TreeFinding]:
    """Yield what is wrong with the accuracy run."""
    run = result.runs.get(Mode.accuracy)
    if run is None or result.scenario is None:
        return
    whole = result.rules["performance_sample_count_override"]
    count = run.log.values.get("effective_accuracy_sample_count")
    if count != whole:
        yield _finding(
            run, "accuracy_count", f"{count} samples, the data set has {whole}", AGAIN
        )
    yield from _log_file(result, run)
    try:
        text = result.folder.scores.read_text(errors="replace")
    except OSError as error:
        yield TreeFinding(
            check="scores",
            path=result.folder.scores,
            problem=str(error.strerror),
            remedy=BUILD,
        )
        return
    yield from _scores(result, run, text)


def _log_file(result: LoadedResult, run: LoadedRun) -> Iterator[TreeFinding]:
    log = run.folder.accuracy_log
    try:
        size = log.stat().st_size
        hash_found = hash_in(result.folder.scores)
    except OSError as error:
        yield TreeFinding(
            check="truncated",
            path=log,
            problem=f"{error.filename}: {error.strerror}",
            remedy=BUILD,
        )
        return
    if size > LARGEST_BYTES:
        yield TreeFinding(
            check="truncated",
            path=log,
            problem=f"is {size} bytes long, {LARGEST_BYTES} are allowed",
            remedy=BUILD,
        )
    if hash_found is None:
        yield TreeFinding(
            check="hash",
            path=result.folder.scores,
            problem="no hash of the whole accuracy log",
            remedy=BUILD,
        )


def _scores(result: LoadedResult, run: LoadedRun, text: str) -> Iterator[TreeFinding]:
    values: dict[str, float] = {}
    for name in _SCORES:
        match = re.search(_SCORE.format(name), text)
        if match:
            values[name] = float(match["value"])
    if absent := [name for name in _SCORES if name not in values]:
        yield TreeFinding(
            check="scores",
            path=result.folder.scores,
            problem=f"no plain number for {', '.join(absent)}",
            remedy="write it with `mlperf-sut accuracy` and build the tree again",
        )
        return
    yield from _recomputed(result, run, values)
    if result.closed:
        target = TARGETS[result.benchmark.value]
        for missed in missed_targets(values, int(values["gen_len"]), target):
            yield TreeFinding(
                check="accuracy_target",
                path=result.folder.scores,
                problem=missed,
                remedy="only weights and settings that reach it may be submitted",
            )


def _recomputed(
    result: LoadedResult, run: LoadedRun, values: dict[str, float]
) -> Iterator[TreeFinding]:
    path = run.folder / "accuracy.json"
    try:
        own = read_json(path, dict[str, Json])
        other = [name for name in _SCORES if own[name]["value"] != values[name]]
    except (RecordError, KeyError, TypeError) as error:
        yield TreeFinding(check="scores", path=path, problem=str(error), remedy=BUILD)
        return
    if other:
        yield TreeFinding(
            check="scores_changed",
            path=result.folder.scores,
            problem=f"{', '.join(other)} differ from accuracy.json",
            remedy=BUILD,
        )
    if own["problems"]:
        yield TreeFinding(
            check="answers",
            path=path,
            problem="; ".join(own["problems"]),
            remedy=AGAIN,
        )


def _finding(run: LoadedRun, check: str, problem: str, remedy: str) -> TreeFinding:
    path = run.folder.detail_log
    return TreeFinding(check=check, path=path, problem=problem, remedy=remedy)


_AUDIT_FILE = data_path("scenarios", "test06.config")


def compliance_findings(result: LoadedResult) -> Iterator[TreeFinding]:
    """Yield what is wrong with the TEST06 run."""
    run = result.runs.get(Mode.compliance)
    if run is None:
        return
    path = result.folder.compliance_answers
    try:
        answers = read_answers(path)
        wanted = verification_text(path, run.settings)
        verified = result.folder.verification.read_text(errors="replace")
        audit = run.folder.audit_conf.read_text(errors="replace")
    except (RecordError, OSError) as error:
        yield TreeFinding(
            check="test06", path=result.folder.path, problem=str(error), remedy=BUILD
        )
        return
    if len(answers) != COMPLIANCE_SAMPLES:
        yield TreeFinding(
            check="test06_count",
            path=path,
            problem=f"{len(answers)} answers, not {COMPLIANCE_SAMPLES}",
            remedy=AGAIN,
        )
    stops, streaming = run.settings.stop_token_ids, run.settings.streaming
    if problems := list(token_problems(answers, stops, streaming)):
        yield TreeFinding(
            check="test06_tokens",
            path=path,
            problem=f"{problems[0]} ({len(problems)} such)",
            remedy=AGAIN,
        )
    if verified.split() != wanted.split():
        yield TreeFinding(
            check="test06_verification",
            path=result.folder.verification,
            problem="does not say what the logged answers say",
            remedy=BUILD,
        )
    if _entries(audit) != _entries(_AUDIT_FILE.read_text()):
        yield TreeFinding(
            check="audit_settings",
            path=run.folder.audit_conf,
            problem="is not TEST06's audit file",
            remedy=AGAIN,
        )


def _entries(text: str) -> set[str]:
    lines = (line.partition("#")[0] for line in text.splitlines())
    return {"".join(line.split()) for line in lines if line.strip()}
