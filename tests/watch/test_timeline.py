import numpy as np
import pytest

from record.structs import EngineLine
from watch.histogram import Histograms, bounds_for
from watch.timeline import Timeline

SECOND = 1_000_000_000


def test_bins_are_merged_without_a_loss() -> None:
    timeline = Timeline()
    times = np.arange(0, 4000, 0.5)
    for part in np.array_split(times, 7):
        nanoseconds = (part * SECOND).astype(np.int64)
        tokens = np.full(len(part), 3)
        timeline.add_samples(nanoseconds, tokens, part / 1000)
    timeline.add_engine(
        EngineLine(
            t_ns=4000 * SECOND, node="a", replica=0, running=5, waiting=0, kv_used=None
        )
    )
    assert timeline.width_s == 8
    assert len(timeline.bins) <= 600
    series = timeline.series(0)
    rates = [value or 0 for value in series["completed"]]
    assert sum(rates) * 8 == len(times)
    assert rates[100] == 2
    assert series["tokens"][100] == 6
    assert series["ttft"][0] == pytest.approx(0.0075)
    assert series["running"][-1] == 5
    assert series["running"][0] is None


def test_the_share_within_a_limit_is_exact() -> None:
    histograms = Histograms(bounds_for(0.1))
    rows = np.array([0, 0, 1, 1])
    histograms.add(rows, np.array([0.05, 0.1, 0.1000001, 9.0]), 2)
    assert histograms.share_within(0.1) == 0.5
    assert Histograms(bounds_for(0.1)).share_within(0.1) is None
