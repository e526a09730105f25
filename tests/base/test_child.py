"""None"""

import os
import signal
import site
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from base.child import Children, announce_folder, module_command, module_environment
from base.errors import Aborted

ROOT = Path(__file__).resolve().parents[2]
PATIENT = """
import signal, sys, time
def leave(number, frame):
    time.sleep(0.2)  # As a run that writes its verdict.
    open(sys.argv[1], "a").write(signal.Signals(number).name + "\\n")
    sys.exit(3)
for name in ("SIGINT", "SIGTERM", "SIGHUP"):
    signal.signal(getattr(signal, name), leave)
open(sys.argv[1], "w").close()
time.sleep(60)
"""
PARENT = """
import sys
from base.child import Children
with Children() as children:
    ended = children.run([sys.executable, "-c", sys.argv[1], sys.argv[2]])
    print(ended.code, children.interrupted.name)
"""

pytestmark = pytest.mark.integration


def _until(found: Path) -> None:
    for _ in range(500):
        if found.exists():
            return
        time.sleep(0.02)
    raise AssertionError(f"{found} was not written")


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[tuple["subprocess.Popen[str]", Path]]:
    """Start a parent whose child waits for signals."""
    seen = tmp_path / "seen"
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT, PATIENT, str(seen)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    _until(seen)
    yield process, seen
    process.kill()
    process.communicate()


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_goes_to_the_child_and_is_waited_for(
    parent: tuple["subprocess.Popen[str]", Path], name: str
) -> None:
    process, seen = parent
    process.send_signal(getattr(signal, name))
    output, _ = process.communicate(timeout=30)
    assert output == f"3 {name}\n"
    assert seen.read_text() == f"{name}\n"


def test_a_killed_parent_takes_its_child_along(
    parent: tuple["subprocess.Popen[str]", Path],
) -> None:
    process, seen = parent
    process.kill()
    for _ in range(500):
        if seen.read_text():
            break
        time.sleep(0.02)
    assert seen.read_text() == "SIGTERM\n"


def test_after_a_signal_nothing_more_is_started(tmp_path: Path) -> None:
    with Children() as children:
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Aborted, match="interrupted by SIGTERM"):
            children.run([sys.executable, "-c", "raise SystemExit(0)"])
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Children() as children:
            os.kill(os.getpid(), signal.SIGHUP)
            assert children.interrupted is None
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_child_that_does_not_end_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("base.child.GRACE_S", 0.5)
    ready = tmp_path / "ready"
    deaf = (
        "import signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "open(sys.argv[1], 'w').close(); time.sleep(60)"
    )

    def interrupt() -> None:
        _until(ready)
        os.kill(os.getpid(), signal.SIGTERM)

    with Children() as children:
        other = threading.Thread(target=interrupt)
        other.start()
        ended = children.run([sys.executable, "-c", deaf, str(ready)])
        other.join()
    assert ended.code == -signal.SIGKILL


def test_the_child_says_which_folder_it_made(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from base.child import announce_folder;"
        "announce_folder(Path(sys.argv[1])); sys.exit(1)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "a run")]
    with Children() as children:
        ended = children.run(command, {**os.environ, "PYTHONPATH": str(ROOT)})
        assert (ended.code, ended.folder) == (1, tmp_path / "a run")
        nothing = children.run([sys.executable, "-c", "raise SystemExit(2)"])
        assert (nothing.code, nothing.folder) == (2, None)
    # Outside of a parent that asks, nothing is written.
    announce_folder(tmp_path)


def test_installed_packages_are_not_put_before_the_standard_library(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(site, "getsitepackages", lambda: [str(tmp_path)])
    assert module_environment({"A": "1"}, tmp_path) == {"A": "1"}
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    assert module_environment({"A": "1"}, link) == {"A": "1"}
    elsewhere = tmp_path / "checkout"
    assert module_environment({}, elsewhere) == {"PYTHONPATH": str(elsewhere)}
    assert module_environment({"PYTHONPATH": "/a"}, elsewhere) == {
        "PYTHONPATH": f"{elsewhere}:/a"
    }


@pytest.mark.integration
def test_a_module_is_ours_in_any_working_directory(tmp_path: Path) -> None:
    for name in ("base", "sut"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('foreign')\n")
    command = module_command("sut.keys", str(tmp_path / "key"))
    assert command[0] == sys.executable
    subprocess.run(command, cwd=tmp_path, env=module_environment(), check=True)
    assert (tmp_path / "key").exists()
