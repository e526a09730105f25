"""What the project consists of: one list, by which it is installed and copied."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from setuptools import find_packages

from base.errors import UserError
from base.project import LISTING, ROOT, copy_project, project_files

PACKAGES = find_packages(str(ROOT), exclude=["tests", "tests.*"])
TOP = sorted(name for name in PACKAGES if "." not in name)
SMALL_RUN = [
    *("engine=synthetic", "dataset=synthetic", "dataset.count=8"),
    *("engine.output_tokens=4", "engine.step_s=0.001"),
]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("copy") / "src"
    copy_project(target)
    return target


def test_tools_look_at_every_package() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    assert sorted(settings["mypy"]["packages"]) == [*TOP, "tests"]
    assert sorted(settings["coverage"]["run"]["source"]) == TOP
    imports = settings["importlinter"]
    assert sorted(imports["root_packages"]) == TOP
    layers = next(c["layers"] for c in imports["contracts"] if c["type"] == "layers")
    assert sorted(name for layer in layers for name in layer.split(" | ")) == TOP
    sources = [c.get("source_modules", []) for c in imports["contracts"]]
    whole = [sorted(modules) for modules in sources if len(modules) > 1]
    assert whole == [TOP, TOP]


@pytest.mark.integration  # copies the whole project
def test_a_copy_holds_what_git_tracks(copy: Path) -> None:
    names = project_files()
    assert {"setup.py", "Makefile", "tests/test_project.py"} <= set(names)
    found = [path.relative_to(copy) for path in copy.rglob("*") if path.is_file()]
    assert sorted(path.as_posix() for path in found) == sorted([*names, LISTING])
    packages = find_packages(str(copy), exclude=["tests", "tests.*"])
    assert sorted(packages) == sorted(PACKAGES)


@pytest.mark.integration  # copies the whole project
def test_a_copy_can_be_copied_again(copy: Path, tmp_path: Path) -> None:
    (copy / "sut.key").touch()
    copy_project(tmp_path / "again", copy)
    assert project_files(tmp_path / "again") == project_files()
    assert not (tmp_path / "again" / "sut.key").exists()


@pytest.mark.integration  # copies the whole project
def test_links_of_a_copys_pages_lead_somewhere(copy: Path) -> None:
    pages = [copy / "README.md", *(copy / "docs").glob("*.md")]
    for page in pages:
        links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
        gone = [link for link in links if not (page.parent / link).exists()]
        assert gone == [], page.name
    assert len(pages) > 10


def test_a_folder_that_nothing_lists_is_refused(tmp_path: Path) -> None:
    (tmp_path / "setup.py").touch()
    with pytest.raises(UserError, match="neither a git checkout nor a copy"):
        copy_project(tmp_path / "out", tmp_path)


@pytest.mark.integration
def test_a_copy_can_be_installed_and_run(copy: Path, tmp_path: Path) -> None:
    target, source = tmp_path / "site", tmp_path / "src"
    copy_project(source, copy)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    options = ["--no-build-isolation", "--target", str(target), str(source)]
    subprocess.run([*pip, *options], check=True)
    installed = {p.relative_to(target).as_posix() for p in target.rglob("*")}
    wanted = [name for name in project_files() if name.partition("/")[0] in TOP]
    assert set(wanted) - installed == set()
    command = [sys.executable, "-P", "-m", "sut.main", *SMALL_RUN]
    done = subprocess.run(
        [*command, f"run.dir={tmp_path / 'runs'}"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(target)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs" / "latest" / "report.html").exists()
    where = [sys.executable, "-P", "-c", "import sut.main; print(sut.main.__file__)"]
    environment = os.environ | {"PYTHONPATH": str(target)}
    said = subprocess.run(where, env=environment, capture_output=True, text=True)
    assert said.stdout.strip() == str(target / "sut" / "main.py")
