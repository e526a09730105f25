"""cuBLASLt's algorithms beside PyTorch's product, on a GPU."""

from typing import Any

import pytest

from sut.telemetry import gpu_count

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(gpu_count() < 1, reason="needs a GPU"),
    pytest.mark.filterwarnings("ignore"),
]


@pytest.mark.parametrize("rows", [100, 700, 1001, 1536, 2000, 2049, 5001, 12_289])
@pytest.mark.parametrize(
    ("n", "k"), [(28672, 4096), (4096, 14336), (4096, 4096), (6144, 4096), (512, 256)]
)
def test_the_chosen_algorithm_gives_the_same_product(n: int, k: int, rows: int) -> None:
    import torch

    from sut.engines.hopper.products import algorithm, chosen, multiply

    torch.manual_seed(0)

    def fp8(*size: int) -> Any:
        return (torch.randn(size, device="cuda") * 50).to(torch.float8_e4m3fn)

    a, b = fp8(rows, k), fp8(n, k).t()
    scales = [torch.tensor(scale, device="cuda") for scale in (0.5, 0.03)]
    wanted = torch._scaled_mm(
        a,
        b,
        scale_a=scales[0].view(1),
        scale_b=scales[1].view(1),
        out_dtype=torch.bfloat16,
        use_fast_accum=True,
    ).float()
    got = multiply(a, b, scales[0], scales[1], torch.bfloat16).float()
    assert got.shape == (rows, n)
    assert float((got - wanted).norm() / wanted.norm()) < 1e-3
    choice = chosen(n, k, rows)
    assert choice is None or algorithm(n, k, choice) is not None
