"""What follows a run: its accuracy and its report. Neither can spoil it.

By then the verdict is written. A signal, or an error of whatever kind, ends the scoring
or the report, not the run: a line says how to do it again, and the exit code is not 0.
"""

import contextlib
import traceback
from copy import deepcopy

from accuracy.score import judge_accuracy, leave_unscored, score_run
from base.errors import ExitCode, UserError
from base.log import logger
from record.folder import RunFolder, read_json, write_json, write_text
from record.structs import SettingsRecord, Verdict
from report.build import write_report
from sut.console import print_json, summarize
from sut.interrupts import interruptible

_LOG = logger(__name__)


def conclude(folder: RunFolder, verdict: Verdict, *, as_json: bool = False) -> ExitCode:
    """Score the run, write its report and print its summary.

    Args:
        folder: of a run that is done; `verdict.json` is in it.
        verdict: the gate's. In accuracy mode it gets a check for the accuracy, and is
            written again.
        as_json: whether the summary is printed as JSON.

    Returns:
        The exit code of the run: ABORTED where the score or the report is missing for
        another reason than that there is nothing to score.

    Raises:
        RecordError: `settings.json` is missing or damaged.
        OSError: the verdict cannot be written.
    """
    code, scores = ExitCode.GOOD, dict[str, float]()
    if read_json(folder.settings, SettingsRecord).mode == "accuracy":
        unscored = deepcopy(verdict)
        leave_unscored(unscored, "not scored")
        write_json(folder.verdict, unscored)
        try:
            with interruptible():
                scores = _score(folder, verdict)
        except KeyboardInterrupt as interrupt:
            _LOG.info("aborted: %s: the run is done, but not scored", interrupt)
            _LOG.info("score it: %s", _again("accuracy", folder))
            _LOG.info("then make its report: %s", _again("report", folder))
            return ExitCode.ABORTED
        except Exception as error:  # noqa: BLE001  (the run is done, whatever this was)
            leave_unscored(verdict, _keep(folder, error))
            again = _again("accuracy", folder)
            _LOG.info("no accuracy (%s); score again: %s", _named(error), again)
            code = ExitCode.ABORTED
        write_json(folder.verdict, verdict)
    try:
        with interruptible():
            write_report(folder)
    except KeyboardInterrupt as interrupt:
        _LOG.info("aborted: %s: the run is done, but has no report", interrupt)
        _LOG.info("make it: %s", _again("report", folder))
        return ExitCode.ABORTED
    except Exception as error:  # noqa: BLE001  (the run is done, whatever this was)
        _keep(folder, error)
        again = _again("report", folder)
        _LOG.info("no report (%s); try again: %s", _named(error), again)
        code = ExitCode.ABORTED
    (print_json if as_json else summarize)(folder, verdict, scores)
    if code == ExitCode.GOOD and verdict.outcome != "passed":
        return ExitCode.NOT_GOOD
    return code


def _score(folder: RunFolder, verdict: Verdict) -> dict[str, float]:
    """Return the scores; `verdict` gets a check for what they are compared with."""
    try:
        result = score_run(folder)
    except UserError as error:
        # Nothing can be scored: the run is not of the kind that accuracy needs.
        _LOG.info("no accuracy: %s", error)
        leave_unscored(verdict, str(error))
        return {}
    judge_accuracy(verdict, result)
    return result.scores


def _keep(folder: RunFolder, error: Exception) -> str:
    """Keep the traceback of `error` in the folder; return its message."""
    with contextlib.suppress(OSError):
        write_text(folder / "traceback.txt", "".join(traceback.format_exception(error)))
    return _named(error)


def _named(error: Exception) -> str:
    """Return what went wrong in one line; errors of Python with their name."""
    text = " ".join(str(error).split())
    return text if isinstance(error, OSError) else f"{type(error).__name__}: {text}"


def _again(module: str, folder: RunFolder) -> str:
    return f"mlperf-sut {module} {folder.path}"
