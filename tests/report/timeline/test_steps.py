"""Series from step records, compared with sums over one step at a time."""

from pathlib import Path

import numpy as np
import pytest

from record.steps import STEP, Steps, header
from report.reading.folder import read_run
from report.timeline.grid import Grid
from report.timeline.inputs import inputs_of
from report.timeline.steps import StepRecords, step_series
from tests.run_folder import START_NS, good_spec, write_folder


def steps_of(numbers: list[int], seconds: float = 30, seed: int = 0) -> Steps:
    """Return steps that take what their tokens should, 2 ms apart."""
    draw = np.random.default_rng(seed)
    parts = []
    for number in numbers:
        count = int(seconds / 0.01)
        part = np.zeros(count, STEP)
        part["prefill_tokens"] = np.where(
            draw.random(count) < 0.4, draw.integers(100, 1500, count), 0
        )
        part["decode_sequences"] = draw.integers(20, 80, count)
        took = 8e-3 + 8e-6 * part["prefill_tokens"] + 4e-5 * part["decode_sequences"]
        took *= np.exp(draw.normal(0, 0.01, count))
        part["duration_ns"] = took * 1e9
        start = np.cumsum(took + 2e-3) - took - 2e-3
        part["start_ns"] = START_NS + start * 1e9
        part["kv_blocks_free"] = draw.integers(100, 1000, count)
        part["waiting"] = draw.integers(0, 3, count)
        part["preempted"] = draw.random(count) < 0.01
        part["replica"] = number
        parts.append(part[start < seconds])
    # Batches of replicas take turns in the file.
    chunks = [c for part in parts for c in np.array_split(part, 4)]
    return np.concatenate([*chunks[::4], *chunks[1::4], *chunks[2::4], *chunks[3::4]])


def test_series_equal_sums_over_steps() -> None:
    records = steps_of([3, 7])
    source = StepRecords(records=records, begin_ns=START_NS, numbers=[7, 3])
    found = step_series(source, Grid(2, 15, 2.0))
    assert found is not None
    for place, number in enumerate(source.numbers):
        own = records[records["replica"] == number]
        start = (own["start_ns"] - START_NS) / 1e9
        took = own["duration_ns"] / 1e9
        for column in range(15):
            here = (start >= 2 * column) & (start < 2 * column + 2)
            assert found.step_s[place, column] == pytest.approx(took[here].mean())
            assert found.waiting[place, column] == own["waiting"][here].mean()
            assert found.preempted[place, column] == own["preempted"][here].sum() / 2
            free = own["kv_blocks_free"][here].min() / own["kv_blocks_free"].max()
            assert found.kv_free[place, column] == pytest.approx(free)
            ends, starts = start[:-1] + took[:-1], start[1:]
            low, high = 2.0 * column, 2.0 * column + 2
            gap = (np.minimum(starts, high) - np.maximum(ends, low)).clip(0).sum() / 2
            # The times are whole ns.
            assert found.gap_pct[place, column] == pytest.approx(100 * gap, abs=0.01)
    assert np.abs(found.excess).max() < 0.01


def test_a_step_is_slow_for_its_tokens_and_not_for_the_load() -> None:
    records = steps_of([0])
    start = (records["start_ns"] - START_NS) / 1e9
    # Twice the tokens in one span, 20% slower in another.
    busy, slow = (start >= 6) & (start < 12), (start >= 20) & (start < 26)
    own = records[busy]
    own["decode_sequences"] *= 2
    added = 4e-5 * own["decode_sequences"] / 2
    own["duration_ns"] += (added * 1e9).astype(np.int64)
    records[busy] = own
    records["duration_ns"][slow] = records["duration_ns"][slow] * 1.2
    source = StepRecords(records=records, begin_ns=START_NS, numbers=[0])
    found = step_series(source, Grid(1, 15, 2.0))
    assert found is not None
    assert np.abs(found.excess[0, 3:6]).max() < 0.02
    assert found.excess[0, 10:13] == pytest.approx(np.log(1.2), abs=0.02)


def test_a_gap_without_work_is_no_idle_time() -> None:
    records = steps_of([0], seconds=10)
    records["waiting"] = 0
    records["prefill_tokens"] = np.maximum(records["prefill_tokens"], 1)
    records["decode_sequences"] = 0
    source = StepRecords(records=records, begin_ns=START_NS, numbers=[0])
    found = step_series(source, Grid(1, 5, 2.0))
    assert found is not None
    assert found.gap_pct.max() == 0


def test_a_host_that_stops_for_seconds_shows_in_bins_without_a_step() -> None:
    records = steps_of([0], seconds=10)
    records["start_ns"][records["start_ns"] > START_NS + 4e9] += 5_000_000_000
    source = StepRecords(records=records, begin_ns=START_NS, numbers=[0])
    found = step_series(source, Grid(1, 15, 1.0))
    assert found is not None
    assert found.gap_pct[0, 5:8].tolist() == [100, 100, 100]


@pytest.mark.parametrize("blocks", [-1, 0])
def test_an_engine_without_a_cache_has_no_free_share(blocks: int) -> None:
    records = steps_of([0], seconds=4)
    records["kv_blocks_free"] = blocks
    source = StepRecords(records=records, begin_ns=START_NS, numbers=[0])
    found = step_series(source, Grid(1, 2, 2.0))
    assert found is not None
    assert np.isnan(found.kv_free).all()


def test_steps_of_the_warmup_and_of_others_are_left_out() -> None:
    records = steps_of([0, 1], seconds=8)
    source = StepRecords(
        records=records, begin_ns=START_NS + 4_000_000_000, numbers=[1]
    )
    found = step_series(source, Grid(1, 4, 1.0))
    assert found is not None
    own = records[(records["replica"] == 1) & (records["start_ns"] >= source.begin_ns)]
    assert np.nansum(found.preempted) == own["preempted"].sum()
    nothing = StepRecords(records=records[:0], begin_ns=START_NS, numbers=[1])
    assert step_series(nothing, Grid(1, 4, 1.0)) is None


def test_a_folder_has_the_steps_or_none(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "run", good_spec())
    assert inputs_of(read_run(folder.path)).steps is None
    folder.steps.write_bytes(header() + steps_of([0, 1], seconds=3).tobytes())
    steps = inputs_of(read_run(folder.path)).steps
    assert steps is not None
    assert len(steps.records) == len(steps_of([0, 1], seconds=3))
    folder.steps.write_bytes(b"x" * 600)
    run = read_run(folder.path)
    assert inputs_of(run).steps is None
    assert run.notes == [
        "steps.bin is not used: not a file of engine steps: its header is different"
    ]
