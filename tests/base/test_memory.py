from pathlib import Path

from base.memory import available_bytes


def test_the_smaller_of_host_and_container_counts(tmp_path: Path) -> None:
    meminfo, none = tmp_path / "meminfo", tmp_path / "none"
    assert available_bytes(none, none) is None
    meminfo.write_text("MemTotal: 9 kB\nMemAvailable:   4096 kB\n")
    assert available_bytes(meminfo, none) == 4096 * 1024
    (tmp_path / "memory.max").write_text("3000\n")
    (tmp_path / "memory.current").write_text("1000\n")
    assert available_bytes(meminfo, tmp_path) == 2000
    (tmp_path / "memory.max").write_text("max\n")
    assert available_bytes(meminfo, tmp_path) == 4096 * 1024
    meminfo.write_text("nonsense\n")
    assert available_bytes(meminfo, tmp_path) is None
