"""The folders of campaigns."""

from pathlib import Path

import pytest

from base.errors import UserError
from campaigns.folders import interrupted, make_root, new_root
from campaigns.sweep.record import Sweep, SweepRun
from record.campaign import NAME, Campaign
from record.folder import write_json


def _campaign() -> Campaign:
    return Campaign(kind="scaling", command=[], scenario="offline", started="now")


def _sweep(*runs: SweepRun) -> Sweep:
    return Sweep(shared=[], points=[{}], repeats=1, seed=0, runs=list(runs))


def test_campaigns_that_begin_in_the_same_second_have_folders_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    roots = [make_root(None, "sweep") for _ in range(3)]
    assert len(set(roots)) == 3
    assert all(root.is_dir() for root in roots)


def test_the_folder_of_another_campaign_is_refused(tmp_path: Path) -> None:
    write_json(tmp_path / NAME, _campaign())
    with pytest.raises(UserError, match="holds another campaign"):
        new_root(tmp_path, "scaling")


def test_an_interrupted_campaign_is_read(tmp_path: Path) -> None:
    assert interrupted(tmp_path, NAME, Sweep) is None
    write_json(tmp_path / NAME, _sweep())
    assert interrupted(tmp_path, NAME, Sweep) == _sweep()


def test_a_damaged_record_is_the_users_error(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text("{")
    with pytest.raises(UserError, match="name another folder"):
        interrupted(tmp_path, NAME, Sweep)


def test_a_record_whose_parts_do_not_fit_is_the_users_error(tmp_path: Path) -> None:
    write_json(
        tmp_path / NAME, _sweep(SweepRun(point=1, repeat=0, run=None, seconds=1.0))
    )
    with pytest.raises(UserError, match="name another folder"):
        interrupted(tmp_path, NAME, Sweep)
