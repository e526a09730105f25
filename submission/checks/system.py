"""The system's description, held against the checker's fields and the runs."""

from collections.abc import Iterator

from conf.schema import Mode
from record.json_types import Json
from submission.checks.finding import TreeFinding
from submission.checks.loaded import LoadedResult
from submission.request import Status
from submission.system import ECC, MAY_BE_EMPTY, MEANINGFUL

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
