import numpy as np
import pytest

from forecast.limits import (
    Goodput,
    Limit,
    Limits,
    Samples,
    early_stopping_allows,
    good_samples,
)


def _samples(ttft: list[float], tpot: list[float]) -> Samples:
    issued = np.arange(len(ttft), dtype=float)
    first = issued + ttft
    return Samples(
        issued=issued,
        first=first,
        done=first + 10 * np.array(tpot),
        tokens=np.full(len(ttft), 11.0),
    )


def test_a_percentile_is_loadgens() -> None:
    samples = _samples([0.1] * 9 + [0.5], [0.01] * 10)
    limits = Limits(ttft_s=0.2, tpot_s=0.02, percentile=0.9)
    ttft, tpot = limits.judge(samples)
    # Element floor(10 x 0.9) in order is the last one.
    assert ttft.value == pytest.approx(500)
    assert ttft.load == pytest.approx(2.5)
    assert tpot.headroom == pytest.approx(0.5)
    assert limits.broken(samples)


def test_goodput_asks_for_all_limits_at_once() -> None:
    samples = _samples([0.1, 0.1, 0.5, 0.1], [0.01, 0.05, 0.01, 0.01])
    single = (("ttft", 0.2), ("tpot", 0.02))
    assert good_samples(samples, single).tolist() == [True, False, False, True]  # type: ignore[arg-type]
    limits = Limits(
        ttft_s=None,
        tpot_s=None,
        percentile=0.99,
        more=(Limit("e2e", 1.0, 0.9),),
        goodput=Goodput(0.75, single),  # type: ignore[arg-type]
    )
    e2e, good = limits.judge(samples)
    assert e2e.name == "E2E p90"
    assert good.value == 50
    assert good.load == pytest.approx(2.0)


@pytest.mark.parametrize(("samples", "allowed"), [(458, -1), (459, 0), (662, 1)])
def test_early_stopping_allows_what_loadgen_allows(samples: int, allowed: int) -> None:
    """459 and 662 are LoadGen's own figures for none and one over a p99."""
    assert early_stopping_allows(samples, 0.99) == allowed
