"""Measures what sizes the long runs, by short ones."""

import msgspec

from base.benchmark import TITLES, ScenarioName
from base.child import Children
from base.errors import UserError
from conf.schema import Mode
from record.errors import RecordError
from record.folder import read_json, write_json
from record.loadgen_log import read_detail
from submission.execute import make_run
from submission.plan import options_for
from submission.request import Request

_FILE = "rates.json"
_PROBED = {
    ScenarioName.offline: ("result_samples_per_second", 1.0),
    ScenarioName.singlestream: ("result_mean_latency_ns", 1e-6),
}


class Rates(msgspec.Struct, kw_only=True):
    """`rates.json`: what probes measured, and with which options."""

    values: dict[str, float]
    """By scenario: samples/s (Offline) or ms per query (SingleStream)."""
    options: dict[str, list[str]]


def known_rates(request: Request) -> dict[str, float]:
    """Return what earlier probes with the same options measured, by scenario."""
    path = request.root / _FILE
    if not path.exists():
        return {}
    try:
        rates = read_json(path, Rates)
    except RecordError as error:
        raise UserError(f"{error}; delete it to probe again") from error
    return {
        name: value
        for name, value in rates.values.items()
        if rates.options[name] == _options(request, ScenarioName(name))
    }


def probe(children: Children, request: Request, scenario: ScenarioName) -> float:
    """Make a short run; return and keep samples/s (Offline) or ms (SingleStream).

    Raises:
        UserError: an option is wrong, or the probe's log is not as expected.
        Aborted: the probe was aborted.
    """
    key, factor = _PROBED[scenario]
    options = _options(request, scenario)
    folder = make_run(
        children,
        f"probe of {TITLES[scenario]}",
        [*options, "run=smoke"],
        request.root / "probes",
    )
    try:
        measured = read_detail(folder.detail_log).values[key] * factor
    except (RecordError, KeyError) as error:
        raise UserError(f"{folder.path}: the probe measured nothing: {error}") from None
    known = known_rates(request) | {scenario.value: float(f"{measured:.4g}")}
    write_json(
        request.root / _FILE,
        Rates(
            values=known,
            options={name: _options(request, ScenarioName(name)) for name in known},
        ),
    )
    return known[scenario.value]


def _options(request: Request, scenario: ScenarioName) -> list[str]:
    return options_for(request, scenario, Mode.performance)
