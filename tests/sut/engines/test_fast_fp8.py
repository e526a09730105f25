"""Products in fp8 with fast accumulation, as vLLM finds and calls them."""

import os
import subprocess
import sys

import pytest

from conf.load import load_config
from conf.schema import VllmConfig

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore")]

# vLLM registers kernels for a whole process: a process of its own.
PROGRAM = """
import sys
from types import SimpleNamespace

import torch
from vllm.model_executor.kernels import linear
from vllm.platforms.interface import PlatformEnum
from vllm.utils.import_utils import resolve_obj_by_qualname

extension = resolve_obj_by_qualname(sys.argv[1])
assert not [name for name in vars(extension) if not name.startswith("__")]

candidates = linear._POSSIBLE_FP8_KERNELS[PlatformEnum.CUDA]
by_pytorch = linear.PerTensorTorchFP8ScaledMMLinearKernel
tensor = SimpleNamespace(
    scale=SimpleNamespace(group_shape=SimpleNamespace(is_per_tensor=lambda: True))
)
config = SimpleNamespace(activation_quant_key=tensor, weight_quant_key=tensor)
ours = candidates[-1]
assert ours.__name__ == "FastFp8ScaledMMLinearKernel"

def chosen(kernel):
    return linear.is_supported_and_can_implement_kernel(kernel, config, 90)[0]

assert not chosen(linear.CutlassFP8ScaledMMLinearKernel)
assert not chosen(by_pytorch)
assert chosen(ours)

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
    engine = load_config(["engine=vllm_hopper"]).engine
    assert isinstance(engine, VllmConfig)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, engine.options["worker_extension_cls"]],
        env={**os.environ, **engine.env},
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip().endswith("good"), done.stderr[-2000:]
