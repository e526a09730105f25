"""Products in fp8 with fast accumulation, as vLLM finds and calls them."""

import subprocess
import sys

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore")]

# vLLM registers kernels for a whole process: a process of its own.
PROGRAM = """
from types import SimpleNamespace

import torch
from vllm.model_executor.kernels import linear
from vllm.platforms.interface import PlatformEnum

from sut.engines.hopper import products

products.install()
candidates = linear._POSSIBLE_FP8_KERNELS[PlatformEnum.CUDA]
ours = candidates[0]
assert ours.__name__ == "FastFp8ScaledMMLinearKernel"
assert len(set(candidates)) == len(candidates) > 3

def scale(per_tensor):
    shape = SimpleNamespace(is_per_tensor=lambda: per_tensor)
    return SimpleNamespace(scale=SimpleNamespace(group_shape=shape))

def chosen(activations, weights):
    config = SimpleNamespace(
        activation_quant_key=scale(activations), weight_quant_key=scale(weights)
    )
    return linear.is_supported_and_can_implement_kernel(ours, config, 90)[0]

assert chosen(True, True)
assert not chosen(False, True)
assert not chosen(True, False)

a = torch.randn(20, 64).to(torch.float8_e4m3fn)
b = torch.randn(48, 64).to(torch.float8_e4m3fn)
product = ours.apply_scaled_mm(
    None,
    A=a,
    B=b.t(),
    out_dtype=torch.bfloat16,
    As=torch.tensor(0.5),
    Bs=torch.tensor([0.25]),
    bias=None,
    output_shape=[2, 9, 48],
)
wanted = (a.double() @ b.double().t() / 8)[:18].view(2, 9, 48)
assert product.shape == wanted.shape
assert (product.double() - wanted).norm() / wanted.norm() < 0.005
print("good")
"""


def test_vllm_chooses_the_kernel_and_its_products_are_right() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip().endswith("good"), done.stderr[-2000:]
