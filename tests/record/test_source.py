from pathlib import Path

from base.files import ROOT
from record.source import source_digests


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_digests_are_of_what_decides_a_run(tmp_path: Path) -> None:
    write(tmp_path, "mlperf.conf", "a = 1\n")
    write(tmp_path, "sut/main.py", "pass\n")
    write(tmp_path, "report/build.py", "pass\n")
    before = source_digests(tmp_path)
    assert list(before) == ["mlperf.conf", "sut/main.py"]
    write(tmp_path, "report/build.py", "changed\n")
    assert source_digests(tmp_path) == before
    write(tmp_path, "sut/main.py", "changed\n")
    after = source_digests(tmp_path)
    assert {name for name in after if after[name] != before[name]} == {"sut/main.py"}


def test_digests_hold_the_configuration_of_this_package() -> None:
    names = source_digests(ROOT)
    for name in ("conf/run/full.yaml", "scenarios/test06.config", "mlperf.conf"):
        assert name in names
