"""`settings.json` holds numbers that readers calculate with."""

from pathlib import Path

import msgspec
import pytest

from record.folder import RecordError, read_json
from record.structs import SettingsRecord
from tests.run_folder import good_spec, write_folder


@pytest.mark.parametrize("place", ["effective", "rules"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("server_target_qps", '"fast"'),
        ("server_target_latency_percentile", "[]"),
        ("ttft_latency", "9" * 400),
        ("schedule_rng_seed", "18446744073709551616"),
        ("of_a_later_version", "-9223372036854775809"),
    ],
)
def test_what_cannot_be_calculated_with_is_named(
    tmp_path: Path, place: str, name: str, value: str
) -> None:
    path = write_folder(tmp_path / "run", good_spec(2)).settings
    tree = msgspec.json.decode(path.read_bytes())
    tree[place][name] = msgspec.Raw(value.encode())
    path.write_bytes(msgspec.json.encode(tree))
    with pytest.raises(RecordError, match=rf"settings\.json: {name} is not a number"):
        read_json(path, SettingsRecord)


def test_seeds_of_64_bits_are_read(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "run", good_spec(2)).settings
    tree = msgspec.json.decode(path.read_bytes())
    tree["effective"]["schedule_rng_seed"] = 2**64 - 1
    path.write_bytes(msgspec.json.encode(tree))
    read = read_json(path, SettingsRecord)
    assert read.effective["schedule_rng_seed"] == 2**64 - 1
    assert read.number("no_such_setting") is None
