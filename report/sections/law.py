"""Tables of the Universal Scalability Law: its parameters and its forecasts."""

from dataclasses import dataclass

from report.figures import Column, Table, table
from report.statistics.numbers import ratio, rounded
from report.statistics.usl import Estimate, Fit


@dataclass(slots=True)
class _Parameter:
    name: str
    estimate: Estimate
    meaning: str


def _estimate(value: float | None) -> float | None:
    return rounded(value, 4)


def law_table(fitted: Fit, metric: str) -> Table:
    """Return the parameters of a fitted law with their intervals."""
    peak = float("nan") if fitted.peak is None else float(f"{fitted.peak:.3g}")
    unknown = float("nan")
    return table(
        [
            Column[_Parameter](
                "parameter",
                "",
                "parameter of the Universal Scalability Law",
                lambda row: row.name,
            ),
            Column(
                "value",
                "",
                "least squares over logarithms",
                lambda row: _estimate(row.estimate.value),
            ),
            Column(
                "from",
                "",
                "lower end of its 95% interval, by a bootstrap of residuals",
                lambda row: _estimate(row.estimate.low),
                "95% interval from",
            ),
            Column(
                "to",
                "",
                "upper end of its 95% interval",
                lambda row: _estimate(row.estimate.high),
                "95% interval to",
            ),
            Column("meaning", "", "what it describes", lambda row: row.meaning),
        ],
        [
            _Parameter("lambda", fitted.rate, f"{metric} of one replica"),
            _Parameter("sigma", fitted.sigma, "share of the work that is serial"),
            _Parameter("kappa", fitted.kappa, "cost of coherence between replicas"),
            _Parameter(
                "peak",
                Estimate(value=peak, low=unknown, high=unknown),
                "number of replicas above which throughput falls; empty if it never"
                " falls",
            ),
        ],
    )


def forecast_table(fitted: Fit, metric: str) -> Table:
    """Return the forecasts of a fitted law with their intervals."""
    return table(
        [
            Column[tuple[int, Estimate]](
                "replicas", "", "size that was not measured", lambda row: row[0]
            ),
            Column(
                metric, metric, "by the fitted law", lambda row: _estimate(row[1].value)
            ),
            Column(
                "from",
                metric,
                "lower end of its 95% interval",
                lambda row: _estimate(row[1].low),
                "95% interval from",
            ),
            Column(
                "to",
                metric,
                "upper end of its 95% interval",
                lambda row: _estimate(row[1].high),
                "95% interval to",
            ),
            Column(
                "efficiency",
                "%",
                "relative to the single replica of the law",
                lambda row: ratio(100 * row[1].value, row[0] * fitted.rate.value, 4),
            ),
        ],
        fitted.forecasts.items(),
    )
