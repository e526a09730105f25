"""measurements.json, README and the statements."""

from collections.abc import Iterator
from pathlib import Path

from base.benchmark import SCENARIOS, TITLES, Benchmark
from conf.schema import Mode
from record.structs import Json
from submission.checks.loaded import BUILD, LoadedResult, TreeFinding
from submission.documents import known_weight_type
from submission.layout import (
    BENCHMARK_FOLDERS,
    ResultFolder,
    SubmitterFolder,
    submitter_folders,
)
from submission.request import Status
from submission.system import ECC, MAY_BE_EMPTY, MEANINGFUL

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


_REMEDY = "correct it under description: in the request, and build the tree again"
_NO_DEVICE = "cpu"


def system_findings(result: LoadedResult) -> Iterator[TreeFinding]:
    """Yield what is wrong with `systems/<name>.json`."""
    system = result.system
    if not system:
        return
    path = result.home.system(result.folder.system)

    def finding(check: str, problem: str) -> TreeFinding:
        return TreeFinding(check=check, path=path, problem=problem, remedy=_REMEDY)

    absent = [n for n in (*MEANINGFUL, *MAY_BE_EMPTY) if n not in system]
    empty = [n for n in MEANINGFUL if n in system and not system[n]]
    if absent or empty:
        names = ", ".join([*absent, *empty])
        yield finding("system_fields", f"missing or empty: {names}")
    for name, folder in (
        ("division", result.home.division),
        ("submitter", result.home.submitter),
    ):
        if system.get(name) != folder:
            yield finding(
                "system_names", f"{name} is {system.get(name)}, the folder is {folder}"
            )
    kinds = str(system.get("system_type")).split(",")
    if result.benchmark.value not in kinds:
        yield finding(
            "system_type",
            f"system_type is {system.get('system_type')}, the benchmark is of"
            f" {result.benchmark.value}",
        )
    if system.get("status") not in [status.value for status in Status]:
        yield finding("system_status", f"status is {system.get('status')}")
    if str(system.get("is_network", "false")) != "false":
        yield finding("system_network", "is_network belongs to the Network division")
    if system.get(ECC) != "enabled":
        yield finding(
            "ecc", f"{ECC} is {system.get(ECC, 'missing')}, the rules require enabled"
        )
    yield from (finding("devices", text) for text in _devices(result, system))


def _devices(result: LoadedResult, system: dict[str, Json]) -> Iterator[str]:
    """Yield where the runs used other nodes or more devices than are described."""
    run = result.runs.get(Mode.performance)
    if run is None:
        return
    nodes = {replica.node for replica in run.replicas}
    if len(nodes) != system.get("number_of_nodes"):
        yield (
            f"number_of_nodes is {system.get('number_of_nodes')}, the runs used"
            f" {len(nodes)}"
        )
    used = sum(
        device != _NO_DEVICE for replica in run.replicas for device in replica.devices
    )
    per_node = used / max(1, len(nodes))
    if used and per_node != system.get("accelerators_per_node"):
        yield (
            f"accelerators_per_node is {system.get('accelerators_per_node')}, the runs"
            f" used {per_node:g}"
        )


_LARGEST_BYTES = 50 * 1024 * 1024
"""GitHub warns of a larger file and refuses it from twice the size on."""
_UNWANTED = ("__pycache__", ".git", ".DS_Store")
_REMOVE = "remove it from the tree"
_KNOWN = {
    BENCHMARK_FOLDERS[suite]: {TITLES[scenario] for scenario in scenarios}
    for suite, scenarios in SCENARIOS.items()
}


def upload_findings(tree: Path) -> Iterator[TreeFinding]:
    """Yield what is wrong with the tree, without looking at its logs."""
    homes = submitter_folders(tree)
    if not any(home.results() for home in homes):
        yield TreeFinding(
            check="empty",
            path=tree,
            problem="no results under closed/ or open/",
            remedy="make the tree with `mlperf-sut submission build`",
        )
    for home in homes:
        yield from _scenarios(home)
        yield from _systems(home)
    for path in sorted(tree.rglob("*")):
        yield from _file(path)


def _scenarios(home: SubmitterFolder) -> Iterator[TreeFinding]:
    groups: dict[Path, list[ResultFolder]] = {}
    for result in home.results():
        groups.setdefault(result.path.parent, []).append(result)
    for path, results in groups.items():
        names = {result.scenario for result in results}
        known = _KNOWN.get(path.name)
        if known is None:
            yield TreeFinding(
                check="benchmark_folder",
                path=path,
                problem=f"is not one of {', '.join(_KNOWN)}",
                remedy=BUILD,
            )
            continue
        if strange := names - known:
            yield TreeFinding(
                check="scenarios",
                path=path,
                problem=f"{', '.join(sorted(strange))} is no scenario of it",
                remedy=BUILD,
            )
        if home.division == "closed" and (missing := _missing(path.name, names)):
            yield TreeFinding(
                check="scenarios",
                path=path,
                problem=f"closed also needs {missing}",
                remedy="add it to scenarios: in the request and make its runs",
            )


def _missing(benchmark: str, names: set[str]) -> str:
    if benchmark == BENCHMARK_FOLDERS[Benchmark.edge]:
        return ", ".join(sorted(_KNOWN[benchmark] - names))
    if "Offline" not in names:
        return "Offline"
    return "" if names & {"Server", "Interactive"} else "Server or Interactive"


def _systems(home: SubmitterFolder) -> Iterator[TreeFinding]:
    used = {result.system for result in home.results()}
    for path in sorted((home.path / "systems").glob("*.json")):
        if path.stem not in used:
            yield TreeFinding(
                check="systems",
                path=path,
                problem="no result is of this system",
                remedy=_REMOVE,
            )


def _file(path: Path) -> Iterator[TreeFinding]:
    if path.is_symlink():
        yield TreeFinding(
            check="files", path=path, problem="is a symbolic link", remedy=_REMOVE
        )
    elif path.name in _UNWANTED or path.suffix == ".pyc":
        yield TreeFinding(
            check="files", path=path, problem="is no part of a tree", remedy=_REMOVE
        )
    elif path.is_file() and (size := path.stat().st_size) > _LARGEST_BYTES:
        yield TreeFinding(
            check="files",
            path=path,
            problem=f"has {size / 2**20:.0f} MiB, 50 are allowed",
            remedy=_REMOVE,
        )
