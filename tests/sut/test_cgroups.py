"""CPU limits of control groups, of both versions."""

from pathlib import Path

import pytest

from sut.cgroups import cpu_quota


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        ("0::/\n", {"cpu.max": "250000 100000\n"}, 2.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/a/b\n", {"a/cpu.max": "150000 100000", "a/b/cpu.max": "max 1"}, 1.5),
        ("0::/a/b\n", {"a/cpu.max": "4 2", "a/b/cpu.max": "3 2"}, 1.5),
        ("0::/not/here\n", {"cpu.max": "100000 100000"}, 1.0),
        ("0::/\n", {"cpu.max": "nonsense"}, None),
        ("0::/\n", {}, None),
        (
            "5:cpu,cpuacct:/slurm/job_7\n2:memory:/x\n",
            {
                "cpu,cpuacct/slurm/job_7/cpu.cfs_quota_us": "300000",
                "cpu,cpuacct/slurm/job_7/cpu.cfs_period_us": "100000",
            },
            3.0,
        ),
        (
            "4:cpu:/docker/abc\n",
            {"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"},
            0.5,
        ),
        (
            "4:cpu:/\n",
            {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"},
            None,
        ),
    ],
)
def test_the_least_limit_on_the_way_to_the_root_applies(
    own: str, files: dict[str, str], expected: float | None, tmp_path: Path
) -> None:
    write(tmp_path / "own", own)
    for name, text in files.items():
        write(tmp_path / "groups" / name, text)
    assert cpu_quota(tmp_path / "groups", tmp_path / "own") == expected


def test_a_host_without_control_groups_has_no_limit(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path / "a", tmp_path / "b") is None
