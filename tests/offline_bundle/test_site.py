from pathlib import Path

from offline_bundle.packages import LeaveOut
from offline_bundle.site import drop


def test_named_files_go_and_stale_patterns_are_reported(tmp_path: Path) -> None:
    for name in ("a/kernels/x.so", "a/kernels/deep/y.so", "a/kept.so"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert drop(tmp_path, LeaveOut(files=["a/kernels/*", "b/*"])) == ["b/*"]
    left = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert left == ["kept.so"]
    assert not (tmp_path / "a" / "kernels").exists()
