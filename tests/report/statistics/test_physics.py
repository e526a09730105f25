import json
from pathlib import Path

import numpy as np
import pytest

from record.folder import RecordError
from report.statistics.physics import (
    RATINGS,
    precision_bits,
    rating_of,
    read_ratings,
    shape_of,
)
from tests.report.reading import report_of, rows
from tests.run_folder import replica_record
from tests.simulated.cluster import Cluster
from tests.simulated.run import write_cluster

LLAMA = {
    "layers": 32,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "attention_heads": 32,
    "kv_heads": 8,
    "vocab_size": 128256,
    "dtype": "bfloat16",
}


def test_llama_3_1_8b() -> None:
    record = replica_record(0)
    record.model = dict(LLAMA)
    shape = shape_of(record)
    assert shape is not None
    # 8.03e9 weights in two bytes; 32 layers x 8 heads x 128 x 2 x 2 bytes a token.
    assert shape.weights_bytes == pytest.approx(8.03e9 * 2, rel=0.005)
    assert shape.cache_bytes_per_token == 131072
    # Worked out by hand for one sample of 833 and 128 tokens: 13.7 TFLOP.
    one = shape.flops(np.array([833]), np.array([128]))
    assert one == pytest.approx(13.7e12, rel=0.02)
    record.engine["quantization"] = "fp8"
    narrow = shape_of(record)
    assert narrow is not None
    assert narrow.weights_bytes == pytest.approx(
        6.98e9 + 2 * 2 * 4096 * 128256, rel=0.001
    )
    assert precision_bits(record) == "8"


def test_an_unknown_shape_is_none() -> None:
    assert shape_of(replica_record(0)) is None


def test_ratings(tmp_path: Path) -> None:
    found = rating_of("NVIDIA H200 NVL #3", RATINGS)
    assert found is not None
    assert found[0] == "H200 NVL"
    assert rating_of("cpu", RATINGS) is None
    path = tmp_path / "own.json"
    path.write_text(json.dumps({"Mine": {"flops": {"16": 1e12}, "bytes_per_s": 1e11}}))
    assert rating_of("Mine #0", read_ratings(path)) is not None
    path.write_text('{"Mine": {"flops": 1}}')
    with pytest.raises(RecordError, match=r"own\.json: .*write"):
        read_ratings(path)
    with pytest.raises(RecordError, match="No such file"):
        read_ratings(tmp_path / "none")


def test_how_far_from_the_limit(tmp_path: Path) -> None:
    folder = write_cluster(tmp_path / "run", Cluster(nodes=1, per_node=1, minutes=2))
    report = report_of(folder)
    found = rows(report["resources"]["arithmetic"])[0]
    assert found["rated as"] == "L40S"
    rate = report["scaling"]["samples_per_s"]["value"]
    assert found["achieved"] == pytest.approx(13.7 * rate, rel=0.05)
    assert found["of peak"] == pytest.approx(100 * found["achieved"] / 362, rel=1e-3)
    # At least the weights once for each of about 12 steps a second.
    assert 16 * 8 < found["memory traffic"] < 864
    memory = rows(report["resources"]["memory"])[0]
    assert memory["weights"] + memory["KV cache"] + memory["rest"] == pytest.approx(
        memory["used"], rel=1e-3
    )
    power = report["resources"]["power"]["value"]
    assert power == pytest.approx(300, rel=0.02)
    tokens = report["scaling"]["tokens_per_s"]["value"]
    assert report["resources"]["tokens_per_joule"]["value"] == pytest.approx(
        tokens / power, rel=1e-3
    )


@pytest.mark.parametrize(
    ("device", "rated"),
    [
        ("NVIDIA L40 #0", None),
        ("NVIDIA L40S #0", "L40S"),
        ("NVIDIA L4 #1", "L4"),
        ("NVIDIA A100 80GB PCIe #0", "A100 80GB PCIe"),
        ("NVIDIA A100-SXM4-40GB #0", "A100-SXM4-40GB"),
        ("NVIDIA A100-SXM4-80GB #0", "A100-SXM4-80GB"),
        ("NVIDIA A100-SXM-64GB #0", None),
        ("NVIDIA H100 80GB HBM3 #0", "H100 80GB HBM3"),
        ("NVIDIA H100 PCIe #0", "H100 PCIe"),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb #0", None),
        ("NVIDIA GB200 #0", None),
    ],
)
def test_a_card_is_rated_as_itself_or_not_at_all(
    device: str, rated: str | None
) -> None:
    found = rating_of(device, RATINGS)
    assert (found[0] if found else None) == rated


def test_an_own_rating_goes_before_the_table(tmp_path: Path) -> None:
    path = tmp_path / "own.json"
    path.write_text(json.dumps({"H100": {"flops": {"16": 1e12}, "bytes_per_s": 1e11}}))
    found = rating_of("NVIDIA H100 80GB HBM3 #0", read_ratings(path))
    assert found is not None
    assert found[0] == "H100"
