"""The live page in a browser, and the terminal, during a real run."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.command import FAST, ROOT, SYNTHETIC, Command, kill_group

pytestmark = pytest.mark.integration
SERVER = [*SYNTHETIC, *FAST, "scenario=server", "scenario.target_qps=45"]

FORMS = {
    "watch": [],
    "watch-narrow": ["--window-size=390,1600"],
    "watch-dark": ["--blink-settings=preferredColorScheme=0"],
}
"""Pictures of the page, with options of Chromium."""


@contextmanager
def watch(*arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """Yield a process that watches."""
    process = subprocess.Popen(
        [sys.executable, "-m", "watch", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def browse(address: str, folder: Path) -> str:
    """Return what Chromium shows of a page after some seconds."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("needs Chromium")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--window-size=1100,1100"]
    options += [f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=2500"]
    done = subprocess.run(
        [browser, *options, "--dump-dom", address], capture_output=True, timeout=60
    )
    if shots := os.environ.get("MLPERF_SUT_SCREENSHOTS"):
        for name, more in FORMS.items():
            subprocess.run(
                [browser, *options, *more, f"--screenshot={shots}/{name}.png", address],
                capture_output=True,
                timeout=60,
            )
    return done.stdout.decode()


def test_a_browser_and_a_terminal_follow_a_run(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    command = Command(runs, *SERVER, "run.min_queries=1000", "cluster.restarts=1")
    pids = command.replica_pids()
    command.wait_for_samples(100)
    kill_group(pids[1])
    command.wait_for(
        lambda: b'"fence"' in (command.folder.path / "events.jsonl").read_bytes(),
        "the fence",
    )
    with (
        watch(str(runs), "--port", "0") as page,
        watch(str(runs), "--terminal") as terminal,
    ):
        assert page.stdout is not None
        assert terminal.stdout is not None
        address = page.stdout.readline().removeprefix("watch: ").strip()
        shown = browse(address, tmp_path)
        text = re.sub(r"<[^>]+>", " ", shown)
        assert 'data-state="running"' in shown
        assert command.folder.path.resolve().name in text
        assert re.search(r"\d+ of 1,000", text)
        assert shown.count("<svg") == 4
        assert "fence" in text
        assert "killed by SIGKILL" in text
        assert 'id="stale" role="status" hidden=""' in shown
        line = terminal.stdout.readline()
        assert re.search(r"performance running \[ *\d+ s\] \d+/1000 done", line), line
        done = command.finish()
        assert done.lost_nothing, done.err
        rest, _ = terminal.communicate(timeout=60)
        assert terminal.returncode == 0
        assert re.search(r"(passed|failed) .*1000/1000 done", rest)
        assert page.poll() is None
        shown = browse(address, tmp_path)
        assert 'data-state="finished"' in shown
        page.send_signal(signal.SIGINT)
        assert page.wait(20) == 0
