import pytest

from record.devices import DeviceLimits
from record.structs import ReplicaRecord
from report.findings.circumstances import apart, describe
from report.reading.traits import differing
from tests.run_folder import replica_record


def replicas(count: int = 4) -> list[ReplicaRecord]:
    """Return replicas that differ in what does not matter."""
    found = [replica_record(number) for number in range(count)]
    for record in found:
        record.devices = [f"NVIDIA H200 #{record.replica}"]
        record.engine = {
            "max_num_seqs": 1024,
            "kv_cache_dtype": "fp8",
            "kv_cache_tokens": 1_938_496 + 4_000 * record.replica,
            "quantization": None,
            "enable_prefix_caching": False,
            "build_s": 20.0 + record.replica,
        }
        record.limits = [
            DeviceLimits(device=f"gpu{record.replica}", power_w=700.0, link="PCIe gen5")
        ]
        record.cpus = list(range(15 + record.replica % 2))
    return found


def test_what_varies_by_chance_is_no_difference() -> None:
    assert differing(replicas()) == []
    assert differing([]) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"versions": {"python": "3.12"}}, "python: 3.12 on replica 2, 3.11 on"),
        ({"cpus": [1, 2]}, "cores: 2 on replica 2, 15 on replicas 0, 1, 3"),
        ({"devices": ["NVIDIA H100 #0"]}, "devices: NVIDIA H100 on replica 2"),
        (
            {"limits": [DeviceLimits(device="gpu2", power_w=500.0, link="PCIe gen5")]},
            "power limit: 500 W on replica 2, 700 W on replicas 0, 1, 3",
        ),
        (
            {"engine": {"kv_cache_tokens": 1_200_000, "kv_cache_dtype": "fp8"}},
            "kv_cache_tokens: 1,200,000 on replica 2, 1,938,496 on",
        ),
        ({"engine": {"kv_cache_dtype": "auto"}}, "kv_cache_dtype: auto on replica 2"),
    ],
)
def test_differences_are_told_with_their_place(
    change: dict[str, object], expected: str
) -> None:
    found = replicas()
    for name, value in change.items():
        setattr(found[2], name, value)
    (trait,) = differing(found)
    assert expected in describe(trait)


def test_a_place_stands_apart_only_where_no_peer_has_its_value() -> None:
    found = replicas()
    for number, version in ((2, "0.32"), (3, "0.32")):
        found[number].versions = {"python": "3.11", "vllm": version}
    for number in (0, 1):
        found[number].versions = {"python": "3.11", "vllm": "0.26"}
    (trait,) = differing(found)
    assert apart(trait, [2, 3], [0, 1]) == "vllm 0.32, peers 0.26"
    assert apart(trait, [2], [0, 1, 3]) is None
    assert apart(trait, [2], []) is None
