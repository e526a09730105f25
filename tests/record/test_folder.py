from pathlib import Path

import pytest

from record.errors import RecordError
from record.folder import RunFolder, read_json, write_json
from record.structs import Verdict


def test_latest_points_at_the_newest_folder(tmp_path: Path) -> None:
    first = RunFolder.create(tmp_path / "runs", "offline-performance")
    second = RunFolder.create(tmp_path / "runs", "offline-performance")
    assert first.path != second.path
    assert (tmp_path / "runs" / "latest").resolve() == second.path.resolve()
    assert second.path.name.split("Z-")[1].startswith("offline-performance")


def test_json_round_trip(tmp_path: Path) -> None:
    verdict = Verdict(
        outcome="passed", degraded=False, submission_candidate=False, relaxed=["a"]
    )
    write_json(tmp_path / "verdict.json", verdict)
    assert read_json(tmp_path / "verdict.json", Verdict) == verdict
    assert [p.name for p in tmp_path.iterdir()] == ["verdict.json"]


def test_damaged_json_is_named(tmp_path: Path) -> None:
    path = tmp_path / "verdict.json"
    path.write_text('{"outcome": 3}')
    with pytest.raises(RecordError, match=r"verdict\.json"):
        read_json(path, Verdict)
