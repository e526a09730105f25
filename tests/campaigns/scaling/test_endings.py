"""Every way in which a campaign can end: exit code, record and report."""

import json
import re
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from base.child import Children, Ended
from base.command import run_command
from base.errors import Aborted, ExitCode
from campaigns.scaling import sustained_rates
from campaigns.scaling.__main__ import main
from record.campaign import NAME, Campaign, read_campaign
from record.folder import RunFolder, write_json
from scenarios.gate import aborted
from tests.run_folder import START_NS, FolderSpec, good_spec, sample, write_folder

COMMON = ["engine=synthetic", "dataset=synthetic", "dataset.count=64"]
OFFLINE = ["replicas=1,2", "scenario=offline", *COMMON]
SERVER = ["replicas=1", "scenario=server", "tolerance=0.5", *COMMON]
Fake = Callable[[Path, dict[str, str]], Ended]


@pytest.fixture(autouse=True)
def _no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes most of a report's time."""
    monkeypatch.setattr("report.build.draw", lambda report: [])


def _stub(monkeypatch: pytest.MonkeyPatch, fake: Fake) -> list[dict[str, str]]:
    """Let `fake` make each run; return the options that it got."""
    asked: list[dict[str, str]] = []

    def run(
        self: Children, command: Sequence[str], env: Mapping[str, str] | None = None
    ) -> Ended:
        self.check()
        options = dict(text.split("=", 1) for text in command if "=" in text)
        asked.append(options)
        folder = Path(options["run.dir"]) / f"run-{len(asked)}"
        return fake(folder, options)

    monkeypatch.setattr(Children, "run", run)
    return asked


def _offline(folder: Path, options: dict[str, str]) -> Ended:
    size = int(options["cluster.replicas"])
    spec = good_spec(int(options["run.min_queries"]), size)
    for one in spec.samples:
        one.dispatched_ns = START_NS + one.seq // size * 100_000_000
        one.completed_ns = one.dispatched_ns + 100_000_000
    write_folder(folder, spec)
    return Ended(code=0, folder=folder)


def _server(limit: float) -> Fake:
    """Return runs of a system that sustains `limit` queries/s; 100 ms a query."""

    def fake(folder: Path, options: dict[str, str]) -> Ended:
        rate = float(options["scenario.target_qps"])
        count = int(options["run.min_queries"])
        kept = rate <= limit
        spec = FolderSpec(scenario="server", streaming=True, replicas=1)
        for seq in range(count):
            issued = START_NS + int(seq / rate * 1e9)
            done = START_NS + int((seq / min(rate, limit) + 0.1) * 1e9)
            spec.samples.append(
                sample(
                    seq,
                    issued_ns=issued,
                    dispatched_ns=issued,
                    first_token_ns=done - 90_000_000,
                    completed_ns=done,
                )
            )
        spec.log = {
            "result_validity": "VALID" if kept else "INVALID",
            "result_perf_constraints_met": kept,
            "result_query_count": count,
            "generated_samples_per_query": 1,
            "requested_use_token_latencies": True,
            "effective_sample_concatenate_permutation": True,
        }
        write_folder(folder, spec)
        return Ended(code=0 if kept else 1, folder=folder)

    return fake


