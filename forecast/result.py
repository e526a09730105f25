"""`forecast.json`."""

from collections.abc import Sequence

from msgspec import Struct

from conf.clusters import BalancerName
from forecast.evidence import Evidence
from forecast.limits import LimitState
from forecast.predict import Estimate, Forecast
from forecast.target import Target


class ModelRecord(Struct, kw_only=True):
    """The fitted model of a replica; coefficients in s."""

    replica: int
    steps: int
    per_step_s: float
    per_prefill_token_s: float
    per_decode_sequence_s: float
    per_prompt_s: float
    per_cached_token_s: float
    overhead_s: float
    median_error: float
    """Of a recorded step, relative."""


class Backtest(Struct, kw_only=True):
    """A figure of a recorded run."""

    forecast: float
    measured: float


class ForecastRecord(Struct, kw_only=True):
    """`forecast.json`: what a run would do. Figures ending in `_ms` are ms."""

    runs: list[str]
    scenario: str
    target_qps: float | None
    queries: int
    replicas: int
    balancer: BalancerName | None
    max_num_seqs: int
    max_num_batched_tokens: int
    adaptive_batching: bool
    ttft_limit_ms: float | None
    tpot_limit_ms: float | None
    percentile: float
    level: float
    """Share of runs that an interval is meant to hold."""
    figures: dict[str, Estimate]
    keeps_limits: bool | None
    """Whether this run would meet its limits; null: it has none."""
    limits: list[LimitState]
    """Each limit with the value that is forecast; `load` above 1: it is missed."""
    highest_rate: Estimate | None
    """Queries/s of the fastest run of this length that meets all limits, with its 90%
    interval: for a run that failed, the rate that it would have held. null: there are
    no limits, or no rate keeps them, or (with `keeps_limits`) every rate does."""
    beyond: list[str]
    backtest: dict[str, Backtest]
    models: list[ModelRecord]


def forecast_record(
    runs: Sequence[Evidence], evidence: Evidence, target: Target, found: Forecast
) -> ForecastRecord:
    """Return what is written.

    Args:
        runs: recorded.
        evidence: of all of them.
        target: what was forecast.
        found: the forecast.
    """
    limits, shape = target.limits, target.shape
    return ForecastRecord(
        runs=[str(run.folder.path) for run in runs],
        scenario="server" if target.server else "offline",
        target_qps=target.rate if target.server else None,
        queries=target.queries,
        replicas=target.replicas,
        balancer=target.balancer,
        max_num_seqs=shape.max_num_seqs,
        max_num_batched_tokens=shape.max_num_batched_tokens,
        adaptive_batching=target.adaptive,
        ttft_limit_ms=None if limits.ttft_s is None else limits.ttft_s * 1000,
        tpot_limit_ms=None if limits.tpot_s is None else limits.tpot_s * 1000,
        percentile=limits.percentile,
        level=0.9,
        figures=found.figures,
        keeps_limits=found.keeps_limits,
        limits=found.limits,
        highest_rate=found.highest_rate,
        beyond=found.beyond,
        backtest={
            name: Backtest(forecast=again, measured=measured)
            for name, (again, measured) in found.backtest.items()
        },
        models=[
            ModelRecord(
                replica=replica.record.replica,
                steps=len(replica.steps),
                **dict(
                    zip(_COEFFICIENTS, replica.model.coefficients.tolist(), strict=True)
                ),
                overhead_s=replica.model.overhead_s,
                median_error=replica.model.error,
            )
            for replica in evidence.replicas
        ],
    )


_COEFFICIENTS = (
    "per_step_s",
    "per_prefill_token_s",
    "per_decode_sequence_s",
    "per_prompt_s",
    "per_cached_token_s",
)
