"""How a run of a search ended, and whether the search can go on from it."""

import math
from dataclasses import dataclass
from pathlib import Path

from record.errors import RecordError
from record.folder import RunFolder, read_json
from record.loadgen_log import read_detail
from record.structs import Verdict
from report.scaling.rates import misses_limits

_CONFIDENCE = 0.99
"""That LoadGen's early stopping asks for."""


@dataclass(slots=True, kw_only=True)
class Outcome:
    """How a run ended."""

    passed: bool
    in_vain: str = ""
    """Why the search cannot go on; empty where a lower rate might pass."""


def outcome(path: Path) -> Outcome:
    """Return how the run in the folder `path` ended."""
    folder = RunFolder(path)
    try:
        verdict = read_json(folder.verdict, Verdict)
        if verdict.outcome == "passed":
            return Outcome(passed=True)
        if not misses_limits(verdict):
            return Outcome(passed=False, in_vain=verdict.reason)
        log = read_detail(folder.detail_log).values
    except RecordError as error:
        return Outcome(passed=False, in_vain=str(error))
    queries = int(log.get("result_query_count", 0))
    needed = fewest_queries(float(log.get("effective_target_latency_percentile", 0)))
    if log.get("result_perf_constraints_met") is True and queries < needed:
        return Outcome(
            passed=False,
            in_vain=f"{queries} queries are too few for LoadGen to judge latency: it"
            f" needs {needed} at least, better twice as many; "
            + (
                "begin at a higher scenario.target_qps, or write a longer"
                " run.min_duration_s"
                if log.get("effective_min_duration_ms")
                else "write samples= or run.min_queries="
            ),
        )
    return Outcome(passed=False)


def fewest_queries(percentile: float) -> int:
    """Return how many queries LoadGen's early stopping needs if all are in time.

    Source: the binomial bound in LoadGen's early stopping, for none over the limit.

    Args:
        percentile: at which latency is judged, e.g. 0.99; 0 and 1 need none.
    """
    if not 0 < percentile < 1:
        return 0
    return math.ceil(math.log(1 - _CONFIDENCE) / math.log(percentile))
