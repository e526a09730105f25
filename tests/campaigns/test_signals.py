"""Every campaign ends on every signal as documented, and is resumed by its command."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

ROOT = Path(__file__).resolve().parents[2]
_RUN = [
    *("experiment=harness", "dataset.count=64", "cluster.replicas=1"),
    *("engine.step_s=0.002", "engine.max_num_seqs=8"),
]
_SERVER = ["scenario=server", "scenario.target_qps=40", "run.min_queries=100"]
_OFFLINE = ["scenario=offline", "run.min_queries=400"]
COMMANDS = {
    "scaling": [*_RUN[:2], *_RUN[3:], "scenario=offline", "replicas=1,2", "samples=64"],
    "search": [*_RUN, "scenario=server", "scenario.target_qps=40", "queries=300"],
    "sweep": [*_RUN[:-1], *_OFFLINE, "engine.max_num_seqs=4,8,16"],
    "tune": [*_RUN[:-1], *_OFFLINE, "max_num_seqs=4,8", "runs=12", "pairs=2"],
    "qualify": [*_RUN[:2], *_RUN[3:], "cluster.replicas=2", "samples=64", "queries=64"],
    "corun": [*_RUN, "repeats=2", "a:", *_SERVER, "b:", *_OFFLINE],
}
_IN_CI = {("tune", signal.SIGINT), ("corun", signal.SIGKILL)}
_CASES = [
    pytest.param(
        name,
        number,
        id=f"{name}-{number.name}",
        marks=() if (name, number) in _IN_CI else pytest.mark.acceptance,
    )
    for name in COMMANDS
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL)
]


def _start(name: str, root: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", f"campaigns.{name}", f"run.dir={root}", *COMMANDS[name]],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=_default_signals,
    )


def _default_signals() -> None:
    # A background job of a shell ignores SIGINT, and `nohup` SIGHUP.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def _record(root: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((root / "campaign.json").read_text())
    return found


def _wait_for(condition: Callable[[], bool], what: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} never came"
        time.sleep(0.05)


def _has_a_run(root: Path) -> bool:
    return (root / "campaign.json").exists() and bool(_record(root)["runs"])


def _processes(root: Path) -> list[psutil.Process]:
    """Return the processes of the campaign: each run has its folder as an option."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or ()
        if process.pid != os.getpid() and any(str(root) in word for word in words):
            found.append(process)
    return found


@pytest.mark.parametrize(("name", "number"), _CASES)
def test_a_signal_ends_a_campaign_which_its_command_resumes(
    name: str, number: signal.Signals, tmp_path: Path
) -> None:
    root = tmp_path / name
    process = _start(name, root)
    _wait_for(lambda: _has_a_run(root), "the first run", 120)
    time.sleep(1.0)  # in the middle of the second run
    assert process.poll() is None
    process.send_signal(number)
    said, _ = process.communicate(timeout=60)
    if number is signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 3, said
        assert re.search(r"^aborted: interrupted", said, re.MULTILINE), said
        assert _record(root)["status"] == "interrupted"
    assert "Traceback" not in said
    _wait_for(lambda: not _processes(root), "the end of its runs", 20)
    kept = [run["run"] for run in _record(root)["runs"]]
    assert kept
    assert all((root / run / "verdict.json").exists() for run in kept)

    again = _start(name, root)
    said, _ = again.communicate(timeout=200)
    assert "Traceback" not in said
    if name == "scaling":
        assert again.returncode == 2
        assert "holds another campaign" in said
        return
    assert again.returncode in (0, 1), said
    resumed = re.search(r"resumed: (\d+) runs are done", said)
    assert resumed is not None, said
    assert int(resumed[1]) >= 1
    record = _record(root)
    assert record["status"] in ("good", "not good")
    assert [run["run"] for run in record["runs"]][: len(kept)] == kept
