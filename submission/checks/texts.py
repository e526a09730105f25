"""measurements.json, README and the statements."""

from collections.abc import Iterator
from pathlib import Path

from conf.schema import Mode
from submission.checks.finding import BUILD, TreeFinding
from submission.checks.loaded import LoadedResult
from submission.documents import known_weight_type

_MEASUREMENTS = (
    "input_data_types",
    "retraining",
    "starting_weights_filename",
    "weight_data_types",
    "weight_transformations",
)


def text_findings(result: LoadedResult) -> Iterator[TreeFinding]:
    """Yield what is wrong with the texts of a result."""
    path, stated = result.folder.measurements, result.measurements
    if stated:
        empty = [name for name in _MEASUREMENTS if not stated.get(name)]
        if empty:
            yield TreeFinding(
                check="measurements",
                path=path,
                problem=f"missing or empty: {', '.join(empty)}",
                remedy="add it under weights: in the request, and build again",
            )
        run = result.runs.get(Mode.performance)
        if run is not None:
            used = known_weight_type(run.config)
            said = str(stated.get("weight_data_types") or "")
            if used and said and used.lower() not in said.lower():
                yield TreeFinding(
                    check="weight_types",
                    path=path,
                    problem=f"weight_data_types is {said}, the run used {used}",
                    remedy=BUILD,
                )
    wanted = [result.folder.readme]
    if result.closed:
        wanted += [result.home.calibration, result.home.bandwidth]
    for document in wanted:
        if not _says_something(document):
            yield TreeFinding(
                check="documents",
                path=document,
                problem="missing or empty",
                remedy=BUILD,
            )


def _says_something(path: Path) -> bool:
    try:
        return bool(path.read_text(errors="replace").strip())
    except OSError:
        return False
