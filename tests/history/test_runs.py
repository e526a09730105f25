import io
import json
import os
import tarfile
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest

from history.__main__ import main
from history.entry import list_runs
from history.keep import removable
from record.campaign import NAME, Campaign
from record.folder import RunFolder, write_json
from tests.run_folder import good_spec, write_folder

STAMPS = ["20260101T000000Z", "20260201T000000Z", "20260301T000000Z"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three runs, one of a campaign, one that lasts, one that the user renamed."""
    root = tmp_path / "runs"
    for stamp in STAMPS:
        write_folder(root / f"{stamp}-offline-performance", good_spec())
    campaign = root / "20260110T000000Z-scaling"
    write_folder(campaign / "20260110T000000Z-offline-performance", good_spec())
    record = Campaign(kind="scaling", command=[], scenario="offline", started="")
    write_json(campaign / NAME, record)
    write_folder(root / "20260105T000000Z-offline-performance", good_spec())
    (root / "20260105T000000Z-offline-performance" / "verdict.json").unlink()
    write_folder(root / "kept", good_spec())
    RunFolder(root / f"{STAMPS[1]}-offline-performance").become_latest()
    return root


def test_runs_are_listed_oldest_first(root: Path) -> None:
    runs = list_runs(root)
    assert [run.started[:10] for run in runs] == [
        "",
        "2026-01-01",
        "2026-01-05",
        "2026-01-10",
        "2026-02-01",
        "2026-03-01",
    ]
    first = runs[1]
    assert first.outcome == "passed"
    assert (first.scenario, first.engine, first.replicas) == ("offline", "synthetic", 2)
    assert (first.hosts, first.devices) == (["n1"], ["cpu"])
    assert first.tokens_per_s is None, "this log has no samples/s"
    assert runs[3].campaign == "20260110T000000Z-scaling"
    assert runs[2].outcome == "unknown"


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ([], 6),
        (["--outcome", "passed"], 5),
        (["--since", "2026-02-01"], 2),
        (["--until", "2026-01-05"], 2),
        (["--scenario", "server"], 0),
        (["--host", "n1", "--device", "CPU", "--replicas", "2"], 6),
        (["--min-rate", "1"], 0),
    ],
)
def test_filters(
    root: Path, filters: list[str], count: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["list", str(root), "--json", *filters]) == 0
    assert len(json.loads(capsys.readouterr().out)) == count
    assert main([str(root), *filters]) == 0
    assert f"{count} runs" in capsys.readouterr().out


def test_a_damaged_run_does_not_hide_the_others(root: Path) -> None:
    for name in ("settings.json", "replicas.json", "verdict.json", "config.yaml"):
        (root / f"{STAMPS[0]}-offline-performance" / name).write_bytes(b"\xff{")
    runs = list_runs(root)
    assert len(runs) == 6
    assert (runs[1].outcome, runs[1].model) == ("unknown", "")


class _Links(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.found += [value or "" for name, value in attrs if name in ("href", "src")]


def test_the_index_links_every_run_and_draws_history(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    for number, name in enumerate([*STAMPS, "20260401T000000Z-<b>#?"]):
        spec = good_spec()
        spec.log["result_samples_per_second"] = 10.0 + number
        write_folder(root / name, spec)
    (root / STAMPS[0] / "report.html").touch()
    assert main(["index", str(root)]) == 0
    text = (root / "index.html").read_text()
    page = _Links(text)
    assert "<b>" not in text
    assert page.found[-1] == f"./{STAMPS[0]}/report.html"
    assert page.found[0] == "./20260401T000000Z-%3Cb%3E%23%3F/"
    assert {"script", "img", "link"}.isdisjoint(page.tags)
    assert text.count("<circle") == 4
    assert "last 13, 10 to 13 samples/s" in text


def test_prune_names_what_it_would_remove_and_asks(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted(root.rglob("*"))
    assert main(["prune", str(root), "--keep", "0"]) == 1
    out = capsys.readouterr().out
    assert "give --yes" in out
    assert "nothing was removed" in out
    terminal = io.StringIO("no\n")
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr("sys.stdin", terminal)
    assert main(["prune", str(root), "--keep", "0"]) == 1
    assert sorted(root.rglob("*")) == before
    capsys.readouterr()
    assert main(["prune", str(root), "--keep", "0", "--yes"]) == 0
    out = capsys.readouterr().out
    assert "removed 2 runs" in out
    left = sorted(path.name for path in root.iterdir())
    assert left == [
        "20260105T000000Z-offline-performance",
        "20260110T000000Z-scaling",
        f"{STAMPS[1]}-offline-performance",
        "kept",
        "latest",
    ]
    assert len(list_runs(root)) == 4
    assert main(["prune", str(root), "--keep", "0"]) == 0
    assert "nothing to remove" in capsys.readouterr().out


def test_prune_by_age_and_number(root: Path) -> None:
    now = datetime(2026, 3, 2, tzinfo=UTC)
    runs = list_runs(root)
    old = removable(root, runs, keep=None, older_than_days=45, now=now)
    assert [one.run.started[:10] for one in old] == ["2026-01-01"]
    assert removable(root, runs, keep=5, older_than_days=0, now=now) == []
    assert old[0].size_bytes > 1000
    assert main(["prune", str(root)]) == 2


def test_an_archive_holds_every_file_and_removes_none(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    campaign = root / "20260110T000000Z-scaling"
    (campaign / "report.html").write_text("of the campaign")
    before = sorted(root.rglob("*"))
    out = tmp_path / "runs.tar.gz"
    assert main(["archive", str(root), str(out), "--until", "2026-01-31"]) == 0
    assert "2 runs" in capsys.readouterr().out
    assert sorted(root.rglob("*")) == before
    with tarfile.open(out) as file:
        names = set(file.getnames())
    run = f"{STAMPS[0]}-offline-performance"
    assert {f"{run}/{path.name}" for path in (root / run).iterdir()} <= names
    assert {f"{campaign.name}/{name}" for name in (NAME, "report.html")} <= names
    assert main(["archive", str(root), str(out)]) == 2, "it exists"
    inside = root / run / "a.tar.gz"
    assert main(["archive", str(root), str(inside)]) == 2
    assert not inside.exists()
    assert main(["archive", str(root), str(tmp_path / "absent" / "a.tar.gz")]) == 2
    link = tmp_path / "link"
    link.symlink_to("nowhere")
    assert main(["archive", str(root), str(link)]) == 2
    assert link.is_symlink()


def test_bad_input_is_refused(tmp_path: Path) -> None:
    assert main(["list", str(tmp_path / "absent")]) == 2
    assert main(["list", str(tmp_path), "--since", "yesterday"]) == 2
    for bad in ("--since=2026-99-99", "--replicas=-1", "--min-rate=nan"):
        assert main(["list", str(tmp_path), bad]) == 2, bad
    assert main(["prune", str(tmp_path), "--keep", "-1"]) == 2
    assert main(["prune", str(tmp_path), "--older-than", "nan"]) == 2
    assert main(["archive", str(tmp_path), str(tmp_path / "out.tar.gz")]) == 2


def test_names_that_are_no_time_or_no_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_folder(tmp_path / "20261399T999999Z-offline", good_spec())
    write_folder(tmp_path / os.fsdecode(b"20260101T000000Z-\xff"), good_spec())
    assert main(["list", str(tmp_path), "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [one["started"][:10] for one in listed] == ["2026-01-01", ""]
    assert listed[0]["path"].endswith("\\udcff")
    assert main(["index", str(tmp_path)]) == 0
    assert "%FF/" in (tmp_path / "index.html").read_text()
    assert main(["prune", str(tmp_path), "--older-than", "1", "--yes"]) == 0
    assert [one.name for one in tmp_path.glob("2*")] == ["20261399T999999Z-offline"]


def test_a_rate_beyond_the_range_of_numbers_is_no_rate(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / STAMPS[0])
    write_folder(folder.path, good_spec())
    line = '"key": "result_samples_per_second", "metadata": {}, "value": 1'
    with folder.detail_log.open("a") as file:
        file.write(f":::MLLOG {{{line}{400 * '0'}}}\n")
    entry = list_runs(tmp_path)[0]
    assert (entry.samples_per_s, entry.outcome) == (None, "passed")
