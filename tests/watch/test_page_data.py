from pathlib import Path

import msgspec
import pytest

from base.errors import UserError
from record.campaign import NAME, Campaign
from record.folder import write_json
from record.status import finish_status
from tests.watch.live_folder import SECOND, live_folder
from watch.follow import Follower
from watch.page_data import page_data
from watch.screen import run_lines


def _follow(path: Path) -> Follower:
    follower = Follower(path)
    follower.refresh()
    return follower


def test_the_page_has_the_run(tmp_path: Path) -> None:
    folder = live_folder(tmp_path / "run")
    data = page_data(_follow(folder.path))
    assert msgspec.json.decode(msgspec.json.encode(data)) == data
    assert (data["completed"], data["expected"], data["in_flight"]) == (40, 100, 10)
    assert data["elapsed_s"] == 50
    assert data["eta_s"] == 33
    ttft, tpot = data["latencies"]
    assert (ttft["name"], ttft["limit_ms"], ttft["p99"]) == ("TTFT", 2000, 900)
    assert ttft["share"] == pytest.approx(2 / 3)
    assert ttft["holds"] is False
    assert tpot["holds"] is True
    ready, lost = data["replicas"]
    assert (ready["name"], ready["kv_used"], ready["waiting"]) == ("n1/0", 0.25, 2)
    assert (lost["state"], lost["kv_used"]) == ("lost", None)
    (event,) = data["events"]
    assert (event["kind"], event["where"], event["t_s"]) == ("fence", "n1/1", -10)
    series = data["series"]
    assert sum(series["completed"]) == 3
    assert sum(series["tokens"]) == 3 * 128
    assert max(value or 0 for value in series["ttft"]) == 3.0
    assert series["running"][0] == 6


def test_a_terminal_gets_the_same(tmp_path: Path) -> None:
    folder = live_folder(tmp_path / "run")
    first, event = run_lines(_follow(folder.path).run)
    assert first == (
        "run running [   50 s] 40/100 done (43%), 10 in flight, 6 running,"
        " 2.50 samples/s, 320 tokens/s, TTFT p50/p99 100/900 ms,"
        " TPOT p50/p99 10.0/20.0 ms, ETA 33 s"
    )
    assert event == "  [  -10 s] fence n1/1: gone"


def test_the_next_run_of_a_campaign_is_followed(tmp_path: Path) -> None:
    campaign = Campaign(kind="scaling", command=[], scenario="server", started="now")
    root = tmp_path / "20260101T000000Z-scaling"
    first = live_folder(root / "20260101T000000Z-server-performance")
    write_json(root / NAME, campaign)
    by_run, by_root = _follow(first.path), _follow(tmp_path)
    finish_status(first, "passed", 60 * SECOND)
    for follower in (by_run, by_root):
        follower.refresh()
        assert follower.run.folder.path.name == first.path.name
        assert not follower.ended, "the campaign makes more runs"
    second = live_folder(root / "20260101T000500Z-server-performance")
    for follower in (by_run, by_root):
        follower.refresh()
        assert follower.run.folder.path.name == second.path.name
        assert page_data(follower)["campaign"]["kind"] == "scaling"
    campaign.status = "good"
    write_json(root / NAME, campaign)
    finish_status(second, "failed", 60 * SECOND)
    by_run.refresh()
    assert by_run.ended
    assert page_data(by_run)["outcome"] == "failed"


def test_a_run_of_an_earlier_version_is_shown(tmp_path: Path) -> None:
    folder = live_folder(tmp_path / "run")
    folder.status.unlink()
    follower = _follow(folder.path)
    data = page_data(follower)
    assert (data["state"], data["completed"]) == ("finished", 3)
    assert run_lines(follower.run) == ["run: 3 done"]


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no run in it"):
        Follower(tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        Follower(tmp_path / "absent")
