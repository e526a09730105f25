"""The wheel, installed into an empty environment, in a folder with hostile packages.

It is built from a copy of the project, which is what a submission's `src/` is.
"""

import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from zipfile import ZipFile

import pytest
from setuptools import find_packages

from base.files import ROOT, copy_project, project_files
from base.version import VERSION

pytestmark = pytest.mark.integration

_HOSTILE = ("base", "conf", "record", "report", "sut", "scenarios")
_RUN = [
    *("engine=synthetic", "dataset=synthetic", "dataset.count=8"),
    *("engine.output_tokens=4", "engine.step_s=0.001"),
]
_MOVED = ("mlperf.conf", "user.conf")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("wheel")
    copy_project(root / "src")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    options = ["--no-build-isolation", "--wheel-dir", str(root), str(root / "src")]
    subprocess.run([*pip, *options], check=True)
    return next(root.glob("*.whl"))


@pytest.fixture(scope="module")
def program(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`mlperf-sut` of an environment with the wheel; its dependencies are ours."""
    root = tmp_path_factory.mktemp("environment")
    venv.create(root, with_pip=False)
    python = root / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", str(wheel)], check=True)
    site = next(root.glob("lib/python*/site-packages"))
    # A path in a .pth file: the editable install beside our packages is not followed.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return root / "bin" / "mlperf-sut"


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    for name in _HOSTILE:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('foreign')\n")
    return tmp_path


def call(program: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    command = [str(program), *arguments]
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True
    )


def test_the_wheel_holds_every_file_of_every_package(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        names = set(archive.namelist())
    top = {name.partition(".")[0] for name in find_packages(str(ROOT))} - {"tests"}
    wanted = {name for name in project_files() if name.partition("/")[0] in top}
    assert wanted - names == set()
    assert {f"base/{name}" for name in _MOVED} <= names
    assert {"cli/locks/cpu.lock", "cli/locks/cuda.lock"} <= names
    outside = {name for name in names if name.partition("/")[0] not in top}
    assert all(".dist-info/" in name for name in outside)
    with ZipFile(wheel) as archive:
        info = next(name for name in names if name.endswith("/METADATA"))
        metadata = archive.read(info).decode()
    assert f"\nVersion: {VERSION}\n" in metadata
    assert "\nLicense-Expression: Apache-2.0\n" in metadata
    assert "\nRequires-Dist: mlcommons-loadgen==" in metadata
    assert {"cpu", "cuda", "data", "docs"} <= {
        line.removeprefix("Provides-Extra: ")
        for line in metadata.splitlines()
        if line.startswith("Provides-Extra: ")
    }


def test_it_runs_reports_and_diagnoses_anywhere(program: Path, hostile: Path) -> None:
    assert VERSION in call(program, "--version", cwd=hostile).stdout
    made = call(program, "run", *_RUN, cwd=hostile)
    assert made.returncode == 0, made.stderr
    latest = hostile / "runs" / "latest"
    settings = json.loads((latest / "settings.json").read_text())
    assert settings["version"] == VERSION
    source = json.loads((latest / "source.json").read_text())
    assert {"mlperf.conf", "conf/run/full.yaml"} <= source.keys()
    (latest / "report.html").unlink()
    reported = call(program, "report", "runs/latest", cwd=hostile)
    assert reported.returncode == 0, reported.stderr
    assert (latest / "report.html").exists()
    planned = call(program, "run", "--dry-run", *_RUN, cwd=hostile)
    assert planned.returncode == 0, planned.stderr
    assert "\n# queries    8\n" in planned.stdout
    found = call(program, "doctor", "--json", *_RUN[1:3], cwd=hostile)
    assert found.returncode in (0, 1), found.stderr
    names = {line["name"] for line in json.loads(found.stdout)}
    assert {"python", "packages", "disk", "data set"} <= names
