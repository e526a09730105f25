import pytest

from base.errors import UserError
from sut.clusters import host
from sut.clusters.host import this_host

UUIDS = ["GPU-8932f937-d72c", "GPU-8932aaaa-0000", "GPU-1f2e3d4c-1111"]
MIG = "MIG-5c89852c-d268"


@pytest.fixture(autouse=True)
def driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three GPUs and one MIG instance."""
    monkeypatch.setattr(host, "gpu_count", lambda: len(UUIDS))
    monkeypatch.setattr(host, "gpu_uuid", lambda index: UUIDS[index])
    monkeypatch.setattr(host, "has_device", lambda uuid: uuid in [*UUIDS, MIG])


@pytest.mark.parametrize(
    ("visible", "gpus"),
    [
        (None, ["0", "1", "2"]),
        ("", []),
        ("-1", []),
        ("2,0", ["2", "0"]),
        (" 1 , 2 ", ["1", "2"]),
        ("1,7,0", ["1"]),
        ("0,²", ["0"]),
        (UUIDS[1], [UUIDS[1]]),
        ("GPU-8932f", [UUIDS[0]]),
        ("GPU-8932", []),
        ("GPU-dead", []),
        (f"0,GPU-dead,{UUIDS[2]}", ["0"]),
        (f"{MIG},MIG-none", [MIG]),
    ],
)
def test_gpus_are_named_as_cuda_names_them(
    monkeypatch: pytest.MonkeyPatch, visible: str | None, gpus: list[str]
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert this_host().gpus == gpus


@pytest.mark.parametrize("visible", ["0,0", f"0,{UUIDS[0]}", "GPU-8932f,0", "1,01"])
def test_a_gpu_that_is_named_twice_is_refused(
    monkeypatch: pytest.MonkeyPatch, visible: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with pytest.raises(UserError, match="names a GPU twice"):
        this_host()


def test_without_a_driver_a_uuid_names_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "gpu_count", lambda: 0)
    monkeypatch.setattr(host, "has_device", lambda uuid: False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", UUIDS[0])
    assert this_host("n").gpus == []
