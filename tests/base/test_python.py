import site
import subprocess
import sys
from pathlib import Path

import pytest

from base.python import module_command, module_environment


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
