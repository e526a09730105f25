"""TEST06: 100 logged answers, checked again from the log itself."""

from collections.abc import Iterator

from base.benchmark import COMPLIANCE_SAMPLES
from base.data import data_path
from conf.schema import Mode
from record.errors import RecordError
from record.loadgen_log import read_answers
from scenarios.token_checks import token_problems
from submission.checks.finding import AGAIN, BUILD, TreeFinding
from submission.checks.loaded import LoadedResult
from submission.verification import verification_text

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
