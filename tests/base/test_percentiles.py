import numpy as np
import pytest

from base.percentiles import loadgen_percentile


@pytest.mark.parametrize(
    ("share", "found"), [(0.0, 1), (0.5, 3), (0.74, 3), (0.75, 4), (0.99, 4), (1.0, 4)]
)
def test_a_percentile_is_a_value_of_the_list(share: float, found: float) -> None:
    values = np.array([4.0, np.nan, 1.0, 3.0, 2.0])
    assert loadgen_percentile(values, share) == found


def test_nothing_known_has_no_percentile() -> None:
    assert loadgen_percentile(np.array([np.nan]), 0.5) is None
    assert loadgen_percentile(np.array([]), 0.5) is None
