"""How many queries LoadGen will make, and whether they fit into memory."""

from base.errors import UserError
from base.memory import available_bytes
from conf.schema import Mode
from scenarios.plan import ScenarioPlan
from scenarios.user_conf import ConfLine

_BYTES_PER_QUERY = 800
"""Of LoadGen and of the coordinator, measured with 1,000,000 samples."""
_MARGIN = 1.1
"""What LoadGen adds to the number that the duration needs."""


def refuse_too_many(plan: ScenarioPlan, num_samples: int) -> None:
    """Refuse a run whose queries do not fit into memory.

    LoadGen makes them all before its clock starts, and crashes where it gets no memory.
    """
    queries = _planned_queries(plan, num_samples)
    free = available_bytes()
    if free is not None and queries * _BYTES_PER_QUERY > free:
        needed = queries * _BYTES_PER_QUERY
        raise UserError(
            f"about {queries:,.0f} queries need {needed / 2**30:,.1f} GiB of memory,"
            f" and {free / 2**30:,.1f} GiB are free; lower run.min_queries, the"
            " duration or the rate"
        )


def _planned_queries(plan: ScenarioPlan, num_samples: int) -> float:
    """Return about how many samples LoadGen will issue."""
    if plan.mode is Mode.accuracy:
        return num_samples
    values = plan.rules | plan.relaxations
    duration_s = float(values.get("min_duration_ms", 0)) / 1000
    lines = plan.set_lines
    if plan.loadgen_scenario == "SingleStream":
        expected = lines.get("target_latency")
        rate = 1000 / _number(expected) if expected and _number(expected) > 0 else 0.0
    else:
        given = lines.get("target_qps")
        rate = _number(given) if given else float(values.get("server_target_qps", 0))
    return max(float(values.get("min_query_count", 0)), _MARGIN * rate * duration_s)


def _number(line: ConfLine) -> float:
    try:
        return float(line.value)
    except ValueError:
        return 0.0  # LoadGen refuses it by name
