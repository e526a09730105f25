"""`mlperf-sut submission check`: our checks of the tree, then the official tools."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console

from base.benchmark import TITLES
from base.errors import UserError
from conf.load import load_config
from conf.schema import Mode
from record.folder import RecordError, RunFolder, read_json
from record.source import source_digests
from record.structs import SettingsRecord
from scenarios.gate import judge
from submission.checks import TreeFinding, check_tree
from submission.checks.loaded import AGAIN, BUILD
from submission.documents import hash_in, sha256
from submission.layout import BENCHMARK_FOLDERS, SubmitterFolder
from submission.official import (
    VERSION,
    Checkout,
    checker_findings,
    evaluation_findings,
    has_compliance,
    round_findings,
    truncation_findings,
    verification_findings,
)
from submission.plan import plan_runs
from submission.request import Request
from submission.runs import find_run, known_rates

_NO_LOG = "this request has no accuracy run"
_NO_TEXT = "its tokens are synthetic or its data set is not a file"


def check_submission(
    request: Request, checkout: Checkout | None, console: Console
) -> bool:
    """Check the tree of `request`; print each finding and return whether it is good.

    Args:
        request: what was asked for.
        checkout: of mlcommons/inference; None: our own checks alone.
        console: where findings go.

    Raises:
        UserError: there is no tree, or `checkout` is none.
    """
    if not request.tree.is_dir():
        raise UserError(f"{request.tree}: no tree; `mlperf-sut submission build` first")
    if checkout:
        checkout.require()
    logs = _accuracy_runs(request)
    good = _show(console, "tree", lambda: iter(check_tree(request.tree)))
    good &= _show(console, "runs", lambda: _run_findings(request, logs))
    if checkout is None:
        console.print("official tools: not run; give --mlperf-inference=CHECKOUT")
        return good
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        good &= _official(request, checkout, logs, scratch, console)
    return good


def _official(
    request: Request,
    checkout: Checkout,
    logs: dict[Path, RunFolder],
    scratch: Path,
    console: Console,
) -> bool:
    tree = request.tree
    whole = {path: run.accuracy_log for path, run in logs.items()}
    good = _show(console, "official constants", lambda: round_findings(checkout))
    scored = {path: run for path, run in logs.items() if _has_text(run)}
    for path in logs.keys() - scored.keys():
        console.print(f"official evaluation of {path.name}: not run, {_NO_TEXT}")
    good &= _show(
        console,
        "official evaluation",
        lambda: _evaluations(checkout, scored),
        not_run="" if scored else _NO_TEXT if logs else _NO_LOG,
    )
    good &= _show(
        console,
        "official truncation",
        lambda: truncation_findings(checkout, tree, whole, scratch),
        not_run="" if whole else _NO_LOG,
    )
    good &= _show(
        console,
        "official TEST06 verification",
        lambda: verification_findings(checkout, tree, scratch),
        not_run="" if has_compliance(tree) else "the tree has no TEST06",
    )
    return good & _show(
        console,
        f"official checker {VERSION}",
        lambda: iter(checker_findings(checkout, tree, scratch)),
    )


def _show(
    console: Console,
    title: str,
    check: Callable[[], Iterator[TreeFinding]],
    not_run: str = "",
) -> bool:
    """Print the outcome of one check, or why there is nothing that it could look at."""
    if not_run:
        console.print(f"{title}: not run, {not_run}")
        return True
    with console.status(title):
        found = list(check())
    console.print(f"{title}: {f'{len(found)} finding(s)' if found else 'good'}")
    for finding in found:
        console.print(f"  {finding}", markup=False)
    return not found


def _accuracy_runs(request: Request) -> dict[Path, RunFolder]:
    """Return the accuracy run behind each result of the tree, where it is known."""
    source = source_digests()
    home = SubmitterFolder(request.tree / request.division.value / request.submitter)
    found = {}
    for planned in plan_runs(request, known_rates(request)):
        if planned.config.mode is not Mode.accuracy:
            continue
        folder = find_run(request.runs, planned, source).folder
        if folder is not None:
            result = home.result(
                request.system,
                BENCHMARK_FOLDERS[request.benchmark],
                TITLES[planned.scenario],
            )
            found[result.path] = folder
    return found


def _run_findings(
    request: Request, logs: dict[Path, RunFolder]
) -> Iterator[TreeFinding]:
    """Yield what is wrong with the runs that the tree would be built from now."""
    source = source_digests()
    for planned in plan_runs(request, known_rates(request)):
        found = find_run(request.runs, planned, source)
        if found.folder is None:
            yield TreeFinding(
                check="runs",
                path=request.runs,
                problem=f"{planned.title}: {found.refused or 'no such run'}",
                remedy=AGAIN,
            )
            continue
        try:
            verdict = judge(found.folder)
        except RecordError as error:
            yield TreeFinding(
                check="runs", path=found.folder.path, problem=str(error), remedy=AGAIN
            )
            continue
        if verdict.outcome != "passed":
            yield TreeFinding(
                check="runs",
                path=found.folder.path,
                problem=f"checked again: {verdict.outcome}: {verdict.reason}",
                remedy=AGAIN,
            )
    for path, run in logs.items():
        scores = path / "accuracy" / "accuracy.txt"
        if not scores.exists():
            continue
        if hash_in(scores) != sha256(run.accuracy_log):
            yield TreeFinding(
                check="hash",
                path=scores,
                problem=f"its hash is not that of {run.accuracy_log}",
                remedy=BUILD,
            )


def _has_text(run: RunFolder) -> bool:
    """Whether the answers of a run can be turned into text and have references."""
    settings = read_json(run.settings, SettingsRecord)
    data_set = load_config([], run.config).dataset.path
    return settings.tokenizer is not None and data_set is not None


def _evaluations(
    checkout: Checkout, logs: dict[Path, RunFolder]
) -> Iterator[TreeFinding]:
    for path, run in logs.items():
        tokenizer = read_json(run.settings, SettingsRecord).tokenizer
        data_set = load_config([], run.config).dataset.path
        assert tokenizer is not None
        assert data_set is not None
        yield from evaluation_findings(
            checkout,
            path / "accuracy" / "accuracy.txt",
            run.accuracy_log,
            Path(data_set),
            Path(tokenizer).parent,
        )
