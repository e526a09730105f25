"""The search for changes: what it finds in noise, and what it must find."""

import numpy as np
import pytest

from report.reading.samples import FloatArray
from report.timeline.scan import scan


def noise(rows: int, bins: int, dependence: float, heavy: bool = False) -> FloatArray:
    """Return rows of noise whose neighbors have this correlation."""
    draw = np.random.default_rng(3)
    shape = (rows, bins + 50)
    steps = draw.standard_t(4, shape) if heavy else draw.normal(size=shape)
    values = np.zeros(shape)
    for place in range(1, shape[1]):
        values[:, place] = dependence * values[:, place - 1] + steps[:, place]
    return values[:, 50:]


@pytest.mark.parametrize("dependence", [0.0, 0.5])
@pytest.mark.parametrize("heavy", [False, True])
def test_noise_holds_no_change(dependence: float, heavy: bool) -> None:
    rows = noise(400, 150, dependence, heavy)
    changes = scan(rows, 0.01)
    assert len({change.row for change in changes}) <= 12


def test_a_span_is_found_with_its_edges_and_its_size() -> None:
    rows = noise(20, 150, 0.3)
    rows[4, 60:75] += 5
    (one,) = [change for change in scan(rows, 1e-4) if change.row == 4]
    assert (abs(one.begin - 60) <= 1, abs(one.end - 75) <= 2) == (True, True)
    assert one.effect == pytest.approx(5, abs=1)
    assert not one.drift


def test_several_spans_do_not_hide_each_other() -> None:
    rows = noise(1, 200, 0.0)
    rows[0, 30:40] += 6
    rows[0, 90:105] -= 6
    rows[0, 150:170] += 8
    found = sorted((one.begin, one.end) for one in scan(rows, 1e-4))
    assert [round(begin / 10) for begin, _ in found] == [3, 9, 15]


def test_a_drift_is_a_line_and_not_a_step() -> None:
    rows = noise(1, 150, 0.2) + np.linspace(0, 6, 150)
    (one,) = scan(rows, 1e-4)
    assert one.drift
    assert one.effect == pytest.approx(6, abs=1.5)


def test_one_wild_value_is_no_change() -> None:
    rows = noise(5, 100, 0.0)
    rows[:, 50] = 1e6
    assert scan(rows, 0.01) == []


def test_gaps_and_short_rows_are_left_alone() -> None:
    rows = noise(2, 100, 0.0)
    rows[0, 10:] = np.nan
    rows[1, 40:60] = np.nan
    rows[1, 60:] += 9
    (one,) = scan(rows, 1e-4)
    assert one.row == 1
    other = one.mirrored(100)
    assert other is not None
    assert {one.begin, one.end, other.begin, other.end} >= {0, 100}
    assert scan(np.full((3, 50), np.nan), 0.01) == []


def test_a_level_row_with_a_jump_has_one_change() -> None:
    rows = np.zeros((1, 100))
    rows[0, 40:60] = 1.0
    (one,) = scan(rows, 0.01)
    assert (one.begin, one.end, one.effect) == (40, 60, 1.0)


def test_noise_that_is_known_is_not_taken_for_less() -> None:
    draw = np.random.default_rng(0)
    rows = draw.normal(0, 0.05, (1, 40))
    rows[0, 10:14] += 0.8
    assert [change.begin for change in scan(rows, 0.01)] == [10]
    assert scan(rows, 0.01, least_error=1.0) == []