@pytest.mark.integration
def test_good(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = _stub(monkeypatch, _offline)
    assert main([*OFFLINE, f"run.dir={tmp_path}"]) == ExitCode.GOOD
    campaign = read_campaign(tmp_path)
    assert campaign.status == "good"
    assert [size.runs for size in campaign.sizes] == [3, 3]
    assert len(campaign.runs) == len(asked) == 6
    # As many samples for each replica: the data set once in the largest size.
    each = {(a["cluster.replicas"], a["run.min_queries"]) for a in asked}
    assert each == {("1", "32"), ("2", "64")}


@pytest.mark.integration
def test_a_report_without_all_runs_is_not_good(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def damaged(folder: Path, options: dict[str, str]) -> Ended:
        ended = _offline(folder, options)
        if folder.name == "run-1":
            RunFolder(folder).replicas.write_text("[")
        return ended

    _stub(monkeypatch, damaged)
    assert main([*OFFLINE, f"run.dir={tmp_path}"]) == ExitCode.NOT_GOOD
    assert "left out of the report" in capsys.readouterr().err
    assert (tmp_path / "report.html").exists()


@pytest.mark.integration
def test_good_server(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _stub(monkeypatch, _server(20.0))
    code = main([*SERVER, "scenario.target_qps=50", f"run.dir={tmp_path}"])
    printed = capsys.readouterr()
    assert code == ExitCode.GOOD, printed.err
    (size,) = read_campaign(tmp_path).sizes
    assert size.sustained_qps is not None
    assert 20 / 1.2 < size.sustained_qps <= 20.1
    assert size.runs == 3
    assert "sustained queries/s" in printed.out
    searched = [line for line in printed.err.splitlines() if "(search): " in line]
    assert (
        "; rough search: no rate decided yet, at most 30 rates left in 120 runs, "
        in (searched[0])
    )
    assert searched[0].endswith("never above 1200 min of arrivals")
    assert "; close search: " in searched[-1]
    both = [line for line in searched if "sustained, " in line and "missed, " in line]
    assert both
    assert all(re.search(r"at most \d rates? left", line) for line in both)
    assert all(", about " in line for line in both)
    assert "report.html" in printed.out
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["validity"]["outcome"]["value"] == "passed"
    # Runs of the search that missed the limits are no findings of the campaign.
    assert not [f for f in report["findings"] if f["code"].startswith("gate.")]


@pytest.mark.integration
def test_no_rate(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _stub(monkeypatch, _server(0.001))
    arguments = [*SERVER, "scenario.target_qps=2", "longest_s=100"]
    assert main([*arguments, f"run.dir={tmp_path}"]) == ExitCode.NOT_GOOD
    assert "no rate was found" in capsys.readouterr().err
    campaign = read_campaign(tmp_path)
    assert campaign.status == "not good"
    assert campaign.sizes[0].sustained_qps is None
    page = (tmp_path / "report.html").read_text()
    assert "no result" in page


@pytest.mark.integration
def test_a_rate_that_is_never_confirmed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each rate passes once and fails when it is repeated."""
    seen: set[str] = set()
    good, bad = _server(1e9), _server(20.0)

    def fake(folder: Path, options: dict[str, str]) -> Ended:
        rate = options["scenario.target_qps"]
        repeated = rate in seen
        seen.add(rate)
        above = float(rate) > 40
        return (bad if repeated or above else good)(folder, options)

    _stub(monkeypatch, fake)
    monkeypatch.setattr(sustained_rates, "_STEPS_DOWN", 2)
    arguments = [*SERVER, "scenario.target_qps=30", f"run.dir={tmp_path}"]
    assert main(arguments) == ExitCode.NOT_GOOD
    assert "was sustained by 3 runs" in read_campaign(tmp_path).sizes[0].reason


@pytest.mark.integration
def test_failed_runs(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fake(folder: Path, options: dict[str, str]) -> Ended:
        ended = _offline(folder, options)
        if options["cluster.replicas"] == "2":
            write_json(RunFolder(folder).verdict, aborted(RunFolder(folder), "stalled"))
            return Ended(code=3, folder=folder)
        return ended

    _stub(monkeypatch, fake)
    assert main([*OFFLINE, f"run.dir={tmp_path}"]) == ExitCode.NOT_GOOD
    assert "2 replica(s): run-" in capsys.readouterr().err
    campaign = read_campaign(tmp_path)
    assert [bool(size.reason) for size in campaign.sizes] == [False, True]
    assert (tmp_path / "report.html").exists()


@pytest.mark.integration
@pytest.mark.parametrize("after", [1, 4])
def test_interrupted(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    after: int,
) -> None:
    """A signal comes in a run: what was made before it is reported."""

    def fake(folder: Path, options: dict[str, str]) -> Ended:
        if len(asked) == after:
            signal.raise_signal(signal.SIGTERM)
            return Ended(code=3, folder=folder)
        return _offline(folder, options)

    asked = _stub(monkeypatch, fake)
    assert main([*OFFLINE, f"run.dir={tmp_path}"]) == ExitCode.ABORTED
    assert len(asked) == after
    printed = capsys.readouterr()
    assert "aborted: interrupted by SIGTERM" in printed.err
    assert read_campaign(tmp_path).status == "interrupted"
    # Without a run there is no report, and nothing says that there is one.
    assert (tmp_path / "report.html").exists() == (after > 1)
    assert ("report" in printed.out) == (after > 1)


def test_refused_runs_end_the_campaign(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _stub(monkeypatch, lambda folder, options: Ended(code=2, folder=None))
    assert main([*OFFLINE, f"run.dir={tmp_path}"]) == ExitCode.BAD_INPUT


def test_a_run_without_a_folder_aborts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _stub(monkeypatch, lambda folder, options: Ended(code=-9, folder=None))
    assert main([*OFFLINE, f"run.dir={tmp_path}"]) == ExitCode.ABORTED


def test_bad_input_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replica=1,2"]) == ExitCode.BAD_INPUT
    assert "did you mean replicas=" in capsys.readouterr().err
    assert main(["--help"]) == ExitCode.GOOD


def test_a_folder_holds_one_campaign(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = _stub(monkeypatch, _offline)
    record = Campaign(kind="scaling", command=[], scenario="offline", started="")
    write_json(tmp_path / NAME, record)
    assert main([*OFFLINE, f"run.dir={tmp_path}"]) == ExitCode.BAD_INPUT
    assert "holds another campaign" in capsys.readouterr().err
    assert not asked


def test_two_campaigns_in_one_second_have_folders_of_their_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("time.strftime", lambda form, when: "then-scaling")
    asked = _stub(monkeypatch, lambda folder, options: Ended(code=2, folder=None))
    assert [main(OFFLINE), main(OFFLINE)] == [ExitCode.BAD_INPUT] * 2
    roots = [options["run.dir"] for options in asked]
    assert roots == ["runs/then-scaling", "runs/then-scaling-1"]


def test_aborted_without_runs_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def body() -> int:
        raise Aborted("interrupted by SIGINT")

    assert run_command(body) == ExitCode.ABORTED
    assert capsys.readouterr().err == "aborted: interrupted by SIGINT\n"
