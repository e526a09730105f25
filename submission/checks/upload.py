"""The tree as a whole: scenarios, and files that cannot or must not be uploaded."""

from collections.abc import Iterator
from pathlib import Path

from base.benchmark import SCENARIOS, TITLES, Benchmark
from submission.checks.finding import BUILD, TreeFinding
from submission.layout import (
    BENCHMARK_FOLDERS,
    ResultFolder,
    SubmitterFolder,
    submitter_folders,
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
            remedy="make the tree with `python -m submission build`",
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
