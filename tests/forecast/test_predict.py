import pytest

from forecast.predict import interval, widening


@pytest.mark.parametrize("value", [9.0, 10.5, 12.0])
def test_an_interval_holds_its_figure(value: float) -> None:
    draws = [10 + number / 16 for number in range(16)]
    found = interval("tpot_ms_p99", value, draws)
    assert found.low < found.value < found.high
    least = 1 + widening("tpot_ms_p99") / 2
    assert found.value / found.low > least
    assert found.high / found.value > least


def test_an_interval_of_zero_is_not_widened() -> None:
    found = interval("ttft_ms_p50", 1.0, [0.0, 0.0, 2.0])
    assert (found.low, found.value) == (0.0, 1.0)
    assert found.high >= 1.0
