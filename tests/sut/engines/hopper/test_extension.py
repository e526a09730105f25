"""What stands in for vLLM's cache write and activation calls ours where it may."""

import subprocess
import sys

import pytest

from conf.engines import VllmConfig
from conf.load import load_config

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore")]

# Neither FlashInfer nor Triton is there on a CPU: modules in their place. What is
# registered with vLLM lasts for a whole process: a process of its own.
PROGRAM = """
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

import torch

calls = []
backend = ModuleType("vllm.v1.attention.backends.flashinfer")

class FlashInferImpl:
    kv_sharing_target_layer_name = None
    kv_cache_dtype = "fp8"

    def do_kv_cache_update(self, layer, key, value, kv_cache, slot_mapping):
        calls.append("vllm")

    def forward(self, *arguments):
        raise AssertionError("no attention is computed here")

backend.FlashInferImpl = FlashInferImpl
backend.FlashInferBackend = backend.FlashInferMetadataBuilder = object
sys.modules[backend.__name__] = backend
flashinfer = ModuleType("flashinfer")
flashinfer.__spec__ = ModuleSpec("flashinfer", None)
flashinfer.get_seq_lens = None
xqa = ModuleType("flashinfer.xqa")
xqa.get_xqa_module = None
kernels = ModuleType("sut.engines.hopper.kernels")
kernels.takes = lambda key, value, cache: key.dtype == torch.bfloat16
kernels.write_cache = lambda *rest: calls.append("ours")

def silu_mul_fp8(both, scale):
    gate, up = both.float().chunk(2, dim=1)
    product = torch.nn.functional.silu(gate) * up / scale
    return product.clamp(-448, 448).to(torch.float8_e4m3fn)

kernels.silu_mul_fp8 = silu_mul_fp8
sys.modules[kernels.__name__] = kernels

from vllm.utils.import_utils import resolve_obj_by_qualname

# vLLM must not find it: only the extension looks for it by now.
sys.modules["flashinfer"] = flashinfer
sys.modules[xqa.__name__] = xqa
extension = resolve_obj_by_qualname(sys.argv[1])
assert not [name for name in dir(extension) if not name.startswith("__")]

torch.cuda.is_current_stream_capturing = lambda: False
layer = SimpleNamespace(_k_scale=None, _v_scale=None)
impl, cache = FlashInferImpl(), torch.zeros(1, 1, 1, 2)
key = torch.zeros(1, 1, 1, dtype=torch.bfloat16)
impl.do_kv_cache_update(layer, key, key, cache, None)
impl.do_kv_cache_update(layer, key.float(), key, cache, None)
impl.kv_cache_dtype = "auto"
impl.do_kv_cache_update(layer, key, key, cache, None)
impl.kv_cache_dtype = "fp8"
torch.cuda.is_current_stream_capturing = lambda: True
impl.do_kv_cache_update(layer, key, key, cache, None)
assert calls == ["ours", "vllm", "vllm", "ours"], calls

from vllm.model_executor.models.llama import LlamaMLP

from sut.engines.hopper.products import CHOSEN, FastFp8ScaledMMLinearKernel, chosen

def tiles(n, k, *rows):
    return [choice and choice.tile for choice in (chosen(n, k, m) for m in rows)]

assert all(list(table) == sorted(table) for table in CHOSEN.values())
assert tiles(28672, 4096, 1, 1280, 1281, 16384) == [None, None, 201, 201]
assert tiles(4096, 4096, 3072, 3073, 6144, 6145) == [None, 201, 201, 29]
assert tiles(512, 256, 16384) == [None]

class Layer(torch.nn.Module):
    def __init__(self, wide, out, scheme):
        super().__init__()
        weight = torch.randn(out, wide).to(torch.float8_e4m3fn).t()
        self.weight = torch.nn.Parameter(weight, requires_grad=False)
        self.weight_scale = torch.tensor(0.1)
        self.input_scale = torch.nn.Parameter(torch.tensor(0.05), requires_grad=False)
        linear = FastFp8ScaledMMLinearKernel.__new__(FastFp8ScaledMMLinearKernel)
        linear.layer_param_names = ("weight", "weight_scale", "input_scale", "ub")
        linear.config = SimpleNamespace(
            out_dtype=torch.bfloat16, activation_quant_key=None
        )
        linear.fp8_dtype = torch.float8_e4m3fn
        linear.quant_fp8 = lambda x, scale, ub: (
            (x.float() / scale).clamp(-448, 448).to(torch.float8_e4m3fn), scale
        )
        method = SimpleNamespace(fp8_linear=linear)
        if scheme:
            self.scheme, method = method, SimpleNamespace()
        self.quant_method = method
        self.linear = linear

    def forward(self, x):
        return self.linear.apply_weights(self, x), None

for scheme in (False, True):
    torch.manual_seed(0)
    mlp = LlamaMLP.__new__(LlamaMLP)
    torch.nn.Module.__init__(mlp)
    mlp.gate_up_proj = Layer(32, 128, scheme)
    mlp.down_proj = Layer(64, 32, scheme)
    mlp.act_fn = lambda x: torch.nn.functional.silu(x[:, :64]) * x[:, 64:]
    x = torch.randn(32, 32).bfloat16()
    ours = mlp(x)
    middle = mlp.act_fn(mlp.gate_up_proj(x)[0])
    wanted = mlp.down_proj(middle)[0]
    error = (ours.float() - wanted.float()).norm() / wanted.float().norm()
    assert 0 <= error < 0.02, error
    seen = []

    def look(graph, _):
        seen.extend(str(node.target) for node in graph.graph.nodes)
        return graph.forward

    traced = torch.compile(mlp, backend=look, fullgraph=True)(x)
    assert torch.equal(traced, ours)
    assert any("sut_silu_mul_fp8" in name for name in seen), seen
    mlp.down_proj.input_scale = None
    mlp.down_proj.linear.layer_param_names = ("weight", "weight_scale", "other", "ub")
    mlp.down_proj.other = torch.tensor(0.05)
    assert torch.equal(mlp(x), wanted)
print("good")
"""


def test_ours_is_called_where_it_may_be() -> None:
    engine = load_config(["engine=vllm_hopper"]).engine
    assert isinstance(engine, VllmConfig)
    extension = engine.options["worker_extension_cls"]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, extension], capture_output=True, text=True
    )
    assert done.stdout.strip().endswith("good"), done.stderr[-3000:]
