"""What the command line asks for: a recorded run with other options."""

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from base.benchmark import ScenarioName
from base.decode import positive_number, whole_number
from base.errors import UserError
from conf.clusters import BalancerName
from forecast.evidence import Evidence
from forecast.limits import Limits
from forecast.target import Target, recorded_target
from scenarios.rules import official_limits
from scenarios.schedule import ServerSchedule

_NS_PER_S = 1e9
_MOST_QUERIES, _MOST_RATE = 2_000_000, 1e9
OPTIONS = {
    "scenario": "offline, server or interactive",
    "scenario.target_qps": "queries/s",
    "cluster.replicas": "number of replicas; each is like one that was recorded",
    "cluster.balancer": "policy that chooses the replica",
    "engine.options.max_num_seqs": "sequences that run at once",
    "engine.options.max_num_batched_tokens": "tokens of a step",
    "engine.adaptive_batching": "true: choose each step's tokens by the limit of TPOT",
    "run.min_queries": "samples of the run",
    "run.ttft_ms": "limit of TTFT in ms",
    "run.tpot_ms": "limit of TPOT in ms",
    "run.latency_percentile": "percentile of the limits",
}
"""Options of a run that a forecast can change."""
_SHORT = {
    "engine.max_num_seqs": "engine.options.max_num_seqs",
    "engine.max_num_batched_tokens": "engine.options.max_num_batched_tokens",
}
"""The names that the synthetic engine has for them."""


def make_target(evidence: Evidence, overrides: Sequence[str]) -> Target:
    """Return the recorded run, changed as `overrides` (key=value) say.

    Raises:
        UserError: an option or a value that cannot be.
    """
    given = _parse(overrides)
    target = recorded_target(evidence)
    if "scenario" in given:
        target = _of_scenario(target, evidence, given["scenario"])
    rate = _number(given, "scenario.target_qps", target.rate)
    if target.server and not 0 < rate < _MOST_RATE:
        raise UserError("scenario.target_qps is needed: the recorded run has none")
    percentile = _number(given, "run.latency_percentile", target.limits.percentile)
    if not 0 < percentile < 1:
        raise UserError(
            f"run.latency_percentile={percentile:g} must be between 0 and 1"
        )
    ttft, tpot = target.limits.ttft_s, target.limits.tpot_s
    limits = replace(
        target.limits,
        ttft_s=_number(given, "run.ttft_ms", 1000 * (ttft or 0.0)) / 1000 or None,
        tpot_s=_number(given, "run.tpot_ms", 1000 * (tpot or 0.0)) / 1000 or None,
        percentile=percentile,
    )
    adaptive = _yes(given, "engine.adaptive_batching", target.adaptive)
    if adaptive and limits.tpot_s is None:
        raise UserError("engine.adaptive_batching=true needs a limit of TPOT")
    queries = _whole(given, "run.min_queries", _queries(evidence, target, rate))
    if queries > _MOST_QUERIES:
        raise UserError(f"{queries:,} queries; at most {_MOST_QUERIES:,} are simulated")
    return replace(
        target,
        rate=rate,
        queries=queries,
        replicas=_whole(given, "cluster.replicas", target.replicas),
        balancer=_balancer(given.get("cluster.balancer")),
        limits=limits,
        adaptive=adaptive,
        shape=replace(
            target.shape,
            max_num_seqs=_whole(
                given, "engine.options.max_num_seqs", target.shape.max_num_seqs
            ),
            max_num_batched_tokens=_whole(
                given,
                "engine.options.max_num_batched_tokens",
                target.shape.max_num_batched_tokens,
            ),
        ),
    )


def _parse(overrides: Sequence[str]) -> dict[str, str]:
    given = {}
    for text in overrides:
        name, equals, value = text.partition("=")
        name = _SHORT.get(name, name)
        if not equals or name not in OPTIONS:
            near = difflib.get_close_matches(name, OPTIONS, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise UserError(f"{text}: a forecast has no such option{hint}")
        if name in given:
            raise UserError(f"{name}= is given twice; give it once")
        given[name] = value
    return given


def _of_scenario(target: Target, evidence: Evidence, name: str) -> Target:
    if name == evidence.settings.scenario:
        return target
    if name not in ("offline", "server", "interactive"):
        raise UserError(f"scenario={name}: a forecast has offline, server, interactive")
    streaming = name != "offline"
    shape = replace(target.shape, streaming=streaming)
    if not streaming:
        none = Limits(ttft_s=None, tpot_s=None, percentile=0.99)
        return replace(target, server=False, shape=shape, limits=none)
    official = official_limits(ScenarioName(name))
    limits = Limits(
        ttft_s=official.ttft_s,
        tpot_s=official.tpot_s,
        percentile=official.percentile,
    )
    return replace(target, server=True, shape=shape, limits=limits)


def _queries(evidence: Evidence, target: Target, rate: float) -> int:
    """Return how many queries LoadGen makes of it: whole passes in run=full."""
    if evidence.settings.kind != "full" or not target.server:
        return target.queries
    passed = max(1, int(evidence.setting("performance_sample_count_override", 1)))
    duration_s = evidence.setting("min_duration_ms") / 1000
    if rate * duration_s > _MOST_QUERIES:
        # Their times would have to be drawn to count them exactly.
        return math.ceil(rate * duration_s)
    schedule = ServerSchedule(
        seed=evidence.schedule_seed,
        pass_queries=passed,
        min_duration_s=duration_s,
    )
    return schedule.arrivals(rate).queries


def _balancer(name: str | None) -> BalancerName | None:
    if name is None:
        return None
    if name not in list(BalancerName.__members__):
        raise UserError(
            f"cluster.balancer={name} must be one of"
            f" {', '.join(BalancerName.__members__)}"
        )
    return BalancerName[name]


def _number(given: Mapping[str, str], name: str, default: float) -> float:
    if name not in given:
        return default
    value = positive_number(given[name])
    if value is None:
        raise UserError(f"{name}={given[name]} must be a number above 0")
    return value


def _yes(given: Mapping[str, str], name: str, default: bool) -> bool:
    text = given.get(name, str(default)).lower()
    if text not in ("true", "false"):
        raise UserError(f"{name}={text} must be true or false")
    return text == "true"


def _whole(given: Mapping[str, str], name: str, default: int) -> int:
    if name not in given:
        return default
    value = whole_number(given[name])
    if not value:
        raise UserError(f"{name}={given[name]} must be a whole number above 0")
    return value
