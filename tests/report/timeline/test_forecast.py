"""The rate that a forecast gives is in the advice of a run that failed."""

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from record.folder import RecordError
from report.reading.forecast import ForecastFile, ForecastRate, read_forecast
from report.timeline.advice import advise
from report.timeline.analysis import Analysis
from report.timeline.sentences import rate_sentence
from tests.run_folder import replica_record

RATE = ForecastRate(value=48.1, low=46.4, high=49.9)
FILE = ForecastFile(
    replicas=2, max_num_seqs=64, max_num_batched_tokens=2048, highest_rate=RATE
)


def _read(path: Path, file: ForecastFile) -> ForecastRate | None:
    path.write_bytes(msgspec.json.encode(file))
    records = [replica_record(0), replica_record(1)]
    for record in records:
        record.engine = {"max_num_seqs": 64, "max_num_batched_tokens": 2048}
    return read_forecast(path, records)


def test_the_rate_of_a_forecast_of_the_same_settings_is_read(tmp_path: Path) -> None:
    assert _read(tmp_path / "forecast.json", FILE) == RATE


@pytest.mark.parametrize(
    "change",
    [
        {"replicas": 8},
        {"max_num_seqs": 128},
        {"max_num_batched_tokens": 8192},
        {"beyond": ["prompt tokens of a step"]},
        {"highest_rate": None},
    ],
)
def test_a_forecast_of_another_run_says_nothing_of_this_one(
    change: dict[str, object], tmp_path: Path
) -> None:
    other = msgspec.structs.replace(FILE, **change)
    assert _read(tmp_path / "forecast.json", other) is None


def test_a_missing_and_a_damaged_forecast(tmp_path: Path) -> None:
    path = tmp_path / "forecast.json"
    assert read_forecast(path, []) is None
    path.write_text("{")
    with pytest.raises(RecordError):
        read_forecast(path, [])


def test_a_failed_run_gets_the_rate_of_its_forecast(recorded: Analysis) -> None:
    inputs = replace(recorded.inputs, forecast_per_s=(48.1, 46.4, 49.9))
    found = advise(
        inputs, recorded.episodes, recorded.accounts, recorded.capacity, recorded.safe
    )
    (rate,) = [one for one in found if "arrival rate" in one.text]
    assert rate.text.startswith("lower the arrival rate to 46.4/s")
    assert "48.1/s (46.4 to 49.9, 90% interval)" in rate.text
    assert recorded.safe is not None
    # A forecast that the run's own arrivals do not exceed explains no late request.
    inputs = replace(recorded.inputs, forecast_per_s=(70.0, 68.0, 72.0))
    found = advise(
        inputs, recorded.episodes, recorded.accounts, recorded.capacity, recorded.safe
    )
    assert any(f"{recorded.safe.low:.3g}/s" in one.text for one in found)
    assert "limits would have been met up to 70/s (68 to 72" in rate_sentence(
        replace(recorded, inputs=inputs)
    )
